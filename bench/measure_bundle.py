"""The size of a bundle beside one `docker save` with gzip, and of deltas beside the whole; memory; verify and load.

The images are made here of files that lie on this machine, in the archive that `docker save` would write, so that sizes
need no engine. Where an engine answers, verifying and loading a bundle is timed beside `docker load` alone.

The application has a layer of 150 MB as gems are, a layer of its code, and shares what is below with a cache and a
database. A rebuilt layer has new times throughout, as one has that was built again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from ansible_collections.slipway.release.plugins.module_utils._bundle_images import read_archive
from ansible_collections.slipway.release.plugins.module_utils._bundle_load import load
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import architecture, opened
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import NAMESPACE
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import AT_ONCE, Contents, write_bundle
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner

from bench._pairs import compare
from lab._common import ROOT

SIZE = float(os.environ.get("SLIPWAY_BENCH_BYTES", "1.5e8"))  # of the gems; smaller ones are for trying it out
SAVED_BAR = 0.7
CODE_BAR = 0.02
GEM_BAR = 0.08
LOAD_BAR = 1.2
MEMORY_BAR = 300_000_000
OLDEST_ENGINE = 25
COMMIT = "0" * 40
GEM = "jinja2"  # half a megabyte, as most gems have
PYTHON = Path(sys.base_prefix) / "lib"
# what a small Debian has: programs, libraries, tables, and few documents
BELOW = ("/usr/sbin", "/usr/lib/x86_64-linux-gnu/perl-base", "/usr/lib/systemd", "/usr/share/zoneinfo", "/usr/bin")
CACHE = ("/usr/lib/git-core",)
DATABASE = ("/usr/lib/postgresql", "/usr/lib/python3")

Change = Callable[[str, bytes], bytes]


@dataclass(frozen=True)
class Layer:
    """A layer as a file, and its diff id."""

    path: Path
    sha256: str


def files_below(places: Iterable[Path], most: float) -> Iterator[Path]:
    """Plain files in their order, until they have `most` bytes together; each content once."""
    seen, total = set(), 0
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.is_symlink() or not path.is_file() or path.suffix in {".gz", ".a", ".pyc"}:
                continue
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen or total + status.st_size > most:
                continue
            seen.add((status.st_dev, status.st_ino))
            total += status.st_size
            yield path


def unchanged(_: str, content: bytes) -> bytes:
    """The file as it is."""
    return content


def build(target: Path, files: Iterable[Path], begin: int, change: Change = unchanged) -> Layer:
    """Write a layer.

    :param begin: the time of its first file; those that follow are a little younger.
    """
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, path in enumerate(files):
            name = str(path).lstrip("/")
            content = change(name, path.read_bytes())
            member = tarfile.TarInfo(name[-99:].lstrip("/"))
            member.size, member.mtime, member.mode = len(content), begin + number // 500, 0o644
            archive.addfile(member, io.BytesIO(content))
    with target.open("rb") as stream:
        return Layer(target, hashlib.file_digest(stream, "sha256").hexdigest())


def save(target: Path, images: Mapping[str, tuple[Layer, ...]]) -> None:
    """Write the archive that `docker save` would write of images."""
    index, there = [], set()
    with tarfile.open(target, "w") as archive:

        def add(name: str, content: bytes) -> str:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            return name

        for reference, layers in images.items():
            for layer in layers:
                if layer.sha256 not in there:
                    there.add(layer.sha256)
                    archive.add(layer.path, f"blobs/sha256/{layer.sha256}")
            filesystem = {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}" for layer in layers]}
            about = {"architecture": architecture(), "os": "linux", "config": {"Labels": {"name": reference}}}
            config = json.dumps({**about, "rootfs": filesystem}).encode()
            names = [f"blobs/sha256/{layer.sha256}" for layer in layers]
            place = add(f"blobs/sha256/{hashlib.sha256(config).hexdigest()}", config)
            index.append({"Config": place, "RepoTags": [reference], "Layers": names})
        add("manifest.json", json.dumps(index).encode())


def code_changed(name: str, content: bytes) -> bytes:
    """A release's changes: one file in twenty."""
    chosen = hashlib.sha256(name.encode()).digest()[0] < 256 // 20
    return content.replace(b"the ", b"that ", 20) if chosen else content


def gem_changed(name: str, content: bytes) -> bytes:
    """Another version of one gem: every file of it differs a little."""
    return content.replace(b"self", b"this", 3) + b"# 2\n" if f"/{GEM}/" in name else content


def make_images(directory: Path) -> None:
    """Write the archives: `old`, and after it `code` and `gem`."""
    gems = list(files_below([ROOT / ".venv/lib", PYTHON], SIZE))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    own = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    own = [path for path in own if path.is_file() and not path.is_symlink()]

    def lower(name: str, places: tuple[str, ...], share: float) -> Layer:
        return build(directory / name, files_below(map(Path, places), share * SIZE), 1_700_000_000)

    below = lower("below", BELOW, 0.6)
    others = {
        "redis:8": (below, lower("cache", CACHE, 0.1)),
        "postgres:17": (below, lower("database", DATABASE, 0.5)),
    }
    old = build(directory / "gems", gems, 1_700_000_000)
    new = build(directory / "gems-new", gems, 1_790_000_000, gem_changed)
    code = build(directory / "app", own, 1_700_000_000)
    code_new = build(directory / "app-new", own, 1_790_000_000, code_changed)
    save(directory / "old.tar", {"swarm:1.0.0": (below, old, code), **others})
    save(directory / "code.tar", {"swarm:1.1.0": (below, old, code_new), **others})
    save(directory / "gem.tar", {"swarm:1.1.0": (below, new, code_new), **others})


def write(directory: Path, name: str, base: str | None) -> tuple[float, int]:
    """Write a bundle of an archive; returns the seconds and the peak memory in bytes, zstd's included."""
    begun = time.monotonic()
    runner = HostRunner()
    version = "1.1.0" if base else "1.0.0"
    services = {"web": f"swarm:{version}", "worker": f"swarm:{version}", "redis": "redis:8", "postgres": "postgres:17"}
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        with (directory / f"{name}.tar").open("rb") as stream:
            saved = read_archive(stream, Path(scratch))
        contents = Contents("swarm", version, COMMIT, services, saved, {})
        place = directory / name / "swarm.sums"
        place.parent.mkdir()
        if base is None:
            write_bundle(runner, contents, place, directory / "key", Path(scratch))
        else:
            with opened(runner, directory / base / "swarm.sums", directory / "signers") as known:
                write_bundle(runner, contents, place, directory / "key", Path(scratch), base=known)
    # what a delta is made of is compressed one after the other
    return time.monotonic() - begun, peak(1 if base else AT_ONCE)


def verify(directory: Path, name: str) -> tuple[float, int]:
    """Verify a bundle; returns the seconds and the peak memory in bytes."""
    begun = time.monotonic()
    with opened(HostRunner(), directory / name / "swarm.sums", directory / "signers"):
        return time.monotonic() - begun, peak()


def peak(at_once: int = 1) -> int:
    """The most memory that this process had, and as many of the largest of those that it started as work at once."""
    # what getrusage tells of a process begins with what its parent had before exec
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * (int(own.split()[1]) + at_once * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def alone(work: Callable[..., tuple[float, int]], *given: object) -> tuple[float, int]:
    """Do work in a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def told(name: str, ours: int, peer: int, bar: float) -> bool:
    """Print one comparison of bytes; returns whether it holds."""
    ok = ours <= bar * peer
    ratio, verdict = round(ours / peer, 4), "ok" if ok else "NOT OK"
    print(f"{name}: {ours / 1e6:.2f} beside {peer / 1e6:.2f} MB, ratio {ratio}, bar {bar}: {verdict}")
    result = {"name": name, "ours": ours, "peer": peer, "unit": "B", "ratio": ratio, "bar": bar, "ok": ok}
    print(json.dumps(result), flush=True)
    return ok


def size_of(directory: Path) -> int:
    """The bytes of a bundle."""
    return sum(path.stat().st_size for path in directory.iterdir())


def zipped(path: Path) -> int:
    """The size that gzip makes of a file."""
    with subprocess.Popen(["gzip", "-c", str(path)], stdout=subprocess.PIPE) as process:
        return sum(len(piece) for piece in iter(lambda: process.stdout.read(1 << 20) if process.stdout else b"", b""))


def sizes(directory: Path) -> bool:
    """Compare sizes and memory."""
    whole = alone(write, directory, "old", None)
    full = size_of(directory / "old")
    print(f"bundle: the whole one written in {whole[0]:.0f} s", flush=True)
    good = [told("bundle images", full, zipped(directory / "old.tar"), SAVED_BAR)]
    memory = [whole[1]]
    for name, bar in (("code", CODE_BAR), ("gem", GEM_BAR)):
        seconds, used = alone(write, directory, name, "old")
        memory.append(used)
        print(f"bundle: the delta with {name} changed written in {seconds:.0f} s", flush=True)
        good.append(told(f"bundle delta {name}", size_of(directory / name), full, bar))
    seconds, used = alone(verify, directory, "old")
    print(f"bundle: verified in {seconds:.1f} s, with {used / 1e6:.0f} MB of memory", flush=True)
    good.append(told("bundle memory", max(*memory, used), MEMORY_BAR, 1.0))
    return all(good)


def times(directory: Path) -> bool:
    """Compare verifying and loading with `docker load` alone."""
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    engine = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip()
    if not engine or int(engine.partition(".")[0]) < OLDEST_ENGINE:
        print(f"bundle load: an engine {OLDEST_ENGINE} is needed, {engine or 'none'} is here: not measured")
        return True
    runner = HostRunner()
    with opened(runner, directory / "old/swarm.sums", directory / "signers") as bundle:
        images = [f"sha256:{image.id}" for image in bundle.manifest.images]

    def ours() -> float:
        begun = time.monotonic()
        with opened(runner, directory / "old/swarm.sums", directory / "signers") as bundle:
            load(runner, bundle, directory)
        return ended(begun)

    def peer() -> float:
        begun = time.monotonic()
        with (directory / "old.tar").open("rb") as stream:
            subprocess.run(["docker", "image", "load", "--quiet"], stdin=stream, check=True, capture_output=True)
        return ended(begun)

    def ended(begun: float) -> float:
        took = time.monotonic() - begun
        subprocess.run(["docker", "image", "rm", "--force", *images], check=True, capture_output=True)
        return took

    return compare("bundle load", ours, peer, LOAD_BAR) == 0


@contextmanager
def workshop() -> Iterator[Path]:
    """A directory in memory, with a key."""
    directory = Path(tempfile.mkdtemp(prefix="slipway-bundle-", dir="/dev/shm"))
    try:
        make_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "key")]
        subprocess.run(make_key, check=True)
        (directory / "signers").write_text(f"{NAMESPACE} {(directory / 'key.pub').read_text()}")
        yield directory
    finally:
        shutil.rmtree(directory)


def main() -> int:
    """Run the benchmark."""
    with workshop() as directory:
        make_images(directory)
        good = [sizes(directory), times(directory)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
