# SPDX-License-Identifier: GPL-3.0-or-later
"""Adoption: an application that people put on this host by hand becomes the release that stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ._engine import Plan, Step
from ._errors import SlipwayError
from ._ledger import Release
from ._plan_stage import export_source

if TYPE_CHECKING:
    from ._site import Site

VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def adoptable(site: Site) -> bool:
    """Whether the application runs here and no release of it stands in the ledger."""
    return site.ledger.state().current is None and bool(site.containers(site.profile.services.web))


def observe_release(site: Site) -> Release:
    """The release that runs, as it can be seen: commit, image ids, applied migrations.

    Its version is the env file's, else a tag of the commit, else the commit's first twelve digits.
    """
    commit = site.checkout.head()
    if commit is None:
        raise SlipwayError(f"{site.directory} has no commit checked out: what runs there cannot be told")
    named = site.env_file.values().get(site.profile.version_variable) or site.checkout.tag_of(commit) or commit[:12]
    if not VERSION.fullmatch(named):
        raise SlipwayError(
            f"the running version is named {named!r} in {site.env_file.path}: a version is letters, digits, . _ -"
        )
    images: dict[str, str] = {}
    there = site.all_containers()
    up = {item.service for item in there if item.running}
    for container in there:
        # what is down belongs to the release too, but for what lies beside the service's running containers
        if not container.running and container.service in up:
            continue
        if images.setdefault(container.service, container.image) != container.image:
            raise SlipwayError(
                f"containers of service {container.service} run different images: let 'docker compose up -d' "
                "finish first"
            )
    absent = [service for service in site.code_services if service not in images]
    if absent:
        raise SlipwayError(
            f"service {', '.join(absent)} has no container, so that there is no way back to its image: start it with "
            f"'docker compose up -d {' '.join(absent)}' in {site.directory} first"
        )
    references = {service: name for service, name in site.compose.references.items() if service in images}
    return Release(
        named,
        commit,
        images,
        references,
        site.database.migrations(),
        adopted=True,
        compose_files=list(site.profile.compose_files),
        compose_profiles=list(site.profile.compose_profiles),
    )


def adopt(site: Site) -> Plan:
    """The plan that records what runs and keeps its images from being lost to the next build."""

    def record() -> dict[str, Any]:
        release = observe_release(site)
        for service, image in release.images.items():
            site.docker.tag(image, site.kept_name(service, release.version))
        export_source(site, release.version, release.commit)
        site.ledger.save_release(release)
        site.ledger.update(current=release.version)
        return {"adopted": release.version, "commit": release.commit}

    return Plan("adopt", "what runs", "gate", [Step("record what runs", lambda: not adoptable(site), record)])
