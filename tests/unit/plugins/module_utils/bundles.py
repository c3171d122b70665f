"""Small bundles, and ways to make bad ones of them."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ansible_collections.slipway.release.plugins.module_utils._bundle_images import Saved, read_archive
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import (
    CONTROLLER,
    NAME,
    Blob,
    Manifest,
    parse_manifest,
)
from ansible_collections.slipway.release.plugins.module_utils._bundle_oci import layout
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import Bundle, architecture, opened
from ansible_collections.slipway.release.plugins.module_utils._bundle_tar import END, header, padding
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import NAMESPACE
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import Contents, write_bundle
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner

RUNNER = HostRunner()
COMMIT = "4" * 40
BASE = {"etc/os-release": b"Debian\n", "usr/lib/libc.so": bytes(range(256)) * 40}
CODE = {"app/models/agent.rb": b"class Agent\nend\n" * 50}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, the same ones each time."""
    return random.Random(seed).randbytes(size)


def layer(files: Mapping[str, bytes], time: int = 0) -> bytes:
    """A layer as an engine keeps it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), time
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


@dataclass(frozen=True)
class Picture:
    """An image before it is saved."""

    reference: str
    layers: tuple[bytes, ...]
    architecture: str = architecture()

    @property
    def config(self) -> bytes:
        layers = [f"sha256:{sha256(content)}" for content in self.layers]
        system = {"architecture": self.architecture, "os": "linux"}
        return json.dumps({**system, "rootfs": {"type": "layers", "diff_ids": layers}, "tag": self.reference}).encode()

    @property
    def id(self) -> str:
        return sha256(self.config)


def saved_by_docker(*pictures: Picture) -> bytes:
    """What `docker save` writes of images."""
    target = io.BytesIO()
    index = []
    with tarfile.open(fileobj=target, mode="w") as archive:

        def add(name: str, content: bytes) -> str:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            return name

        for item in pictures:
            names = [add(f"blobs/sha256/{sha256(content)}", content) for content in item.layers]
            config = add(f"blobs/sha256/{item.id}", item.config)
            index.append({"Config": config, "RepoTags": [item.reference], "Layers": names})
        add("manifest.json", json.dumps(index).encode())
    return target.getvalue()


def swarm(version: str = "1.1.0", code: Mapping[str, bytes] | None = None, time: int = 0) -> tuple[Picture, ...]:
    """The images of a release: two, with a layer in common."""
    base = layer(BASE)
    return (
        Picture(f"swarm:{version}", (base, layer(code or CODE, time))),
        Picture("redis:8", (base, layer({"usr/bin/redis-server": b"redis" * 900}))),
    )


def read(directory: Path, *pictures: Picture) -> Saved:
    directory.mkdir(exist_ok=True)
    return read_archive(io.BytesIO(saved_by_docker(*pictures)), directory)


def keys(directory: Path, *names: str) -> None:
    """Make signing keys, and let all of them be allowed."""
    lines = []
    for name in names:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(directory / name)]
        subprocess.run(argv, check=True)
        lines.append(f'{NAMESPACE} namespaces="{NAMESPACE}" {(directory / f"{name}.pub").read_text()}')
    (directory / "allowed_signers").write_text("".join(lines))


class Made:
    """A bundle in a directory of its own, with the key that signs it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sums = directory / "swarm.sums"
        self.signers = directory / "allowed_signers"
        self.key = directory / "key"

    def copy(self, directory: Path) -> Made:
        shutil.copytree(self.directory, directory)
        return Made(directory)

    @property
    def parts(self) -> list[Path]:
        return sorted(self.directory.glob("swarm.[0-9]*"))

    @property
    def content(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.parts)

    @property
    def manifest(self) -> Manifest:
        return parse_manifest(self.entries()[0][1])

    def entries(self) -> list[tuple[str, bytes]]:
        """The bundle's entries, by any tar's reading."""
        with tarfile.open(fileobj=io.BytesIO(self.content)) as archive:
            return [(item.name, archive.extractfile(item).read()) for item in archive]  # type: ignore[union-attr]

    def offset(self, entry: str) -> int:
        """Where an entry's content begins."""
        with tarfile.open(fileobj=io.BytesIO(self.content)) as archive:
            return archive.getmember(entry).offset_data

    def damage(self, offset: int, content: bytes) -> None:
        """Write over some bytes, across parts."""
        whole = bytearray(self.content)
        whole[offset : offset + len(content)] = content
        for path in self.parts:
            size = path.stat().st_size
            path.write_bytes(whole[:size])
            del whole[:size]

    def flip(self, offset: int) -> None:
        self.damage(offset, bytes([self.content[offset] ^ 1]))

    def sign(self, key: str = "key", namespace: str = NAMESPACE) -> None:
        """Sum and sign what is there."""
        self.sums.write_text("".join(f"{sha256(path.read_bytes())}  {path.name}\n" for path in self.parts))
        signature = self.sums.with_name(f"{self.sums.name}.sig")
        signature.unlink(missing_ok=True)
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self.directory / key), "-n", namespace, str(self.sums)]
        subprocess.run(argv, check=True)

    def pack(self, entries: list[tuple[bytes, bytes]]) -> None:
        """Replace the bundle by one of headers and contents, and sign it."""
        for path in self.parts:
            path.unlink()
        packed = b"".join(head + content + bytes(padding(len(content))) for head, content in entries)
        (self.directory / "swarm.001").write_bytes(packed + END)
        self.sign()

    def claim(self, manifest: Manifest | bytes, replaced: Mapping[str, bytes] | None = None) -> None:
        """Let the bundle have another manifest, with the small files that belong to it, and sign it."""
        blobs = {name.rpartition("/")[2]: content for name, content in self.entries()} | dict(replaced or {})
        told = manifest if isinstance(manifest, Manifest) else self.manifest
        written = told.written() if isinstance(manifest, Manifest) else manifest
        first = [(CONTROLLER, blobs[CONTROLLER])] if told.file(CONTROLLER) else []
        entries = [(NAME, written), *first, *layout(told).items()]
        entries += [(blob.entry, blobs[blob.sha256]) for blob in told.blobs]
        self.pack([(header(name, len(content)), content) for name, content in entries])

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the manifest's JSON, and sign that."""
        value = json.loads(self.manifest.written())
        change(value)
        self.claim((json.dumps(value, sort_keys=True, indent=1) + "\n").encode())

    def swap(self, old: str, content: bytes, **changes: Any) -> None:  # noqa: ANN401 plain data
        """Let the content that the manifest calls `old` be held as other bytes, and sign it."""
        was = self.manifest.content[old]
        now = replace(was, sha256=sha256(content), size=len(content), **changes)
        blobs = [now if blob == was else blob for blob in self.manifest.blobs]
        told = replace(self.manifest, blobs=tuple(sorted(blobs, key=lambda blob: blob.sha256)))
        self.claim(told, {now.sha256: content})

    @contextmanager
    def opened(self) -> Iterator[Bundle]:
        with opened(RUNNER, self.sums, self.signers) as bundle:
            yield bundle


def make(directory: Path, version: str = "1.1.0", base: Bundle | None = None, **given: Any) -> Made:  # noqa: ANN401
    """Write a bundle of the sample.

    :param given: `pictures`, `files` and `part` where they are not the usual ones.
    """
    directory.mkdir()
    keys(directory, "key", "old-key")
    made = Made(directory)
    sources = directory / "sources"
    sources.mkdir()
    usual = {"docs/README.md": b"# Swarm\n" * 30, "helpers/amd64/tool": b"\x7fELF", CONTROLLER: b"import sys\n" * 9}
    files = given.get("files") or usual
    paths = {}
    for number, (name, content) in enumerate(files.items()):
        paths[name] = sources / str(number)
        paths[name].write_bytes(content)
        if name.startswith("helpers/"):
            paths[name].chmod(0o700)
    saved = read(directory / "saved", *(given.get("pictures") or swarm(version)))
    scratch = directory / "scratch"
    scratch.mkdir()
    services = {"web": f"swarm:{version}", "redis": "redis:8"}
    contents = Contents("swarm", version, COMMIT, services, saved, paths)
    write_bundle(RUNNER, contents, made.sums, made.key, scratch, part=given.get("part", 1 << 30), base=base)
    for used in (sources, directory / "saved", scratch):
        shutil.rmtree(used)
    return made


def compressed(content: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-qc", *options], input=content, capture_output=True, check=True).stdout


def blob_of(content: bytes) -> Blob:
    return Blob(sha256(content), len(content), sha256(content), len(content))


class Files(HostRunner):
    """An engine of files: what was loaded lies in a directory, and the commands are those that a host would run."""

    def __init__(self, directory: Path, *pictures: Picture) -> None:
        super().__init__()
        self.directory = directory
        self.pictures = {picture.id: picture for picture in pictures}
        self.store = "overlay2"
        self.refuses = False
        self.loads = self.taken = 0
        self.tags: dict[str, str] = {}

    def run(self, argv: Sequence[str], **given: Any) -> Completed:  # noqa: ANN401 - what the real one takes
        if argv[:2] == ["docker", "info"]:
            return Completed(0, f'[["driver-type","{self.store}"]] {self.directory}\n', "")
        if argv[:3] == ["docker", "image", "ls"]:
            return Completed(0, "".join(f"sha256:{name}\n" for name in self.pictures), "")
        if argv[:5] == ["docker", "image", "inspect", "--format", "{{.Id}}"]:
            known = {**{f"sha256:{name}": f"sha256:{name}" for name in self.pictures}, **self.tags}
            found = [known.get(name) for name in argv[5:]]
            return Completed(int(None in found), "".join(f"{name}\n" for name in found if name), "")
        if argv[:3] == ["docker", "image", "inspect"]:
            lines = []
            for name in argv[5:]:
                picture = self.pictures[name[7:]]
                layers = json.dumps([f"sha256:{sha256(content)}" for content in picture.layers])
                lines.append(f"{name} {sum(map(len, picture.layers))} {layers}\n")
            return Completed(0, "".join(lines), "")
        if argv[:3] == ["docker", "image", "tag"]:
            self.tags[argv[4]] = argv[3]
            return Completed(0, "", "")
        return super().run(argv, **given)

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        if argv[:3] == ["docker", "image", "save"]:
            (self.directory / "archive").write_bytes(saved_by_docker(*(self.pictures[name[7:]] for name in argv[3:])))
            return super().stream(["cat", str(self.directory / "archive")], errors)
        if argv[:3] == ["docker", "image", "load"]:
            self.loads += 1
            target = f"{self.directory}/loaded.{self.loads:03}"
            command = "cat >/dev/null; echo no room >&2; exit 1" if self.refuses else f"cat >{target}"
            return super().stream(["sh", "-c", command], errors)
        return super().stream(argv, errors)

    @property
    def archives(self) -> list[Path]:
        """What was sent, in its order."""
        return sorted(self.directory.glob("loaded.*"))

    def take(self) -> None:
        """Do as the engine does with what it was sent."""
        for path in self.archives[self.taken :]:
            self._take(path)
            self.taken += 1

    def _take(self, path: Path) -> None:
        came: dict[str, bytes] = {}
        with tarfile.open(path) as archive:
            for item in archive:
                came[item.name] = archive.extractfile(item).read()  # type: ignore[union-attr]
        have = {sha256(content): content for picture in self.pictures.values() for content in picture.layers}
        for item in json.loads(came["manifest.json"]):
            config = json.loads(came[item["Config"]])
            assert item["RepoTags"] == []
            layers = []
            for name, place in zip(config["rootfs"]["diff_ids"], item["Layers"], strict=True):
                content = came.get(place, have.get(name[7:]))
                assert content is not None
                if place in came and not place.startswith("layers/"):
                    content = subprocess.run(["zstd", "-dc"], input=content, capture_output=True, check=True).stdout
                assert f"sha256:{sha256(content)}" == name
                layers.append(content)
            picture = Picture(config["tag"], tuple(layers))
            assert picture.config == came[item["Config"]]
            self.pictures[picture.id] = picture
