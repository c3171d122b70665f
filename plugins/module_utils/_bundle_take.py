# SPDX-License-Identifier: GPL-3.0-or-later
"""A site takes a bundle: its images into the engine, its source where git finds it, and a record of what came.

Nothing that runs is touched. The release then comes in as any other does; staging finds its images here, and builds
none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._bundle_load import Engine, load, need
from ._bundle_manifest import HELPERS, SOURCE, BundleError, Manifest, parse_manifest
from ._bundle_reader import Bundle, Standing, admit, architecture, opened
from ._bundle_trust import SIGNATURE, read_sums
from ._files import read_record, write_record
from ._helpers import place_of
from ._ledger import Ledger

if TYPE_CHECKING:
    from ._site import Site

RECORD = "bundle.json"


def brought_images(ledger: Ledger, version: str, commit: str) -> dict[str, str] | None:
    """The id of each service's image, when a bundle brought exactly this commit; else None."""

    def build(told: dict[str, Any]) -> tuple[str, dict[str, str]]:
        return told["commit"], told["images"]

    path = ledger.release_directory(version) / RECORD
    brought, images = read_record(path, build, "remove it, and load the bundle again") or (None, None)
    return images if brought == commit else None


def came_by_bundle(ledger: Ledger, version: str) -> bool:
    """Whether a bundle brought the release."""
    return (ledger.release_directory(version) / RECORD).exists()


def images_by_service(manifest: Manifest) -> dict[str, str]:
    """The id of each service's image, as the engine writes it."""
    ids = {name: f"sha256:{image.id}" for image in manifest.images for name in image.references}
    return {service: ids[name] for service, name in manifest.services.items()}


def refuse_unfit(site: Site, engine: Engine, manifest: Manifest, file: str) -> None:
    """BundleError where a bundle is not for this site as it stands."""
    state = site.ledger.state()
    before = site.ledger.before(state.current) if state.current else None
    way_back = before.version if before else None
    admit(manifest, file, Standing(site.profile.name, state.current, way_back, engine.layers))
    known = site.ledger.release(manifest.version)
    images = images_by_service(manifest)
    if known is not None and any(known.images.get(service) != image for service, image in images.items()):
        raise BundleError(file, f"it brings {manifest.version}, which is here already with other images")


def look_ahead(site: Site, told: Mapping[str, str], sums: str, signers: Path) -> None:
    """Refuse a bundle before it is copied: BundleError where nobody trusted signed it, or it is not for this site.

    :param told: `sums` and `signature` as texts, and the `manifest` where whoever sends can read it. What the parts
        hold is verified once they are here.
    :param sums: the name of the sums' file.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / sums
        path.write_text(told["sums"], "utf-8")
        path.with_name(sums + SIGNATURE).write_text(told["signature"], "utf-8")
        read_sums(site.runner, path, signers)
    if "manifest" in told:
        refuse_unfit(site, Engine(site.runner), parse_manifest(told["manifest"].encode()), sums)


def take(site: Site, sums: Path, signers: Path, *, check: bool) -> dict[str, Any]:
    """Verify a bundle, and take it unless it is not for this site; says what was, or would be, loaded.

    :param check: look only.
    """
    if not check:
        site.ledger.check_free()
    with opened(site.runner, sums, signers) as bundle:
        manifest, engine = bundle.manifest, Engine(site.runner)
        refuse_unfit(site, engine, manifest, sums.name)
        missing = [image.references[0] for image in need(manifest, engine).images]
        images = images_by_service(manifest)
        changed = bool(missing) or brought_images(site.ledger, manifest.version, manifest.commit) != images
        if changed and not check:
            with site.ledger.locked():
                # one may have begun while the bundle was verified
                site.ledger.check_free()
                load(site.runner, bundle, site.ledger.root)
                _keep(site, bundle, images)
    return {"changed": changed, "version": manifest.version, "commit": manifest.commit, "loaded": missing}


def _keep(site: Site, bundle: Bundle, images: dict[str, str]) -> None:
    """Keep images under names of our own, the source where git may read it, and last the record."""
    manifest, root = bundle.manifest, site.ledger.root
    for service, image in images.items():
        site.docker.tag(image, site.kept_name(service, manifest.version))
    with tempfile.TemporaryDirectory(dir=root) as partial:
        for path in bundle.unpack(Path(partial) / "files", SOURCE):
            path.chmod(0o644)
            path.replace(root / SOURCE)
        for path in bundle.unpack(Path(partial) / HELPERS, f"{HELPERS}/{architecture()}/"):
            path.chmod(0o755)
            place_of(root, path.name).parent.mkdir(mode=0o755, exist_ok=True)
            path.replace(place_of(root, path.name))
    directory = site.ledger.release_directory(manifest.version)
    directory.mkdir(mode=0o711, exist_ok=True)
    record = {"commit": manifest.commit, "images": images, "manifest": manifest.sha256}
    write_record(directory / RECORD, record)
