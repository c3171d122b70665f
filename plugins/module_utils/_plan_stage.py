# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging: the release's source and images are brought here, beside what runs and without touching it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._bundle_take import brought_images
from ._compose import Compose
from ._engine import Plan, Step
from ._errors import SlipwayError
from ._ledger import Before, Candidate, Release
from ._maintenance import own_page
from ._migration_files import migration_files
from ._registry import named, pull

if TYPE_CHECKING:
    from ._site import Site


def point_references(site: Site, release: Release) -> None:
    """Let the names that Compose uses mean this release's images again."""
    meant = site.docker.image_ids(release.references.values())
    for service, reference in release.references.items():
        if meant[reference] != release.images[service]:
            site.docker.tag(release.images[service], reference)
            meant[reference] = release.images[service]


def references_point_to(site: Site, release: Release) -> bool:
    """Whether the names that Compose uses mean this release's images."""
    meant = site.docker.image_ids(release.references.values())
    return all(meant[name] == release.images[service] for service, name in release.references.items())


def missing_services(site: Site, compose: Compose) -> list[str]:
    """The profile's services that the Compose files do not have."""
    services = site.profile.services
    named = [services.web, services.worker, services.database, services.cache, services.proxy]
    return [name for name in named if name and name not in compose.config["services"]]


def migrations_in(site: Site, source: Path) -> list[str]:
    """The versions of the migration files in a source tree, ascending."""
    return list(migration_files(source / site.profile.migrations_path))


def exported(site: Site, version: str) -> Path:
    """The file that is there when all of a release's source is.

    It lies beside the source, not in it: whatever lies in the source ends up in the image.
    """
    return site.ledger.release_directory(version) / "exported"


def export_source(site: Site, version: str, commit: str) -> None:
    """Put a release's source beside the ledger, with links to env files where the Compose files name one."""
    complete, source = exported(site, version), site.source(version)
    complete.parent.mkdir(mode=0o711, exist_ok=True)
    site.checkout.export(commit, source)
    files = [source / name for name in site.profile.compose_files]
    if any("env_file" in file.read_text("utf-8") for file in files if file.exists()):
        for place in sorted({site.env_file.path, *site.directory.glob(".env*")}):
            _link(site, source, place)
    complete.touch()


def _link(site: Site, source: Path, place: Path) -> None:
    """Let a file of the application's directory, which git has not, be in the source where building looks for it."""
    if site.directory not in place.parents:
        return
    link = source / place.relative_to(site.directory)
    if not os.path.lexists(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(place)


class _Staging:
    """The steps that bring a release to the host, each with the question whether it is done already."""

    def __init__(self, site: Site, version: str, commit: str) -> None:
        self.site = site
        self.version = version
        self.commit = commit
        self.source = site.source(version)
        self.complete = exported(site, version)

    def fetched(self) -> bool:
        """Whether the commit is in the checkout."""
        return self.site.checkout.exists and self.site.checkout.has_commit(self.commit)

    def export(self) -> None:
        """Put the source beside the ledger."""
        export_source(self.site, self.version, self.commit)

    def write_environment(self) -> None:
        """Write the env file of a first install."""
        site = self.site
        site.env_file.assign({**site.environment, site.profile.version_variable: self.version}, site.checkout.owner)

    def built(self) -> bool:
        """Whether the release is recorded and all its images are still here."""
        release = self.site.ledger.release(self.version)
        if release is None:
            return False
        files, profiles = self.composed()
        same = release.compose_files in (None, files) and release.compose_profiles in (None, profiles)
        return same and all(self.site.docker.image_ids(release.images.values()).values())

    def composed(self) -> tuple[list[str], list[str]]:
        """The Compose files and profiles of which the release is made."""
        return list(self.site.profile.compose_files), list(self.site.profile.compose_profiles)

    def build(self) -> dict[str, Any]:
        """Build, pull or find the images, keep them under names of our own, and record the release."""
        site = self.site
        compose = Compose(site.runner, site.profile, self.source, self.version)
        absent = missing_services(site, compose)
        if absent:
            raise SlipwayError(
                f"the Compose files of {self.version} have no service {', '.join(absent)}: mend application.services"
            )
        try:
            own_page(site, self.source)
        except SlipwayError as error:
            raise SlipwayError(
                f"release {self.version} cannot show its maintenance page: {error}, in the repository"
            ) from error
        # an image may be built with one of them
        for kind in ("secrets", "configs"):
            for item in (compose.config.get(kind) or {}).values():
                if item.get("file"):
                    _link(site, self.source, Path(item["file"]))
        images = self._build_images(compose)
        for service, image in images.items():
            site.docker.tag(image, site.kept_name(service, self.version))
        migrations = migrations_in(site, self.source)
        files, profiles = self.composed()
        site.ledger.save_release(
            Release(
                self.version,
                self.commit,
                images,
                compose.references,
                migrations,
                compose_files=files,
                compose_profiles=profiles,
            )
        )
        return {"images": {service: images[service] for service in site.code_services}}

    def _build_images(self, compose: Compose) -> dict[str, str]:
        current = self.site.ledger.state().current
        brought = brought_images(self.site.ledger, self.version, self.commit)
        wanted = None if brought is not None else named(self.site.profile.images, self.version, compose)
        try:
            if brought is not None:
                self._name_brought(brought, compose)
            elif wanted is not None:
                for service, image in pull(self.site.runner, self.site.docker, wanted, self.commit).items():
                    self.site.docker.tag(image, compose.references[service])
            elif compose.built():
                compose.build()
            here = self.site.docker.image_ids(compose.references.values())
            found = {service: here[name] for service, name in compose.references.items()}
        finally:
            # until the switch, Compose's own names must go on meaning what runs
            if current is not None:
                point_references(self.site, self.site.ledger.known_release(current))
        missing = sorted({compose.references[service] for service, image in found.items() if image is None})
        if missing:
            raise SlipwayError(f"image {', '.join(missing)} is not on this host and is not built here: load or pull it")
        return {service: image for service, image in found.items() if image is not None}

    def _name_brought(self, brought: dict[str, str], compose: Compose) -> None:
        """Give the images that a bundle brought the names that Compose looks them up by."""
        here = self.site.docker.image_ids(brought.values())
        lost = [service for service in compose.references if not here.get(brought.get(service, ""))]
        if lost:
            raise SlipwayError(
                f"the image of {', '.join(lost)} that the bundle of {self.version} brought is not here: load it again"
            )
        for service, reference in compose.references.items():
            self.site.docker.tag(brought[service], reference)

    def is_candidate(self) -> bool:
        """Whether the release is on its way in."""
        candidate = self.site.ledger.state().candidate
        return candidate is not None and candidate.version == self.version

    def name_candidate(self) -> None:
        """Let the release be on its way in."""
        before = Before(self.site.ledger.state().current, [], None)
        self.site.ledger.update(candidate=Candidate(self.version, "staged", before))


def stage(site: Site, version: str, commit: str, beside: Step) -> Plan:
    """Plan to fetch `commit`, build it as `version`, and name it the candidate.

    :param beside: what is done while the images are built.

    The env file is written here only on a first install, where nothing runs that could read it.
    """
    way = _Staging(site, version, commit)
    steps: list[Step | tuple[Step, ...]] = [
        Step("fetch the source", way.fetched, site.checkout.fetch),
        Step("export the source", way.complete.exists, way.export),
        Step("write the env file", site.env_file.path.exists, way.write_environment),
        (Step("build the images", way.built, way.build), beside),
        Step("name the candidate", way.is_candidate, way.name_candidate),
    ]
    return Plan("stage", version, "stage", steps)
