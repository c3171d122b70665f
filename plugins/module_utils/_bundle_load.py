# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a bundle's images into the engine: only those that it has not, and of those only the layers that it has not.

The engine compares each layer with the image's configuration itself, and we compare what it has afterwards with the
manifest. Its default image store is meant, in which an image's id is the SHA-256 of its configuration.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._bundle_images import archive, drain, patched, save
from ._bundle_manifest import Image, Manifest, Patch
from ._errors import SlipwayError
from ._stored import finish, piped

if TYPE_CHECKING:
    from ._bundle_reader import Bundle
    from ._process import Runner

_CONTAINERD = "io.containerd.snapshotter.v1"
_INSPECT = "{{.Id}} {{.Size}} {{json .RootFS.Layers}}"
_AT_ONCE = 2  # the engine takes one image with hardly more than one core


@dataclass(frozen=True)
class Present:
    """An image that the engine has: its size in bytes, its layers' diff ids from the lowest up."""

    id: str
    size: int
    layers: tuple[str, ...]


class Engine:
    """What the engine of a host has."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        store = runner.run(["docker", "info", "--format", "{{json .DriverStatus}} {{.DockerRootDir}}"]).stdout
        if _CONTAINERD in store:
            raise SlipwayError("the engine keeps images in containerd's store: use Docker's default image store")
        self.root = Path(store.rpartition(" ")[2].strip())
        ids = sorted(set(runner.run(["docker", "image", "ls", "--quiet", "--no-trunc"]).stdout.split()))
        self.images = {image.id: image for image in self._inspect(ids)}

    def _inspect(self, ids: Sequence[str]) -> Iterator[Present]:
        if not ids:
            return
        # one that goes meanwhile makes inspect fail for that one and print the others
        done = self._runner.run(["docker", "image", "inspect", "--format", _INSPECT, *ids], check=False)
        for line in done.stdout.splitlines():
            identity, size, layers = line.split(" ", 2)
            bare = tuple(str(layer).removeprefix("sha256:") for layer in json.loads(layers) or ())
            yield Present(identity.removeprefix("sha256:"), int(size), bare)

    @property
    def layers(self) -> set[str]:
        """The diff ids of all layers."""
        return {layer for image in self.images.values() for layer in image.layers}

    def has(self, image: Image, count: int) -> bool:
        """Whether the lowest `count` layers of an image are there, one on the other."""
        return any(there.layers[:count] == image.layers[:count] for there in self.images.values())

    def holding(self, layers: Sequence[str]) -> list[Present]:
        """Images that together have some layers."""
        found: list[Present] = []
        for layer in layers:
            if not any(layer in image.layers for image in found):
                found += [image for image in self.images.values() if layer in image.layers][:1]
        return found


@dataclass(frozen=True)
class Need:
    """What has to be loaded.

    :param layers: in the order of the images.
    :param patches: for those of the layers that the bundle only has as a difference.
    :param lent: those of the layers that a delta leaves out and that the engine has on top of others than here.
    """

    images: tuple[Image, ...]
    layers: tuple[str, ...]
    patches: tuple[Patch, ...]
    lent: tuple[str, ...]

    @property
    def sources(self) -> list[str]:
        """The layers that the engine has to give back."""
        return list(dict.fromkeys([*(layer for patch in self.patches for layer in patch.sources), *self.lent]))


def need(manifest: Manifest, engine: Engine) -> Need:
    """What the engine has not of a bundle's images."""
    images = tuple(image for image in manifest.images if image.id not in engine.images)
    layers = dict.fromkeys(
        layer for image in images for at, layer in enumerate(image.layers, 1) if not engine.has(image, at)
    )
    patches = tuple(patch for patch in manifest.patches if patch.layer in layers)
    there = {*manifest.content, *(patch.layer for patch in patches)}
    return Need(images, tuple(layers), patches, tuple(layer for layer in layers if layer not in there))


@dataclass(frozen=True)
class Part:
    """An image, and what the engine has not of it when its turn comes.

    :param stacks: each layer that is missing, on top of all those below it.
    """

    image: Image
    stacks: tuple[tuple[str, ...], ...]

    @property
    def layers(self) -> list[str]:
        """The layers that are missing."""
        return [stack[-1] for stack in self.stacks]


def rounds(manifest: Manifest, engine: Engine, images: Sequence[Image]) -> list[list[Part]]:
    """Images in the order in which they are loaded, those of a round side by side: nothing is sent twice.

    The images of a round have no layer in common that is missing then. So what many stand on comes first, with the
    smallest of them.
    """

    def weight(part: Part) -> int:
        return sum(manifest.content[layer].raw_size for layer in part.layers if layer in manifest.content)

    def missing(image: Image) -> Part:
        stacks = [image.layers[:count] for count in range(1, len(image.layers) + 1)]
        return Part(image, tuple(one for one in stacks if one not in sent and not engine.has(image, len(one))))

    sent: set[tuple[str, ...]] = set()
    left, ordered = list(images), []
    while left:
        chosen: list[Part] = []
        new: set[tuple[str, ...]] = set()
        for part in sorted(map(missing, left), key=weight):
            if new.isdisjoint(part.stacks):
                chosen.append(part)
                new.update(part.stacks)
        sent |= new
        left = [image for image in left if all(image is not part.image for part in chosen)]
        ordered.append(chosen[::-1])
    return ordered


def check_room(manifest: Manifest, engine: Engine, wanted: Need, scratch: Path) -> None:
    """SlipwayError when a disk is too small for what is to be loaded."""
    held = [manifest.content[layer] for layer in wanted.layers if layer in manifest.content]
    pieced = sum(patch.size for patch in wanted.patches)
    lent = sum(image.size for image in engine.holding(wanted.lent))
    # docker load puts what it gets beside what it makes of it
    loaded = 2 * (sum(blob.raw_size for blob in held) + pieced + lent)
    made = pieced + sum(image.size for image in engine.holding(wanted.sources))
    places = {engine.root: loaded, scratch: made}
    if engine.root.stat().st_dev == scratch.stat().st_dev:
        places = {engine.root: loaded + made}
    for place, needed in places.items():
        free = shutil.disk_usage(place).free
        if free < needed:
            missing = (needed - free) // 1_000_000 + 1
            raise SlipwayError(f"{place} has no room for the bundle's images: make {missing} MB more free")


def load(runner: Runner, bundle: Bundle, scratch: Path) -> list[str]:
    """Load what is missing; returns a name of each image that was loaded.

    :param scratch: a directory for layers that are made of others.
    """
    engine = Engine(runner)
    wanted = need(bundle.manifest, engine)
    if not wanted.images:
        return []
    check_room(bundle.manifest, engine, wanted, scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        sources = _saved(runner, engine, wanted.sources, Path(directory))
        made = {patch.layer: patched(bundle, patch, sources, Path(directory)) for patch in wanted.patches}
        made.update({layer: sources[layer] for layer in wanted.lent})

        def send(part: Part) -> None:
            _send(runner, archive(bundle, part.image, part.layers, made))

        for parts in rounds(bundle.manifest, engine, wanted.images):
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for _ in pool.map(send, parts):
                    pass
    there = Engine(runner).images
    lost = [image.references[0] for image in wanted.images if image.id not in there]
    if lost:
        raise SlipwayError(f"docker load ended well, and {', '.join(lost)} is not there under the id that was signed")
    return [image.references[0] for image in wanted.images]


def _saved(runner: Runner, engine: Engine, layers: Sequence[str], directory: Path) -> Mapping[str, Path]:
    """Layers that the engine has, as files."""
    if not layers:
        return {}
    files = save(runner, [f"sha256:{image.id}" for image in engine.holding(layers)], directory, layers).files
    lost = [layer for layer in layers if layer not in files]
    if lost:
        raise SlipwayError(f"the engine does not give layer {lost[0][:12]} back as it was: bring the whole bundle")
    return files


def _send(runner: Runner, pieces: Iterator[bytes]) -> None:
    """Hand an archive to `docker load`."""
    argv = ["docker", "image", "load", "--quiet"]
    with tempfile.TemporaryFile() as errors:
        process = runner.stream(argv, errors)
        target = piped(process.stdin)
        try:
            # why it stopped reading is in its exit code and message
            with suppress(BrokenPipeError):
                for piece in pieces:
                    target.write(piece)
                target.close()
            drain(process.stdout)
        except BaseException:
            process.kill()  # before its input ends: what it has is not all
            raise
        finally:
            with suppress(BrokenPipeError):
                target.close()
            piped(process.stdout).close()
            process.wait()
        finish(process, errors, argv)
