# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as `docker save` writes them and `docker load` takes them.

Every file of an archive is kept under its own SHA-256, so that a layer is there once whatever it was called, and an
image is what its configuration says: the id of the image is the SHA-256 of that.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ._bundle_delta import apply_patch
from ._bundle_manifest import LARGEST_CONFIG, Image, Patch
from ._bundle_oci import docker_manifest
from ._bundle_reader import Bundle
from ._bundle_tar import END, header, padding
from ._errors import SlipwayError
from ._stored import CHUNK, finish, piped

if TYPE_CHECKING:
    from ._process import Runner

_INDEX = "manifest.json"


@dataclass(frozen=True)
class SavedImage:
    """One image of an archive."""

    id: str
    references: tuple[str, ...]
    architecture: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Saved:
    """What an archive held: its images, and the files of their configurations and layers by SHA-256."""

    images: tuple[SavedImage, ...]
    files: Mapping[str, Path]


def pieces_of(path: Path) -> Iterator[bytes]:
    """A file's content."""
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            yield piece


def _keep(stream: IO[bytes], directory: Path) -> tuple[str, Path, int]:
    """Write a file under its SHA-256."""
    digest, size = hashlib.sha256(), 0
    descriptor, name = tempfile.mkstemp(dir=directory)
    with os.fdopen(descriptor, "wb") as target:
        while piece := stream.read(CHUNK):
            digest.update(piece)
            size += len(piece)
            target.write(piece)
    path = directory / digest.hexdigest()
    Path(name).rename(path)
    return path.name, path, size


def read_archive(stream: IO[bytes], directory: Path, wanted: Collection[str] | None = None) -> Saved:
    """Read what `docker save` wrote, once through.

    :param directory: where layers are kept.
    :param wanted: the SHA-256 of the only layers to keep; all of them when None.
    """
    names: dict[str, str] = {}
    links: dict[str, str] = {}
    files: dict[str, Path] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                content = archive.extractfile(member) if member.isreg() else None
                if member.issym() or member.islnk():
                    # engines before 25 link to a layer that another image has too
                    parent = posixpath.dirname(name) if member.issym() else ""
                    links[name] = posixpath.normpath(posixpath.join(parent, member.linkname))
                elif content is not None:
                    sha256, path, size = _keep(content, directory)
                    names[name] = sha256
                    if wanted is None or sha256 in wanted or size <= LARGEST_CONFIG:
                        files[sha256] = path
                    else:
                        path.unlink()
                archive.members.clear()  # type: ignore[attr-defined]  # a stream keeps them all, and nobody asks again
    except tarfile.TarError as error:
        raise SlipwayError(f"what docker save wrote cannot be read: {error}") from error
    try:
        index = json.loads(files[names[_INDEX]].read_bytes())
        images = tuple(_image(item, names, links, files) for item in index)
    except (KeyError, TypeError, ValueError) as error:
        raise SlipwayError(f"what docker save wrote has no {_INDEX} that can be read") from error
    lost = [name for image in images for name in image.layers if wanted is None and name not in files]
    if lost:
        raise SlipwayError(
            f"docker save wrote no layer {lost[0][:12]} as the image's configuration names it: use an engine with "
            "Docker's default image store"
        )
    return Saved(images, files)


def save(runner: Runner, images: Sequence[str], directory: Path, wanted: Collection[str] | None = None) -> Saved:
    """Let the engine save images; see read_archive."""
    argv = ["docker", "image", "save", *images]
    with tempfile.TemporaryFile() as errors:
        process = runner.stream(argv, errors)
        unread: SlipwayError | None = None
        try:
            saved = read_archive(piped(process.stdout), directory, wanted)
        except SlipwayError as error:
            unread = error
        except BaseException:
            process.kill()
            raise
        finally:
            drain(process.stdout)
        # why it wrote nothing that can be read is in its own message
        finish(process, errors, argv)
        if unread is not None:
            raise unread
    return saved


def drain(stream: IO[bytes] | None) -> None:
    """Read what is left, so that whoever writes ends."""
    while stream is not None and stream.read(CHUNK):
        pass


def _image(
    item: dict[str, Any], names: Mapping[str, str], links: Mapping[str, str], files: Mapping[str, Path]
) -> SavedImage:
    place = posixpath.normpath(item["Config"])
    sha256 = names[links.get(place, place)]
    config = json.loads(files[sha256].read_bytes())
    layers = tuple(str(layer).removeprefix("sha256:") for layer in config["rootfs"]["diff_ids"])
    return SavedImage(sha256, tuple(item.get("RepoTags") or ()), str(config["architecture"]), layers)


def patched(bundle: Bundle, patch: Patch, sources: Mapping[str, Path], directory: Path) -> Path:
    """Make a layer that the bundle only has as a patch, bit for bit; returns its file.

    :param sources: files of the layers that the patch copies from.
    """
    path = directory / f"{patch.layer}.tar"
    with ExitStack() as stack:
        files = [stack.enter_context(sources[layer].open("rb")) for layer in patch.sources]
        pieces = apply_patch(patch, bundle.raw(patch.recipe), bundle.raw(patch.literals), files)
        target = stack.enter_context(path.open("xb"))
        for piece in pieces:
            target.write(piece)
    return path


def archive(bundle: Bundle, image: Image, layers: Sequence[str], made: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield what `docker load` takes: one of a bundle's images, its layers compressed as they lie in it.

    It comes without names, for what Compose knows by one runs until the switch.

    :param layers: those that the engine has not; it does not open the others.
    :param made: files of layers that the bundle does not hold.
    """
    content = bundle.manifest.content
    other = {layer: f"layers/{layer}.tar" for layer in bundle.manifest.layers if layer not in content}
    index = docker_manifest(bundle.manifest, [replace(image, references=())], other)
    yield from _entry(_INDEX, len(index), iter([index]))
    yield from _entry(content[image.id].entry, content[image.id].size, bundle.stored(content[image.id]))
    for layer in layers:
        if layer in made:
            yield from _entry(other[layer], made[layer].stat().st_size, pieces_of(made[layer]))
        else:
            yield from _entry(content[layer].entry, content[layer].size, bundle.stored(content[layer]))
    yield END


def _entry(name: str, size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield header(name, size)
    yield from pieces
    yield bytes(padding(size))
