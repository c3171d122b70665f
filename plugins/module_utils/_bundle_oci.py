# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle's images as an OCI image layout and as an archive of `docker save`, both made from the manifest alone.

A reader makes the same bytes again and compares. So a name in a bundle can only lead to the image that the manifest
pins. A delta has neither: its layers are not whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ._bundle_manifest import Image, Manifest, entry_of

_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(media: str, sha256: str, size: int) -> dict[str, Any]:
    return {"mediaType": media, "digest": f"sha256:{sha256}", "size": size}


def _image_manifest(manifest: Manifest, image: Image) -> bytes:
    content = manifest.content
    config, layers = content[image.id], [content[layer] for layer in image.layers]
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config.sha256, config.size),
            "layers": [
                _descriptor(_LAYER + ("+zstd" if blob.compressed else ""), blob.sha256, blob.size) for blob in layers
            ],
        }
    )


def layout(manifest: Manifest) -> dict[str, bytes]:
    """The small files of the layout by their entries, in their order; none for a delta."""
    if manifest.base is not None:
        return {}
    small: dict[str, bytes] = {}
    listed = []
    for image in manifest.images:
        content = _image_manifest(manifest, image)
        sha256 = hashlib.sha256(content).hexdigest()
        small[entry_of(sha256)] = content
        system = {"architecture": manifest.architecture, "os": "linux"}
        for reference in image.references:
            names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
            listed.append({**_descriptor(_MANIFEST, sha256, len(content)), "platform": system, "annotations": names})
    return {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed}),
        "manifest.json": docker_manifest(manifest, manifest.images, {}),
        **small,
    }


def docker_manifest(manifest: Manifest, images: Sequence[Image], other: Mapping[str, str]) -> bytes:
    """What `docker load` reads first.

    :param other: the entries of layers that are not held as blobs.
    """
    content = manifest.content

    def entry(layer: str) -> str:
        return other[layer] if layer in other else content[layer].entry

    return _json(
        [
            {
                "Config": content[image.id].entry,
                "RepoTags": [name for name in image.references if ":" in name.rpartition("/")[2]],
                "Layers": [entry(layer) for layer in image.layers],
            }
            for image in images
        ]
    )
