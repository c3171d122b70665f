# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: the project directory, the env file, the image names and the containers become a release's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._engine import Plan, Step
from ._errors import CommandError, OutOfOrderError, SlipwayError
from ._ledger import write_file
from ._parked_jobs import parked, replay
from ._plan_stage import point_references, references_point_to

if TYPE_CHECKING:
    from ._compose import Compose
    from ._ledger import Release
    from ._site import Site


def _changed_at(path: Path) -> float:
    """When a file was written or removed, in seconds since the epoch."""
    while not path.exists():
        path = path.parent
    return path.stat().st_mtime


def _stale(site: Site, config: dict[str, Any], old: str, new: str) -> list[str]:
    """Services that mount a tracked file which differs, and were started before it did: they hold the old one."""
    changed = [site.directory / name for name in site.checkout.differing(old, new)]
    services = []
    for name, service in config["services"].items():
        sources = {Path(mount["source"]) for mount in service.get("volumes", []) if mount.get("type") == "bind"}
        mounted = [path for path in changed if sources & {path, *path.parents}]
        since = max(map(_changed_at, mounted), default=0.0)
        if any(item.started < since for item in site.containers(name)):
            services.append(name)
    return services


def assign_environment(site: Site, version: str) -> Step:
    """The step that writes a release's version, and what the inventory gives, into the env file."""
    assignments = {**site.environment, site.profile.version_variable: version}

    def assigned() -> bool:
        values = site.env_file.values()
        return all(values.get(key) == value for key, value in assignments.items())

    return Step("write the env file", assigned, lambda: site.env_file.assign(assignments, site.checkout.owner))


def name_images(site: Site, release: Release) -> Step:
    """The step that lets the names that Compose uses mean a release's images."""
    return Step("name the images", lambda: references_point_to(site, release), lambda: point_references(site, release))


def start_containers(site: Site, release: Release, replaced: Release | None) -> Step:
    """The step that starts the containers of a release whose files are in place."""

    def stale(compose: Compose) -> list[str]:
        return _stale(site, compose.config, replaced.commit, release.commit) if replaced else []

    def started() -> bool:
        if site.runs(release) or site.docker.half_made(site.profile.name):
            return False
        compose = site.compose_of(release)
        if stale(compose):
            return False
        well = [item for item in site.containers() if item.service in release.images and item.good]
        return len(well) >= sum(compose.replicas(name) for name in release.images)

    def start() -> None:
        compose = site.compose_of(release)
        try:
            site.docker.settle(site.profile.name)
            compose.up()
            old = stale(compose)
            if old:
                compose.recreate(*old)
        except CommandError as error:
            log = site.log(release.version, "up", error.output)
            raise SlipwayError(f"{error} (all of it: {log})") from error

    return Step("start the containers", started, start)


def steps_to_run(site: Site, release: Release, replaced: Release | None, environment: Step) -> list[Step]:
    """The steps after which `release` runs, whatever ran before. A switch and a way back are the same steps.

    :param environment: the step that makes the env file the release's own.
    """
    return [
        Step(
            "check out the source",
            lambda: site.checkout.is_at(release.commit),
            lambda: site.checkout.check_out(release.commit),
        ),
        environment,
        name_images(site, release),
        start_containers(site, release, replaced),
    ]


def switch(site: Site, version: str) -> Plan:
    """The plan that lets the migrated candidate `version` take the place of what runs."""
    candidate = site.ledger.state().candidate
    if candidate is None or candidate.version != version or not candidate.reached("migrated"):
        raise OutOfOrderError(
            f"release {version} may not be switched to: it was not migrated, start deploy.yml from its beginning"
        )
    release = site.ledger.known_release(version)
    replaced = None if candidate.before.version is None else site.ledger.known_release(candidate.before.version)
    kept = site.replaced_env_file(version)

    def begin() -> None:
        # byte for byte: what the inventory gives may change more than the version
        write_file(kept, site.env_file.path.read_bytes())
        site.ledger.enter("switching")

    def verify() -> list[str]:
        wrong = site.runs(release)
        if not wrong:
            site.ledger.enter("switched")
        return wrong

    return Plan(
        "switch",
        version,
        "switch",
        [
            Step("begin the switch", lambda: candidate.reached("switching"), begin),
            *steps_to_run(site, release, replaced, assign_environment(site, version)),
            Step(
                "put parked jobs back",
                lambda: parked(site) == 0,
                lambda: {"replayed_jobs": replay(site, release.commit)},
            ),
        ],
        verify,
    )
