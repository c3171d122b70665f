# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a bundle whose parts are trusted, and believes nothing in it: every byte is one that the manifest expects.

All of it is looked at before anything of it is used. Memory does not grow with the bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._bundle_manifest import (
    CONTROLLER,
    HELPERS,
    LARGEST,
    LARGEST_CONFIG,
    NAME,
    Blob,
    BundleError,
    File,
    Image,
    Manifest,
    parse_manifest,
)
from ._bundle_oci import layout
from ._bundle_tar import BLOCK, END, header, padding, size_in, what_it_is
from ._bundle_trust import Parts, trusted_parts
from ._errors import CommandError, SlipwayError
from ._zstd import TooLargeError, decompressed

if TYPE_CHECKING:
    from ._process import Runner

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ZSTD = "zstd"
_AT_ONCE = 2  # blobs that are unpacked side by side, with 40 MB of memory for each


def architecture() -> str:
    """The architecture of this machine, by the name that images have for it."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


class _Front:
    """Goes from header to header through the parts of a bundle."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._at = 0

    def manifest(self) -> Manifest:
        """The manifest, which is the first entry."""
        block = b"".join(self._parts.read(0, BLOCK))
        size = size_in(block) if len(block) == BLOCK else None
        if size is None or block != header(NAME, size):
            raise BundleError(self._parts.at(0), f"it does not begin with {NAME}: {what_it_is(block)}")
        if size > LARGEST:
            raise BundleError(NAME, f"it has {size} bytes, more than {LARGEST}")
        return parse_manifest(self.entry(NAME, size))

    def entry(self, name: str, size: int) -> bytes:
        """The content of the next entry, which must be this one."""
        content = b"".join(self._parts.read(self.expect(name, size), size))
        self.step_over(name, size)
        return content

    def expect(self, name: str, size: int) -> int:
        """Where the content of the next entry begins, which must be this one."""
        block = b"".join(self._parts.read(self._at, BLOCK))
        if block != header(name, size):
            raise BundleError(
                self._parts.at(self._at), f"where {name} of {size} bytes is expected, {what_it_is(block)}"
            )
        self._at += BLOCK
        return self._at

    def step_over(self, name: str, size: int) -> None:
        """Step over an entry's content; what fills its last block must be zeros."""
        self._at += size
        filled = padding(size)
        if self._parts.size < self._at + filled:
            raise BundleError(self._parts.at(self._at), f"the bundle ends inside {name}")
        if b"".join(self._parts.read(self._at, filled)) != bytes(filled):
            raise BundleError(self._parts.at(self._at), f"something is hidden after {name}")
        self._at += filled

    def end(self) -> None:
        """Here the bundle must end."""
        self._at += len(END)
        if self._parts.size < self._at:
            raise BundleError(self._parts.at(self._at), "the bundle ends too early")
        if b"".join(self._parts.read(self._at - len(END), len(END))) != END or self._parts.size > self._at:
            raise BundleError(self._parts.at(self._at), "the bundle does not end where it should")


def manifest_in(parts: Parts) -> Manifest:
    """The manifest of a bundle of which the first parts are here; nothing else of it is looked at."""
    return _Front(parts).manifest()


class Bundle:
    """A bundle that was verified as a whole.

    :param parts: held open by `opened`.
    """

    def __init__(self, runner: Runner, parts: Parts) -> None:
        self._runner = runner
        self._parts = parts
        self._program = ZSTD
        self._offsets: dict[str, int] = {}
        self._front = _Front(parts)
        self.manifest = self._front.manifest()
        self._read_entries()

    def read_all(self) -> None:
        """Unpack every blob into nothing and compare it with the manifest; look at each image's configuration."""

        def read(blob: Blob) -> None:
            for _ in self.raw(blob.raw_sha256):
                pass

        largest_first = sorted(self.manifest.blobs, key=lambda blob: -blob.raw_size)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(read, largest_first):
                pass
        for image in self.manifest.images:
            self._check_image(image)

    def stored(self, blob: Blob) -> Iterator[bytes]:
        """Yield a blob as the bundle holds it; BundleError at its end when it is not what the manifest says."""
        digest = hashlib.sha256()
        for piece in self._parts.read(self._offsets[blob.sha256], blob.size):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != blob.sha256:
            raise BundleError(blob.entry, "it is not what its name says: its SHA-256 is another")

    def raw(self, sha256: str) -> Iterator[bytes]:
        """Yield content by its SHA-256; BundleError, at its end at the latest, when it is something else."""
        blob = self.manifest.content[sha256]
        digest, size = hashlib.sha256(), 0
        pieces = self.stored(blob)
        if blob.compressed:
            pieces = decompressed(self._runner, self._program, pieces, blob.raw_size)
        try:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece
        except TooLargeError as error:
            raise BundleError(blob.entry, str(error)) from error
        except CommandError as error:
            raise BundleError(blob.entry, f"zstd cannot unpack it: {' '.join(error.output.split())[-200:]}") from error
        if (digest.hexdigest(), size) != (sha256, blob.raw_size):
            raise BundleError(blob.entry, "it unpacks to something else than the manifest says")

    def config(self, image: Image) -> bytes:
        """An image's configuration."""
        if self.manifest.content[image.id].raw_size > LARGEST_CONFIG:
            raise BundleError(image.references[0], "its configuration is far too large")
        return b"".join(self.raw(image.id))

    def unpack(self, directory: Path, prefix: str = "") -> list[Path]:
        """Write the files below `prefix` into a new directory; they get there whole or not at all."""
        wanted = [file for file in self.manifest.files if file.path.startswith(prefix)]
        try:
            partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
            try:
                for file in wanted:
                    self._write(file, partial)
                partial.chmod(0o755)
                partial.rename(directory)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise SlipwayError(f"{directory} cannot be written: {error.strerror}") from error
        return [directory / file.path for file in wanted]

    def _write(self, file: File, directory: Path) -> Path:
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if file.executable else 0o644)
        with os.fdopen(descriptor, "wb") as target:
            for piece in self.raw(file.sha256):
                target.write(piece)
        return path

    def use_helper(self, directory: Path) -> None:
        """Let zstd be the bundle's own where this machine has none."""
        if shutil.which(ZSTD) is not None or not any(blob.compressed for blob in self.manifest.blobs):
            return
        place = f"{HELPERS}/{architecture()}/{ZSTD}"
        helper = self.manifest.file(place)
        if helper is None or self.manifest.content[helper.sha256].compressed:
            raise SlipwayError(f"zstd is not on this host and the bundle brings none as {place}: install zstd")
        self._program = str(self._write(helper, directory))

    def _read_entries(self) -> None:
        """Go from header to header: each must be the one that the manifest expects, and then the bundle must end."""
        self._read_controller()
        for name, content in layout(self.manifest).items():
            if self._front.entry(name, len(content)) != content:
                raise BundleError(name, f"it does not name the images that {NAME} names")
        for blob in self.manifest.blobs:
            self._offsets[blob.sha256] = self._front.expect(blob.entry, blob.size)
            self._front.step_over(blob.entry, blob.size)
        self._front.end()

    def _read_controller(self) -> None:
        """The program that makes a controller stands at the front too, where tar alone finds it."""
        file = self.manifest.file(CONTROLLER)
        if file is None:
            return
        size = self.manifest.content[file.sha256].raw_size
        if size > LARGEST_CONFIG:
            raise BundleError(CONTROLLER, "it is far too large")
        if hashlib.sha256(self._front.entry(CONTROLLER, size)).hexdigest() != file.sha256:
            raise BundleError(CONTROLLER, f"it is not the one that {NAME} names")

    def _check_image(self, image: Image) -> None:
        """An image is the one that it says: its configuration names its layers and its architecture."""
        name = image.references[0]
        try:
            config = json.loads(self.config(image))
            layers = [str(item) for item in config["rootfs"]["diff_ids"]]
            built_for = str(config["architecture"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(name, "its configuration cannot be read") from error
        if layers != [f"sha256:{layer}" for layer in image.layers]:
            raise BundleError(name, "it is another image: its configuration names other layers than the manifest")
        if built_for != self.manifest.architecture:
            raise BundleError(name, f"it is built for {built_for[:40]}, the bundle for {self.manifest.architecture}")


@contextmanager
def opened(runner: Runner, sums: Path, signers: Path) -> Iterator[Bundle]:
    """Open and verify all of a bundle; BundleError names the file and the reason where it is refused."""
    with ExitStack() as stack:
        parts = stack.enter_context(trusted_parts(runner, sums, signers))
        bundle = Bundle(runner, parts)
        bundle.use_helper(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        bundle.read_all()
        yield bundle


def _key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions: v1.9.0 before 1.10.0-rc9 before 1.10.0-rc10 before 1.10.0."""
    main, dash, ahead = re.sub("^[vV]", "", version).partition("-")
    # digits count as a number wherever they stand
    parts = [*re.findall(r"\d+|[^\d.]+", main), *([dash] if ahead else []), *re.findall(r"\d+|[^\d.]+", ahead)]
    keys = [(2, int(part), "") if part.isdecimal() else (0 if part == "-" else 1, 0, part) for part in parts]
    return (*keys, (1, 0, ""))


@dataclass(frozen=True)
class Standing:
    """What a site has.

    :param running: the release that stands; None on a first install.
    :param way_back: the release that a rollback returns to, which may come again although it is older.
    :param layers: the diff ids of the layers that its engine has.
    """

    application: str
    running: str | None
    way_back: str | None
    layers: Collection[str]


def admit(manifest: Manifest, file: str, site: Standing) -> None:
    """Refuse a bundle that a site must not take, before anything of it is copied or used."""
    here = architecture()
    if manifest.application != site.application:
        raise BundleError(file, f"it is for the application {manifest.application}, this site runs {site.application}")
    if manifest.architecture != here:
        raise BundleError(file, f"it is for {manifest.architecture}, this host is {here}")
    if site.running and manifest.version != site.way_back and _key(manifest.version) < _key(site.running):
        raise BundleError(file, f"it brings {manifest.version}, which is older than {site.running} that runs here")
    base = manifest.base
    lacking = [name for name in base.layers if name not in site.layers] if base else []
    if base and lacking:
        raise BundleError(
            file,
            f"it is the difference to {base.version}, of which this site lacks {len(lacking)} of {len(base.layers)} "
            f"layers ({lacking[0][:12]}...): bring the whole bundle",
        )
