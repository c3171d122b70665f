"""The size of a bundle beside one `docker save` with gzip, and of deltas beside the whole; memory; verify and load.

The images are those of the sample application: PostgreSQL, Redis, nginx and a release, built on a lab host of Debian's
packages. That host's engine saves them, and loads them back, in turn with a bundle of them.

The release's own layers are small: its gems are Debian's packages, in a layer of Ruby that stays. So for the deltas it
gets two more, made of files that lie on this machine: one of 150 MB as gems are, and one of code. A rebuilt layer has
new times throughout, as one has that was built again.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.slipway.release.plugins.module_utils._bundle_images import Saved, read_archive
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import opened
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import NAMESPACE
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import Contents, write_bundle
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner

from bench._pairs import compare
from bench._results import Line
from lab._common import ROOT, program, run

if TYPE_CHECKING:
    from bench._arena import Arena

SIZE = float(os.environ.get("SLIPWAY_BENCH_BYTES", "1.5e8"))  # of the gems; smaller ones are for trying it out
SAVED_BAR = 0.7
CODE_BAR = 0.02
GEM_BAR = 0.08
LOAD_BAR, PAIRS = 1.2, 9
MEMORY_BAR = 300_000_000
COMMIT = "0" * 40
GEM = "jinja2"  # half a megabyte, as most gems have
PYTHON = Path(sys.base_prefix) / "lib"
RELEASE = "1.0.0"
IMAGE = f"swarm:{RELEASE}"
SERVICES = {"web": IMAGE, "worker": IMAGE}
OTHERS = {"proxy": "swarm-nginx:1.26", "postgres": "swarm-postgres:17", "redis": "swarm-redis:8"}
REPOSITORY, OWNER = "/srv/git/swarm.git", "deploy"  # as lab.swarm has them
PLACE = "/opt/bench/bundle"  # on the host
BUILD = f"""
git clone --quiet -c advice.detachedHead=false --branch {RELEASE} {REPOSITORY} ~/swarm
docker build --quiet --tag {IMAGE} --build-arg APP_VERSION={RELEASE} ~/swarm
"""
# an engine that has nothing of them left
FORGET = """
docker image ls --all --quiet | sort -u | xargs docker image rm --force >/dev/null
docker builder prune --all --force >/dev/null
sync
"""
OURS = f"""
from pathlib import Path
from typing import TYPE_CHECKING
from slipway._bundle_load import load
from slipway._bundle_reader import opened
place = Path("{PLACE}")
begun = time.monotonic()
with opened(site.runner, place / "real/swarm.sums", place / "signers") as bundle:
    load(site.runner, bundle, place)
print(time.monotonic() - begun)
"""
PEER = f"""
begun=$(date +%s.%N)
docker image load --quiet <{PLACE}/real.tar >/dev/null
echo "$begun $(date +%s.%N)"
"""

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


def with_layers(saved: Saved, layers: Sequence[Layer], directory: Path) -> Saved:
    """The images, where the release has some layers more."""
    (release,) = (image for image in saved.images if IMAGE in image.references)
    config = json.loads(saved.files[release.id].read_bytes())
    config["rootfs"]["diff_ids"] += [f"sha256:{layer.sha256}" for layer in layers]
    content = json.dumps(config).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    path = directory / sha256
    path.write_bytes(content)
    new = replace(release, id=sha256, layers=(*release.layers, *(layer.sha256 for layer in layers)))
    added = {sha256: path, **{layer.sha256: layer.path for layer in layers}}
    return Saved((new, *(image for image in saved.images if image is not release)), {**saved.files, **added})


def code_changed(name: str, content: bytes) -> bytes:
    """A release's changes: one file in twenty."""
    chosen = hashlib.sha256(name.encode()).digest()[0] < 256 // 20
    return content.replace(b"the ", b"that ", 20) if chosen else content


def gem_changed(name: str, content: bytes) -> bytes:
    """Another version of one gem: every file of it differs a little."""
    return content.replace(b"self", b"this", 3) + b"# 2\n" if f"/{GEM}/" in name else content


def make_images(made: Arena, directory: Path) -> None:
    """Build the release, and let the host's engine save all images."""
    made.host.sh(BUILD, user=OWNER)
    command = ["exec", made.host.container, "docker", "image", "save", IMAGE, *OTHERS.values()]
    with (directory / "real.tar").open("wb") as target:
        subprocess.run([program("docker") or "docker", *command], stdout=target, check=True)


def make_layers(directory: Path) -> dict[str, tuple[Layer, ...]]:
    """Write what the release has more: `old`, and after it `code` and `gem`."""
    gems = list(files_below([ROOT / ".venv/lib", PYTHON], SIZE))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    own = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    own = [path for path in own if path.is_file() and not path.is_symlink()]
    old = build(directory / "gems", gems, 1_700_000_000)
    new = build(directory / "gems-new", gems, 1_790_000_000, gem_changed)
    code = build(directory / "app", own, 1_700_000_000)
    code_new = build(directory / "app-new", own, 1_790_000_000, code_changed)
    return {"old": (old, code), "code": (old, code_new), "gem": (new, code_new)}


def write(directory: Path, name: str, layers: Sequence[Layer], base: str | None) -> tuple[float, int]:
    """Write a bundle; returns the seconds and the peak memory in bytes, zstd's included.

    :param layers: what the release has more than the sample's.
    """
    begun = time.monotonic()
    runner = HostRunner()
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        with (directory / "real.tar").open("rb") as stream:
            saved = read_archive(stream, Path(scratch))
        if layers:
            saved = with_layers(saved, layers, Path(scratch))
        contents = Contents("swarm", RELEASE, COMMIT, {**SERVICES, **OTHERS}, saved, {})
        place = directory / name / "swarm.sums"
        place.parent.mkdir()
        if base is None:
            write_bundle(runner, contents, place, directory / "key", Path(scratch))
        else:
            with opened(runner, directory / base / "swarm.sums", directory / "signers") as known:
                write_bundle(runner, contents, place, directory / "key", Path(scratch), base=known)
    return time.monotonic() - begun, peak()


def verify(directory: Path, name: str) -> tuple[float, int]:
    """Verify a bundle; returns the seconds and the peak memory in bytes."""
    begun = time.monotonic()
    with opened(HostRunner(), directory / name / "swarm.sums", directory / "signers"):
        return time.monotonic() - begun, peak(2)


def peak(side_by_side: int = 1) -> int:
    """The most memory that this process had, and so many of the largest of those that it started."""
    # what getrusage tells of a process begins with what its parent had before exec
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * (int(own.split()[1]) + side_by_side * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def alone(work: Callable[..., tuple[float, int]], *given: object) -> tuple[float, int]:
    """Do work in a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def told(name: str, ours: int, peer: int, bar: float) -> bool:
    """Print one comparison of bytes; returns whether it holds."""
    line = Line.of(name, "B", (ours, peer), bar=bar, ok=ours <= bar * peer)
    verdict = "ok" if line.ok else "NOT OK"
    print(f"{name}: {ours / 1e6:.2f} beside {peer / 1e6:.2f} MB, ratio {line.ratio}, bar {bar}: {verdict}")
    return line.tell()


def size_of(directory: Path) -> int:
    """The bytes of a bundle."""
    return sum(path.stat().st_size for path in directory.iterdir())


def zipped(path: Path) -> int:
    """The size that gzip makes of a file."""
    with subprocess.Popen(["gzip", "-c", str(path)], stdout=subprocess.PIPE) as process:
        return sum(len(piece) for piece in iter(lambda: process.stdout.read(1 << 20) if process.stdout else b"", b""))


def sizes(directory: Path) -> bool:
    """Compare sizes and memory."""
    layers = make_layers(directory)
    memory = []

    def written(name: str, more: Sequence[Layer], base: str | None = None) -> int:
        seconds, used = alone(write, directory, name, more, base)
        memory.append(used)
        print(f"bundle: {name} written in {seconds:.0f} s, with {used / 1e6:.0f} MB of memory", flush=True)
        return size_of(directory / name)

    good = [told("bundle images", written("real", ()), zipped(directory / "real.tar"), SAVED_BAR)]
    whole = written("old", layers["old"])
    for name, bar in (("code", CODE_BAR), ("gem", GEM_BAR)):
        good.append(told(f"bundle delta {name}", written(name, layers[name], "old"), whole, bar))
    seconds, used = alone(verify, directory, "old")
    print(f"bundle: old verified in {seconds:.1f} s, with {used / 1e6:.0f} MB of memory", flush=True)
    good.append(told("bundle memory", max(*memory, used), MEMORY_BAR, 1.0))
    return all(good)


def times(made: Arena, directory: Path) -> bool:
    """Compare verifying and loading with `docker load` alone."""
    made.sh(f"mkdir {PLACE}")
    for name in ("real", "real.tar", "signers"):
        run(["docker", "cp", str(directory / name), f"{made.host.container}:{PLACE}/{name}"])
    made.sh(FORGET)

    def ours() -> float:
        return ended(float(made.engine(OURS)))

    def peer() -> float:
        begun, end = map(float, made.sh(PEER).split())
        return ended(end - begun)

    def ended(seconds: float) -> float:
        there = len(set(made.sh("docker image ls --quiet").split()))
        if there != 1 + len(OTHERS):
            sys.exit(f"bundle load: {there} images are there")
        made.sh(FORGET)
        return seconds

    return compare("bundle load", ours, peer, LOAD_BAR, pairs=PAIRS) == 0


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
    from bench._arena import arena  # noqa: PLC0415 - its libraries are no part of the memory that a writer takes

    with workshop() as directory, arena(empty=True) as made:
        make_images(made, directory)
        good = [sizes(directory), times(made, directory)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
