# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a bundle: the same content and the same zstd give the same bytes, whatever the time, the user or the machine.

What goes in is compressed piece by piece into a scratch directory, and then written in the manifest's order. The
signature comes last: a bundle that was not finished has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable

from ._bundle_delta import Known, write_patch
from ._bundle_images import Saved, pieces_of
from ._bundle_manifest import (
    CONTROLLER,
    HELPERS,
    NAME,
    Base,
    Blob,
    File,
    Image,
    Manifest,
    Patch,
    checked,
)
from ._bundle_oci import layout
from ._bundle_reader import Bundle
from ._bundle_tar import END, header, padding
from ._bundle_trust import MOST_PARTS, SIGNATURE, SUMS, part_name, sign
from ._errors import SlipwayError
from ._zstd import LEVEL, compressed

if TYPE_CHECKING:
    from ._process import Runner

PART = 4_000_000_000  # bytes: under what FAT32 takes


@dataclass(frozen=True)
class Contents:
    """What a bundle is made of.

    :param services: each service of the Compose project and the name it knows its image by.
    :param files: files on this machine, by the path that they have in the bundle.
    """

    application: str
    version: str
    commit: str
    services: Mapping[str, str]
    saved: Saved
    files: Mapping[str, Path]


class _Blobs:
    """Compresses content, once each, into a directory."""

    def __init__(self, runner: Runner, directory: Path, level: int) -> None:
        self._runner = runner
        self._directory = directory
        self._level = level
        self._numbers = count()
        self.blobs: dict[str, Blob] = {}
        self.files: dict[str, Path] = {}

    def add(self, pieces: Iterator[bytes], *, compress: bool) -> str:
        """Take content in; returns its SHA-256."""
        raw = _Hash()
        held = _Hash()
        path = self._directory / f"blob-{next(self._numbers)}"
        with path.open("wb") as target:

            def write(piece: bytes) -> None:
                held.add(piece)
                target.write(piece)

            if compress:
                compressed(self._runner, raw.through(pieces), write, self._level)
            else:
                for piece in raw.through(pieces):
                    write(piece)
        if raw.sha256 in self.blobs:
            path.unlink()
        else:
            blob = Blob(held.sha256, held.size, raw.sha256, raw.size)
            self.blobs[raw.sha256] = blob
            self.files[blob.sha256] = path
        return raw.sha256

    def add_patch(self, known: Known, pieces: Iterator[bytes]) -> tuple[int, str, str]:
        """Take in how a layer is made of known ones; returns its size and what names the recipe and the literals."""
        whole = _Hash()
        recipe, literals = self._directory / "recipe", self._directory / "literals"
        with recipe.open("wb") as lines, literals.open("wb") as new:
            write_patch(known, whole.through(pieces), lines.write, new.write)
        names = [self.add(pieces_of(path), compress=True) for path in (recipe, literals)]
        return whole.size, names[0], names[1]


class _Hash:
    """The SHA-256 and the size of what passes by."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Take a piece into account."""
        self._digest.update(piece)
        self.size += len(piece)

    def through(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces, each taken into account."""
        for piece in pieces:
            self.add(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """SHA-256 of what passed."""
        return self._digest.hexdigest()


class _Split:
    """A stream that goes into parts of a size, each hashed."""

    def __init__(self, directory: Path, name: str, size: int) -> None:
        self._directory = directory
        self._name = name
        self._size = size
        self._target: IO[bytes] | None = None
        self._hash = _Hash()
        self.sums: list[tuple[str, str]] = []

    def write(self, piece: bytes) -> None:
        """Write a piece, across parts."""
        while piece:
            if self._target is None:
                self._begin()
            taken = piece[: self._size - self._hash.size]
            if self._target is not None:
                self._target.write(taken)
            self._hash.add(taken)
            piece = piece[len(taken) :]
            if self._hash.size == self._size:
                self.end()

    def _begin(self) -> None:
        number = len(self.sums) + 1
        if number > MOST_PARTS:
            raise SlipwayError(f"the bundle needs more than {MOST_PARTS} parts of {self._size} bytes: make them larger")
        self._hash = _Hash()
        self._target = (self._directory / part_name(self._name, number)).open("xb")

    def end(self) -> None:
        """End the part that is written."""
        if self._target is not None:
            self._target.close()
            self._target = None
            self.sums.append((self._hash.sha256, part_name(self._name, len(self.sums) + 1)))


def _images(saved: Saved) -> tuple[tuple[Image, ...], str]:
    """The images, sorted by their id, and the architecture that all of them have."""
    names: dict[str, set[str]] = {}
    for image in saved.images:
        names.setdefault(image.id, set()).update(image.references)
    layers = {image.id: image.layers for image in saved.images}
    built_for = sorted({image.architecture for image in saved.images})
    if len(built_for) != 1:
        raise SlipwayError(f"a bundle is for one architecture, and its images are for {', '.join(built_for) or 'none'}")
    images = tuple(Image(identity, tuple(sorted(names[identity])), layers[identity]) for identity in sorted(names))
    return images, built_for[0]


def _base(base: Bundle | None, images: Sequence[Image], known: Known) -> Base | None:
    if base is None:
        return None
    stay = {layer for image in images for layer in image.layers} & set(base.manifest.layers)
    return Base(base.manifest.version, base.manifest.sha256, tuple(sorted(stay | set(known.sources))))


def _known(base: Bundle | None, images: Sequence[Image]) -> Known:
    """The chunks of those layers that the base has and the release has not: what its own new layers came from."""
    known = Known()
    if base is not None:
        stay = {layer for image in images for layer in image.layers}
        for layer in base.manifest.layers:
            if layer not in stay and layer in base.manifest.content:
                known.add(layer, base.raw(layer))
    return known


def manifest_of(contents: Contents, blobs: _Blobs, base: Bundle | None) -> Manifest:
    """Take all content in and say what it is.

    Helpers are kept as they are: a host that lacks zstd can use the one that comes.
    """
    images, built_for = _images(contents.saved)
    known = _known(base, images)
    there = set(base.manifest.layers) if base else set()
    # what must not be compressed comes first: the same content is taken in once
    for image in images:
        blobs.add(pieces_of(contents.saved.files[image.id]), compress=False)
    helpers = {path for path in contents.files if path.startswith(f"{HELPERS}/")}
    files = tuple(
        File(path, blobs.add(pieces_of(source), compress=path not in helpers), bool(source.stat().st_mode & 0o100))
        for path, source in sorted(contents.files.items(), key=lambda item: (item[0] not in helpers, item[0]))
    )
    wanted = dict.fromkeys(layer for image in images for layer in image.layers)
    new = {layer: contents.saved.files[layer] for layer in wanted if layer not in there and layer not in blobs.blobs}
    patches = []
    if known.sources:
        for layer, path in new.items():
            patch = blobs.add_patch(known, pieces_of(path))
            patches.append(Patch(layer, *patch, tuple(known.sources)))
    else:
        # one after another: the memory goes into what zstd remembers of each
        for path in new.values():
            blobs.add(pieces_of(path), compress=True)
    return checked(
        Manifest(
            application=contents.application,
            version=contents.version,
            commit=contents.commit,
            architecture=built_for,
            services=dict(sorted(contents.services.items())),
            images=images,
            files=files,
            blobs=tuple(sorted(blobs.blobs.values(), key=lambda blob: blob.sha256)),
            patches=tuple(patches),
            base=_base(base, images, known),
        )
    )


def write_entries(
    manifest: Manifest, files: Mapping[str, Path], write: Callable[[bytes], object], controller: Path | None = None
) -> None:
    """Write the bundle itself.

    :param controller: the program that makes a controller, which stands at the front as it is.
    """
    first = {} if controller is None else {CONTROLLER: controller.read_bytes()}
    small = {NAME: manifest.written(), **first, **layout(manifest)}
    for name, content in small.items():
        write(header(name, len(content)) + content + bytes(padding(len(content))))
    for blob in manifest.blobs:
        write(header(blob.entry, blob.size))
        for piece in pieces_of(files[blob.sha256]):
            write(piece)
        write(bytes(padding(blob.size)))
    write(END)


def write_bundle(  # noqa: PLR0913 - what a bundle is made of and where it goes
    runner: Runner,
    contents: Contents,
    sums: Path,
    key: Path,
    scratch: Path,
    *,
    part: int = PART,
    base: Bundle | None = None,
    level: int = LEVEL,
) -> Manifest:
    """Write a bundle in parts, their sums and the signature of those; returns what it holds.

    :param sums: the file of the sums, NAME.sums; the parts go beside it.
    :param base: the bundle that the site has taken, for a delta.
    :param level: zstd's.
    """
    name = sums.name[: -len(SUMS)]
    if not sums.name.endswith(SUMS) or not name:
        raise SlipwayError(f"a bundle's sums are called NAME{SUMS}, not {sums.name}")
    there = [path.name for path in sums.parent.glob(f"{name}.*")]
    if there:
        raise SlipwayError(
            f"{sums.parent} already holds {there[0]}: a bundle is never written over another, move it away"
        )
    blobs = _Blobs(runner, scratch, level)
    manifest = manifest_of(contents, blobs, base)
    split = _Split(sums.parent, name, part)
    write_entries(manifest, blobs.files, split.write, contents.files.get(CONTROLLER))
    split.end()
    sums.write_text("".join(f"{sha256}  {file}\n" for sha256, file in split.sums), "ascii")
    sign(runner, sums, key)
    if not sums.with_name(sums.name + SIGNATURE).is_file():
        raise SlipwayError(f"ssh-keygen wrote no signature of {sums}")
    return manifest
