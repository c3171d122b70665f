# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bundle says of itself: its release, its images and files, and the size and SHA-256 of each of its blobs.

It is the bundle's first entry, `slipway.json`, and is written in one way only: what reads as the same but is written in
another way is refused, so that nothing hides in a key that is there twice or that nobody reads.

Content is named by the SHA-256 of what it is (`raw`): an image's id is that of its configuration, a layer's name is its
diff id. A blob is what the bundle holds of it: the same bytes, or compressed with zstd.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Callable, TypeVar

from ._errors import SlipwayError

FORMAT = 1
NAME = "slipway.json"
HELPERS = "helpers"
SOURCE = "source.bundle"  # the application, for git
LIBRARY = "slipway.tar"  # this library, as git archives it
WHEELS = "wheels"
EVIDENCE = "evidence"
NOTES = "release-notes.md"  # for customers; the same as plain text beside it
CONTROLLER = "controller.py"  # the program that makes a controller of the rest
LARGEST = 16_000_000  # bytes of a manifest: 100,000 blobs
LARGEST_BLOB = 8**11 - 1  # what a tar header can say
LARGEST_CONFIG = 4_000_000  # bytes of an image's configuration
_HEX = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_SERVICE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,255}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?")
_PATH = re.compile(r"[A-Za-z0-9@_+~.,=/-]{1,255}")

_Item = TypeVar("_Item")


class BundleError(SlipwayError):
    """A bundle that is refused: which of its files, and why."""

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"{file}: {reason}")


@dataclass(frozen=True)
class Blob:
    """One entry below blobs/sha256.

    :param sha256: of the bytes that the bundle holds, by which the entry is named.
    :param raw_sha256: of the content; another one when the blob is compressed.
    """

    sha256: str
    size: int
    raw_sha256: str
    raw_size: int

    @property
    def compressed(self) -> bool:
        """Whether it holds its content compressed."""
        return self.sha256 != self.raw_sha256

    @property
    def entry(self) -> str:
        """Its name in the bundle, as an OCI layout has it."""
        return entry_of(self.sha256)


@dataclass(frozen=True)
class Image:
    """One image: the SHA-256 of its configuration, its names, its layers' diff ids from the lowest up."""

    id: str
    references: tuple[str, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """One file beside the images: where it is unpacked to, and the SHA-256 of its content."""

    path: str
    sha256: str
    executable: bool


@dataclass(frozen=True)
class Patch:
    """How a layer is made from layers that the site has: `recipe` and `literals` name the content of two blobs.

    :param sources: the layers that the recipe copies from, by the number that it gives them.
    """

    layer: str
    size: int
    recipe: str
    literals: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Base:
    """What a delta is the difference to.

    :param manifest: SHA-256 of the manifest of the base's bundle.
    :param layers: the layers that the site must have.
    """

    version: str
    manifest: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """All that a bundle says of itself.

    :param services: each service of the Compose project, and the name it knows its image by: the closure.
    :param blobs: sorted by their SHA-256, as they lie in the bundle.
    :param base: what this is a delta to; None for a bundle that needs nothing.
    """

    application: str
    version: str
    commit: str
    architecture: str
    services: dict[str, str]
    images: tuple[Image, ...]
    files: tuple[File, ...]
    blobs: tuple[Blob, ...]
    patches: tuple[Patch, ...] = ()
    base: Base | None = None

    def written(self) -> bytes:
        """The manifest as it stands in the bundle."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, indent=1) + "\n").encode()

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest itself, which pins all the rest."""
        return hashlib.sha256(self.written()).hexdigest()

    @property
    def content(self) -> dict[str, Blob]:
        """The blobs by the SHA-256 of their content."""
        return {blob.raw_sha256: blob for blob in self.blobs}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of all images, each once."""
        return tuple(dict.fromkeys(layer for image in self.images for layer in image.layers))

    def file(self, path: str) -> File | None:
        """The file of that path, where the bundle has one."""
        return next((file for file in self.files if file.path == path), None)

    def below(self, directory: str) -> list[File]:
        """The files below a directory."""
        return [file for file in self.files if file.path.startswith(f"{directory}/")]

    def missing(self) -> list[str]:
        """What the bundle needs and neither holds nor expects of its base; empty when the closure is whole."""
        named = {reference for image in self.images for reference in image.references}
        absent = [f"image {name} of service {service}" for service, name in self.services.items() if name not in named]
        held = set(self.content)
        patched = {patch.layer for patch in self.patches}
        there = held | patched | set(self.base.layers if self.base else ())
        absent += [f"the configuration of image {image.references[0]}" for image in self.images if image.id not in held]
        absent += [f"layer {layer[:12]}" for layer in self.layers if layer not in there]
        absent += [f"file {file.path}" for file in self.files if file.sha256 not in held]
        for patch in self.patches:
            absent += [
                f"the patch of layer {patch.layer[:12]}" for raw in (patch.recipe, patch.literals) if raw not in held
            ]
            known = set(self.base.layers if self.base else ())
            absent += [f"layer {name[:12]} in the base" for name in patch.sources if name not in known]
        return absent


def entry_of(sha256: str) -> str:
    """The name of a blob in an OCI layout."""
    return f"blobs/sha256/{sha256}"


class _Reader:
    """Reads one JSON object; everything in it must be there, of its kind, and known."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(NAME, f"{where} is not an object")
        self._value: dict[str, Any] = value
        self._where = where

    def _take(self, name: str) -> Any:  # noqa: ANN401 plain JSON
        if name not in self._value:
            raise BundleError(NAME, f"{self._where} has no {name}")
        return self._value[name]

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        """A text of a certain form."""
        return _matched(self._take(name), pattern, f"{name} of {self._where}")

    def number(self, name: str, most: int) -> int:
        """A whole number."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise BundleError(NAME, f"{name} of {self._where} is no number from 0 to {most}")
        return value

    def truth(self, name: str) -> bool:
        """True or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise BundleError(NAME, f"{name} of {self._where} is neither true nor false")
        return value

    def texts(self, name: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
        """A list of texts, each there once unless they are layers, which may be."""
        return tuple(_matched(item, pattern, f"{name} of {self._where}") for item in self._list(name))

    def mapping(self, name: str, key: re.Pattern[str], value: re.Pattern[str]) -> dict[str, str]:
        """An object of texts."""
        found = self._take(name)
        if not isinstance(found, dict):
            raise BundleError(NAME, f"{name} of {self._where} is not an object")
        where = f"{name} of {self._where}"
        return {_matched(one, key, where): _matched(other, value, where) for one, other in found.items()}

    def items(self, name: str, read: Callable[[_Reader], _Item]) -> tuple[_Item, ...]:
        """A list of objects."""
        return tuple(read(_Reader(item, f"{name}[{at}]")) for at, item in enumerate(self._list(name)))

    def optional(self, name: str, read: Callable[[_Reader], _Item]) -> _Item | None:
        """An object, or null."""
        value = self._take(name)
        return None if value is None else read(_Reader(value, name))

    def path(self, name: str) -> str:
        """A path that stays below the directory it is unpacked to."""
        value = self._take(name)
        if isinstance(value, str) and (value.startswith("/") or ".." in PurePosixPath(value).parts):
            raise BundleError(NAME, f"{value!r} leads outside the directory that it is unpacked to")
        text = _matched(value, _PATH, f"{name} of {self._where}")
        if str(PurePosixPath(text)) != text or text == ".":
            raise BundleError(NAME, f"{text!r} is not the plain path of a file")
        return text

    def _list(self, name: str) -> list[Any]:
        value = self._take(name)
        if not isinstance(value, list):
            raise BundleError(NAME, f"{name} of {self._where} is not a list")
        return value


def _matched(value: object, pattern: re.Pattern[str], where: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BundleError(NAME, f"{where} is not what it should be: {str(value)[:80]!r}")
    return value


def _blob(item: _Reader) -> Blob:
    return Blob(
        item.text("sha256", _HEX),
        item.number("size", LARGEST_BLOB),
        item.text("raw_sha256", _HEX),
        item.number("raw_size", LARGEST_BLOB),
    )


def _image(item: _Reader) -> Image:
    return Image(item.text("id", _HEX), item.texts("references", _REFERENCE), item.texts("layers", _HEX))


def _file(item: _Reader) -> File:
    return File(item.path("path"), item.text("sha256", _HEX), item.truth("executable"))


def _patch(item: _Reader) -> Patch:
    return Patch(
        item.text("layer", _HEX),
        item.number("size", LARGEST_BLOB),
        item.text("recipe", _HEX),
        item.text("literals", _HEX),
        item.texts("sources", _HEX),
    )


def _base(item: _Reader) -> Base:
    return Base(item.text("version", _WORD), item.text("manifest", _HEX), item.texts("layers", _HEX))


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest; BundleError says what is wrong with it."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(NAME, "it is not JSON") from error
    if isinstance(value, dict) and value.get("format") != FORMAT:
        raise BundleError(NAME, f"it has format {value.get('format')!r:.40}, this version reads {FORMAT}")
    top = _Reader(value, "the manifest")
    manifest = Manifest(
        application=top.text("application", _WORD),
        version=top.text("version", _WORD),
        commit=top.text("commit", _COMMIT),
        architecture=top.text("architecture", _WORD),
        services=top.mapping("services", _SERVICE, _REFERENCE),
        images=top.items("images", _image),
        files=top.items("files", _file),
        blobs=top.items("blobs", _blob),
        patches=top.items("patches", _patch),
        base=top.optional("base", _base),
    )
    _check(manifest)
    if manifest.written() != content:
        raise BundleError(NAME, "it is not written as Slipway writes it")
    return manifest


def checked(manifest: Manifest) -> Manifest:
    """The same manifest, when a reader would take it."""
    return parse_manifest(manifest.written())


def _twice(names: Iterable[str]) -> str | None:
    """The first name that is there a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _check(manifest: Manifest) -> None:
    """What no single value shows."""
    nameless = next((image.id for image in manifest.images if not image.references), None)
    if nameless:
        raise BundleError(NAME, f"image {nameless[:12]} has no name")
    doubled = (
        _twice(reference for image in manifest.images for reference in image.references)
        or _twice(file.path for file in manifest.files)
        or _twice(blob.sha256 for blob in manifest.blobs)
        or _twice(blob.raw_sha256 for blob in manifest.blobs)
        or _twice(patch.layer for patch in manifest.patches)
    )
    if doubled:
        raise BundleError(NAME, f"{doubled[:80]} is there twice")
    _check_paths(manifest)
    _check_blobs(manifest)
    if manifest.patches and manifest.base is None:
        raise BundleError(NAME, "it patches layers and names no base")
    missing = manifest.missing()
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""  # noqa: PLR2004 - what fits on a line
        raise BundleError(NAME, f"the bundle lacks {', '.join(missing[:5])}{more}")


def _check_paths(manifest: Manifest) -> None:
    paths = {file.path for file in manifest.files}
    for path in paths:
        above = next((str(item) for item in PurePosixPath(path).parents if str(item) in paths), None)
        if above:
            raise BundleError(NAME, f"{above} is both a file and a directory")


def _check_blobs(manifest: Manifest) -> None:
    names = [blob.sha256 for blob in manifest.blobs]
    if names != sorted(names):
        raise BundleError(NAME, "its blobs are not sorted")
    configurations = {image.id for image in manifest.images}
    for blob in manifest.blobs:
        if not blob.compressed and blob.size != blob.raw_size:
            raise BundleError(NAME, f"blob {blob.sha256[:12]} has two sizes")
        if blob.compressed and blob.raw_sha256 in configurations:
            raise BundleError(NAME, "an image's configuration is compressed")
