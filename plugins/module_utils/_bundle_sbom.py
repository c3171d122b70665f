# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill of materials of a bundle as CycloneDX 1.5 JSON: the same for the same content, so it bears no time."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote
from uuid import UUID

from ._bundle_images import SavedImage
from ._bundle_manifest import HELPERS
from ._stored import sha256_of

PATH = "sbom.cdx.json"
# PEP 427: name, version, and what it is for
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.+!]+)(-\d\w*)?-[^-]+-[^-]+-[^-]+\.whl")


def _component(kind: str, name: str, version: str, sha256: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 plain JSON
    return {
        "type": kind,
        "bom-ref": f"{kind}:{name}@{version}#{sha256[:12]}",
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        **more,
    }


def _image(image: SavedImage) -> dict[str, Any]:
    name, _, tag = image.references[0].rpartition(":")
    layers = [{"name": "slipway:layer", "value": f"sha256:{layer}"} for layer in image.layers]
    purl = f"pkg:oci/{quote(name.rpartition('/')[2])}@sha256%3A{image.id}?tag={quote(tag)}"
    return _component("container", name, tag, image.id, purl=purl, properties=layers)


def _file(path: str, source: Path) -> dict[str, Any]:
    place, sha256 = PurePosixPath(path), sha256_of(source)
    wheel = _WHEEL.fullmatch(place.name)
    if wheel:
        name = re.sub(r"[-_.]+", "-", wheel["name"]).lower()
        purl = f"pkg:pypi/{name}@{wheel['version']}"
        return _component("library", name, wheel["version"], sha256, purl=purl)
    kind = "application" if place.parts[0] == HELPERS else "file"
    return _component(kind, path, "", sha256)


def bill_of_materials(
    application: str, version: str, images: tuple[SavedImage, ...], files: Mapping[str, Path]
) -> bytes:
    """What a bundle consists of: each image, wheel, helper and other file, with its SHA-256."""
    components = [_image(image) for image in sorted(images, key=lambda item: item.id)]
    components += [_file(path, files[path]) for path in sorted(files)]
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": application, "version": version}},
        "components": components,
    }
    named = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    serial = UUID(bytes=named[:16], version=4)
    return (json.dumps({**body, "serialNumber": f"urn:uuid:{serial}"}, sort_keys=True, indent=1) + "\n").encode()
