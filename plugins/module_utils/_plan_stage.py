# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging: the release's source and images are brought here, beside what runs and without touching it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._compose import Compose
from ._engine import Plan, Step
from ._errors import SlipwayError
from ._ledger import Before, Candidate, Release

if TYPE_CHECKING:
    from ._site import Site


def point_references(site: Site, release: Release) -> None:
    """Let the names that Compose uses mean this release's images again."""
    for service, reference in release.references.items():
        if site.docker.image_id(reference) != release.images[service]:
            site.docker.tag(release.images[service], reference)


def references_point_to(site: Site, release: Release) -> bool:
    """Whether the names that Compose uses mean this release's images."""
    return all(site.docker.image_id(name) == release.images[service] for service, name in release.references.items())


def missing_services(site: Site, compose: Compose) -> list[str]:
    """The profile's services that the Compose files do not have."""
    services = site.profile.services
    named = [services.web, services.worker, services.database, services.cache, services.proxy]
    return [name for name in named if name and name not in compose.config["services"]]


def migrations_in(site: Site, source: Path) -> list[str]:
    """The versions of the migration files in a source tree, ascending."""
    directory = source / site.profile.migrations_path
    names = [name for name in os.listdir(directory) if name.endswith(".rb")] if directory.is_dir() else []
    return sorted((name.split("_", 1)[0] for name in names if name[0].isdigit()), key=int)


def stage(site: Site, version: str, commit: str) -> Plan:
    """The plan that fetches `commit`, builds it as `version`, and names it the candidate.

    The env file is written here only on a first install, where nothing runs that could read it.
    """
    source = site.source(version)
    # beside the source, not in it: whatever lies in the source ends up in the image
    complete = site.ledger.release_directory(version) / "exported"

    def exported() -> bool:
        return complete.exists()

    def export() -> None:
        site.ledger.release_directory(version).mkdir(mode=0o711, exist_ok=True)
        site.checkout.export(commit, source)
        if any("env_file" in (source / name).read_text("utf-8") for name in site.profile.compose_files if (source / name).exists()):
            link = source / site.profile.env_file
            if not link.exists():
                link.symlink_to(site.env_file.path)
        complete.touch()

    def environment_there() -> bool:
        return site.env_file.path.exists()

    def write_environment() -> None:
        site.env_file.assign({**site.environment, site.profile.version_variable: version}, site.checkout.owner)

    def built() -> bool:
        release = site.ledger.release(version)
        return release is not None and all(site.docker.image_id(image) for image in release.images.values())

    def build() -> dict[str, Any]:
        compose = Compose(site.runner, site.profile, source, version)
        absent = missing_services(site, compose)
        if absent:
            raise SlipwayError(f"the Compose files of {version} have no service {', '.join(absent)}: mend application.services")
        current = site.ledger.state().current
        try:
            if compose.built():
                compose.build()
            images = {service: site.docker.image_id(name) for service, name in compose.references.items()}
            missing = sorted({compose.references[service] for service, image in images.items() if image is None})
            if missing:
                raise SlipwayError(f"image {', '.join(missing)} is not on this host and is not built here: load or pull it")
        finally:
            # until the switch, Compose's own names must go on meaning what runs
            if current is not None:
                point_references(site, site.ledger.known_release(current))
        found = {service: image for service, image in images.items() if image is not None}
        for service, image in found.items():
            site.docker.tag(image, site.kept_name(service, version))
        site.ledger.save_release(Release(version, commit, found, compose.references, migrations_in(site, source)))
        return {"images": {service: found[service] for service in site.code_services}}

    def is_candidate() -> bool:
        candidate = site.ledger.state().candidate
        return candidate is not None and candidate.version == version

    def name_candidate() -> None:
        site.ledger.update(candidate=Candidate(version, "staged", Before(site.ledger.state().current, [], None)))

    return Plan(
        "stage",
        version,
        "stage",
        [
            Step("fetch the source", lambda: site.checkout.exists and site.checkout.has_commit(commit), site.checkout.fetch),
            Step("export the source", exported, export),
            Step("write the env file", environment_there, write_environment),
            Step("build the images", built, build),
            Step("name the candidate", is_candidate, name_candidate),
        ],
    )
