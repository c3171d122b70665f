# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's gates: all are looked at, read-only, and all that is wrong is said at once."""

from __future__ import annotations

import shutil
import socket
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Callable

from ._backup_files import size_of, sources
from ._changelog import Notes
from ._compose import port_numbers
from ._containers import ONE_AT_A_TIME, room_beside
from ._dotenv import entry
from ._errors import CommandError, SlipwayError
from ._evidence import RELEASE_GATES, GateEvidence
from ._git import CheckoutError
from ._guard import cannot_arm
from ._ledger import Candidate, State
from ._maintenance import Maintenance
from ._observation import Observation
from ._once import Once
from ._parked_jobs import parked
from ._plan_adopt import observe_release
from ._plan_restore import check_restore
from ._plan_rollback import check_images, died_early, release_to_take_back, way_back
from ._plan_stage import missing_services
from ._probe_vulnerabilities import compare_versions
from ._profile import DOCKER_DNS, NONE
from ._release_gates import ExcusedError, ReleaseGates, UnseenError
from ._site import Site
from ._traffic import check_file_reaches_proxy
from ._vulnerabilities import ScanEvidence
from ._workers import STOPPING, seconds, sidekiq_timeout

MINIMUM_PYTHON = (3, 9)
MINIMUM_ENGINE = 25
MINIMUM_COMPOSE = (2, 20)
CLOCK_TOLERANCE = 30
HEADROOM = 1.1
_LARGEST_FILE = 10_000_000  # bytes of a Compose file


@dataclass(frozen=True)
class Request:
    """What is about to be done.

    :param verb: decides which gates are looked at (see GATES).
    :param run: the id of the run that asks; it may hold the site already.
    :param ref: the git ref that names the release, for a deploy.
    :param clock_ahead: seconds by which the host's clock is ahead of the controller's.
    :param backup: the backup to put back, for a restore.
    :param uploads: whether uploads go back too.
    :param owner: who asks, who may go on with a run of their own that died.
    :param security: what scanners know of the release, for a deploy.
    :param evidence: what the controller knows of the release's gates, for a deploy.
    :param opens: whether a run begins when all gates hold; else somebody looks only.
    """

    verb: str
    run: str
    version: str | None = None
    ref: str | None = None
    clock_ahead: float = 0.0
    backup: str | None = None
    uploads: bool = False
    owner: str = ""
    security: ScanEvidence | None = None
    evidence: GateEvidence | None = None
    opens: bool = True


@dataclass(frozen=True)
class Answer:
    """What the gates found.

    :param commit: what the ref names, for a deploy.
    :param already: whether the release asked for already runs, whole, as the ledger has it.
    :param excused: the gates that need not hold: which, why and who says so.
    :param notes: the release's entry in its changelog, where it has one.
    :param migrations: the names of the release's migration files, where they are known.
    """

    observations: list[Observation]
    commit: str | None
    already: bool
    excused: tuple[tuple[str, str, str], ...] = ()
    notes: Notes | None = None
    migrations: list[str] | None = None

    @property
    def failures(self) -> list[str]:
        """One line for each gate that does not hold."""
        return [f"{item.subject}: {item.detail}" for item in self.observations if item.ok is False]


class Gates:
    """The gates of one site for one request. A gate returns what it saw, or raises what is wrong."""

    def __init__(self, site: Site, request: Request) -> None:
        self.site = site
        self.request = request
        self.profile = site.profile
        self._resolved = Once(self._resolve)

    @cached_property
    def _state(self) -> State:
        return self.site.ledger.state()

    @cached_property
    def of_release(self) -> ReleaseGates:
        """The gates that are about the release, and not about this host."""
        request = self.request
        version = request.version or ""
        standing = version == self._state.current
        return ReleaseGates(
            self.site, version, request.evidence, self._resolved, opens=request.opens, standing=standing
        )

    @property
    def _first_install(self) -> bool:
        return self._state.current is None and not self.site.containers(self.profile.services.web)

    @cached_property
    def _files_there(self) -> bool:
        """Whether the application's files are in place; a first install that failed early has none."""
        return self.site.checkout.exists and self.site.checkout.head() is not None

    @cached_property
    def _in_between(self) -> bool:
        """Whether a switch or a way back was cut short, which leaves the files of two releases in place."""
        candidate = self._state.candidate
        return candidate is not None and candidate.reached("switching")

    def notes(self) -> Notes | None:
        """The release's entry in its changelog, for a deploy."""
        return self.of_release.notes if self.request.verb == "deploy" else None

    def migrations(self) -> list[str] | None:
        """The names of the release's migration files, for a deploy."""
        return self.of_release.migrations if self.request.verb == "deploy" else None

    @property
    def commit(self) -> str | None:
        """The commit that the release's ref names in the repository."""
        return self._resolved()

    def _resolve(self) -> str | None:
        if self.request.ref is None or shutil.which("git") is None:
            return None
        return self.site.checkout.remote_commit(self.request.ref)

    def python(self) -> str:
        """Modules run on the host's Python."""
        found = ".".join(map(str, sys.version_info[:3]))
        if sys.version_info[:2] < MINIMUM_PYTHON:
            raise SlipwayError(
                f"the host's Python is {found}: install 3.9 or later, or point ansible_python_interpreter at one"
            )
        return found

    def docker(self) -> str:
        """A Docker engine that answers and is new enough."""
        if shutil.which("docker") is None:
            raise SlipwayError("Docker is not installed on the host: install Docker Engine 25 or later with Compose v2")
        try:
            version = self.site.runner.run(["docker", "version", "--format", "{{.Server.Version}}"]).stdout.strip()
        except CommandError as error:
            raise SlipwayError(
                f"the Docker engine does not answer ({error.reason}): start it, or let this user reach it"
            ) from error
        if int(version.split(".")[0]) < MINIMUM_ENGINE:
            raise SlipwayError(f"Docker Engine is {version}: version {MINIMUM_ENGINE} or later is needed")
        return version

    def compose(self) -> str:
        """Compose v2."""
        done = self.site.runner.run(["docker", "compose", "version", "--short"], check=False)
        version = done.stdout.strip().lstrip("v")
        if done.returncode != 0 or not version:
            raise SlipwayError("Docker Compose v2 is not installed on the host: install the docker compose plugin")
        if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_COMPOSE:
            raise SlipwayError(f"Docker Compose is {version}: version 2.20 or later is needed")
        return version

    def compose_files(self) -> str:
        """Compose files that are valid and have the profile's services."""
        if not self._files_there:
            return "nothing is installed yet: looked at when the release is staged"
        if self._in_between:
            return _NOT_LOOKED_AT
        absent = self._absent_files()
        if absent:
            raise SlipwayError(
                f"Compose file {self.site.directory / absent[0]} does not exist: mend application.compose_files"
            )
        missing = missing_services(self.site, self.site.compose)
        if missing:
            raise SlipwayError(
                f"{', '.join(self.profile.compose_files)} in {self.site.directory} has no service "
                f"{', '.join(missing)}: mend application.services"
            )
        return f"{len(self.site.compose.config['services'])} services"

    def _absent_files(self) -> list[str]:
        """The Compose files that are neither in place nor what the release brings."""
        absent = [name for name in self.profile.compose_files if not (self.site.directory / name).is_file()]
        commit, checkout = self._resolved() if absent and self.request.verb == "deploy" else None, self.site.checkout
        if commit is None:
            return absent
        with checkout.holding(commit) as place:
            return [name for name in absent if checkout.file_at(place, commit, name, _LARGEST_FILE) is None]

    def checkout(self) -> str:
        """A git checkout of one user's, in which nobody changed a tracked file."""
        if shutil.which("git") is None:
            raise SlipwayError("git is not installed on the host: install it, the release comes by git")
        self.site.checkout.check()
        if not self.site.checkout.exists:
            directory = self.site.directory
            foreign = [path.name for path in directory.glob("*") if path.is_file() and path != self.site.env_file.path]
            if foreign:
                raise SlipwayError(
                    f"{directory} holds files and is no git checkout: make it one, or name another "
                    "application.directory"
                )
            return "nothing is installed yet"
        if self._in_between:
            return _NOT_LOOKED_AT
        changes = self.site.checkout.changes()
        if changes and not self._first_install:
            raise SlipwayError(
                f"tracked files were changed by hand in {self.site.directory}: {', '.join(changes[:5])}: commit "
                "them in the repository, or 'git checkout' them"
            )
        return (self.site.checkout.head() or "nothing is checked out yet")[:12]

    def release(self) -> str:
        """A release that the repository has and that is what it was."""
        version, url = self.request.version, self.profile.repository.url
        try:
            commit = self.commit
        except CommandError as error:
            raise SlipwayError(
                f"the repository {url} cannot be read from the host ({error.reason}): mend application.repository.url "
                "or its access"
            ) from error
        if commit is None:
            raise SlipwayError(
                f"release {self.request.ref} is neither a tag nor a branch of {url}: push it, or ask for one that "
                "exists"
            )
        self.site.ledger.check_unchanged(version or "", commit)
        return commit[:12]

    def secrets(self) -> str:
        """Every variable that the application needs."""
        for name, value in self.site.environment.items():
            entry(name, value)
        present = self.site.env_file.values()
        values = {**present, **self.site.environment}
        differing = sorted(name for name, value in self.site.environment.items() if present.get(name) != value)
        if differing and self.request.version == self._state.current:
            raise SlipwayError(
                f"{', '.join(differing)} in application_environment is not what {self.site.env_file.path} has, and "
                f"{self.request.version} runs already: deploy a new release, or change it on the host by hand"
            )
        missing = [name for name in self.profile.required_variables if not values.get(name)]
        if missing:
            raise SlipwayError(
                f"{', '.join(missing)} has no value in {self.site.env_file.path} or in application_environment: "
                "set it there"
            )
        return f"{len(self.profile.required_variables)} variables"

    def database(self) -> str:
        """A PostgreSQL of this Compose project that answers."""
        external = self._external_database()
        if external:
            raise SlipwayError(
                f"the database is at {external}, outside this Compose project: managed PostgreSQL is not "
                "supported, nothing here could back it up or bring it back"
            )
        if self._first_install:
            return "nothing is installed yet"
        try:
            seen = f"PostgreSQL {self.site.database.server_version()}, {self.site.database.size() / 1e6:.0f} MB"
            if not self.site.database.may_restore():
                raise SlipwayError(
                    f"{self.profile.database.user} is no superuser: it could dump {self.profile.database.name}, and "
                    "never put it back: let application.database.user be the image's POSTGRES_USER"
                )
            if self.request.verb == "deploy":
                self._check_migrations_are_known()
            return seen  # noqa: TRY300 - what is refused above is no CommandError
        except CommandError as error:
            raise SlipwayError(
                f"database {self.profile.database.name} does not answer as {self.profile.database.user}: {error.reason}"
            ) from error

    def _check_migrations_are_known(self) -> None:
        """Refuse a database of which nobody can say what was applied to it: no way back could tell that it is done."""
        database, name = self.site.database, self.profile.database.name
        known = database.migration_tables()
        if len(known) > 1:
            raise SlipwayError(
                f"database {name} has {', '.join(known)}: one application with one schema_migrations is supported, "
                "remove what is left over"
            )
        if not known and database.tables():
            raise SlipwayError(
                f"database {name} has tables and no schema_migrations: mend application.database, or let Rails call "
                "the table by its usual name"
            )

    def _external_database(self) -> str | None:
        """The host in DATABASE_URL when it is none of this project's containers."""
        if not self._files_there or self._in_between:
            return None
        services = self.site.compose.config["services"]
        url = (services.get(self.profile.services.web, {}).get("environment") or {}).get("DATABASE_URL")
        host = urllib.parse.urlsplit(url).hostname if url else None
        inside = {name.lower() for key, service in services.items() for name in _names(key, service)}
        # an URL's host is in lower case
        return host if host and host not in inside else None

    def disk(self) -> str:
        """Room on each file system for a backup, for copies of the database, and for the new images."""
        size = 0 if self._first_install else self.site.database.size()
        files = 0 if self._first_install else sum(size_of(path) for path in sources(self.site).values())
        state = self._state
        images = list(self.site.ledger.known_release(state.current).images.values()) if state.current else []
        code = self.site.docker.image_sizes(
            images or [item.image for item in self.site.containers(self.profile.services.web)]
        )
        # a dump in the container and a restored database; a rehearsal has the dump, its database and two copies of it
        copies, images_too = (4, code) if self.request.verb == "deploy" else (2, 0)
        engine = Path(self.site.runner.run(["docker", "info", "--format", "{{.DockerRootDir}}"]).stdout.strip())
        needs: dict[int, float] = {}
        places: dict[int, Path] = {}
        for path, amount in (
            (self.site.backups, size + files),
            (engine, copies * size + images_too),
        ):
            place = _existing(path)
            device = place.stat().st_dev
            needs[device] = needs.get(device, 0) + amount * HEADROOM
            places.setdefault(device, place)
        for device, need in needs.items():
            free = shutil.disk_usage(places[device]).free
            if free < need:
                raise SlipwayError(
                    f"{places[device]} has {free / 1e6:.0f} MB free and {need / 1e6:.0f} MB are needed: make room there"
                )
        return f"{sum(needs.values()) / 1e6:.0f} MB needed"

    def ports(self) -> str:
        """Published ports that are free, or this application's own."""
        if not self._files_there:
            return "nothing is installed yet"
        if self._in_between:
            return _NOT_LOOKED_AT
        running = {item.service for item in self.site.containers()}
        wanted = [
            (port.get("host_ip") or "0.0.0.0", str(port["published"]))  # noqa: S104 - what Docker itself binds
            for name, service in self.site.compose.config["services"].items()
            for port in service.get("ports", [])
            if port.get("published") and port.get("protocol", "tcp") == "tcp" and name not in running
        ]
        # of a range Docker takes one that is free
        taken = [text for host, text in wanted if not any(_free(host, number) for number in port_numbers(text))]
        if taken:
            raise SlipwayError(f"port {', '.join(taken)} is taken by another program: stop it, or publish another port")
        return f"{len(wanted)} to be opened"

    def traffic(self) -> str:
        """A way to send requests from one set of web containers to another."""
        proxy, web = self.profile.proxy, self.profile.services.web
        if proxy.drain == NONE:
            return "none: the application stops for a moment, and a page says so"
        if not self._files_there or self._in_between:
            return _NOT_LOOKED_AT if self._in_between else "nothing is installed yet"
        service = self.site.compose.config["services"].get(web, {})
        fixed = [key for key in ONE_AT_A_TIME if service.get(key)]
        if fixed:
            raise SlipwayError(
                f"service {web} has {' and '.join(fixed)}, so that there cannot be two sets of its containers: take it "
                "away, or set application.proxy.drain to none"
            )
        wrong = check_file_reaches_proxy(self.site)
        if wrong:
            raise SlipwayError(f"{wrong} (application.proxy.file)")
        if proxy.drain == DOCKER_DNS:
            return f"docker_dns, {self._at_once()}; {self._may_be_refused()}"
        return f"{proxy.drain}, {self._at_once()}"

    def _room(self) -> tuple[int, int | None]:
        """How many web containers there are to be, and how many more memory has room for, where that is known."""
        web = self.profile.services.web
        return self.site.compose.replicas(web), room_beside(self.site, self.site.containers(web))

    def _may_be_refused(self) -> str:
        """What a proxy that is told nothing may lose: it goes on with the address of one that stopped."""
        ttl, (count, room) = self.profile.proxy.dns_ttl, self._room()
        at_once = count if room is None else max(1, min(count, room))
        parts = [min(at_once, count - first) for first in range(0, count, at_once)]
        # as many as are to stay are named beside those of a part that have not stopped yet; all are asked in turn
        lost = sum(ttl / (count + left) for part in parts for left in range(1, part + 1))
        return (
            f"requests may be sent to a container for {ttl:g} s after it stopped: {lost:.1f} s of all requests in the "
            f"{count} stops at most, 0 where the proxy goes on to the next (proxy_next_upstream, a connect timeout of "
            "1 s, which they wait once), but for a POST on a connection kept open that meets the stop itself"
        )

    def _at_once(self) -> str:
        """How many of the release's web containers start at once beside those that answer."""
        web, (count, room) = self.profile.services.web, self._room()
        if room == 0:
            return f"the host has no memory for one more {web} container: one is tried at a time, free some before"
        number = count if room is None else min(count, room)
        return f"{number} of {count} {web} containers start at once" + (
            ", the others in turn" if number < count else ""
        )

    def workers(self) -> str:
        """Workers that are given the time that Sidekiq takes to end."""
        worker = self.profile.services.worker
        if worker is None:
            return "the application has none"
        if not self.profile.jobs.sidekiq:
            return "they are not Sidekiq's, and end by SIGTERM"
        if not self._files_there or self._in_between:
            return _NOT_LOOKED_AT if self._in_between else "nothing is installed yet"
        service = self.site.compose.config["services"].get(worker, {})
        grace, own = seconds(service.get("stop_grace_period") or "10s"), sidekiq_timeout(service, self.site.directory)
        if grace <= own:
            raise SlipwayError(
                f"stop_grace_period of service {worker} is {grace:.0f} s and Sidekiq's timeout {own:.0f} s: Docker "
                f"kills it before it has pushed its jobs back: set stop_grace_period to {own + STOPPING:.0f}s"
            )
        cache = self.profile.services.cache
        if cache and self.site.containers(cache):
            try:
                parked(self.site)
            except SlipwayError as error:
                raise SlipwayError(f"the jobs in service {cache} cannot be looked at: {error}") from error
        count, room = self.site.compose.replicas(worker), room_beside(self.site, self.site.containers(worker))
        first = ", end before the release's start: no memory for both" if room is not None and room < count else ""
        return f"{grace:.0f} s to stop, {own:.0f} s of them for jobs{first}"

    def clock(self) -> str:
        """A clock that agrees with the controller's: evidence is judged by its time."""
        ahead = self.request.clock_ahead
        if abs(ahead) > CLOCK_TOLERANCE:
            raise SlipwayError(f"the host's clock differs from the controller's by {ahead:+.0f} s: set both by NTP")
        return f"{ahead:+.1f} s"

    def lock(self) -> str:
        """Nobody else at work here."""
        run, ledger = self._state.run, self.site.ledger
        dead = False
        if run is not None and (run.id, run.owner) != (self.request.run, self.request.owner):
            dead = ledger.may_take_over(self.request.owner)
            if not dead:
                raise SlipwayError(
                    f"another run has this site: {ledger.describe_run()}: wait for it; it counts as dead after "
                    f"{run.timeout:.0f} s of silence, or once playbooks/unlock.yml ends it"
                )
            if self._state.candidate is not None and self.request.verb not in _GO_ON:
                raise SlipwayError(f"a run died here: {ledger.describe_run()}: {_ways_on(self._state.candidate)}")
        if ledger.busy():
            raise SlipwayError(f"another process works on this site now: {ledger.describe_run()}: wait for it")
        return f"taken over: {ledger.describe_run()}" if dead else "free"

    def candidate(self) -> str:
        """No other release that was left half done."""
        candidate = self._state.candidate
        if candidate is not None and candidate.version != self.request.version:
            raise SlipwayError(_ways_on(candidate))
        if self._state.restoring is not None:
            raise SlipwayError(f"{self._state.restoring.description}: run {self._state.restoring.command} first")
        return "none" if candidate is None else f"{candidate.version} goes on after {candidate.phase}"

    def vulnerabilities(self) -> str:
        """No report that names a vulnerability which the release before has not."""
        evidence, version = self.request.security, self.request.version
        if evidence is None or not evidence.reports or version is None:
            raise UnseenError("no report was given: security_reports")
        if version == self._state.current:
            return f"{version} runs already"
        try:
            commit = self.commit
        except CommandError:
            # the gate `release` says why
            commit = None
        found = compare_versions(
            self.site, evidence, (version, self._state.current), datetime.now(timezone.utc), commit
        )
        if found.new:
            named = "; ".join(f"{item.id}: {found.described(item)}" for item in found.new[:_NAMED])
            more = f" and {len(found.new) - _NAMED} more" if found.new[_NAMED:] else ""
            raise SlipwayError(
                f"{found.summary}: {named}{more}: mend the release, or waive it in security_waivers with a day and a "
                "reason"
            )
        if found.inconclusive:
            raise UnseenError(found.summary)
        return found.summary

    def armed(self) -> str:
        """Whether the host can take itself back when its controller dies; a deploy goes on where it cannot."""
        return cannot_arm() or "the host takes itself back when its controller dies"

    def backup(self) -> str:
        """A backup that is whole, fits this PostgreSQL and belongs to the release that stands."""
        backup = self.request.backup
        if backup is None:
            raise SlipwayError("no backup is named: -e restore_backup=ID")
        manifest = check_restore(self.site, backup, uploads=self.request.uploads)
        return f"{backup} of {manifest['created']}"

    def drift(self) -> str:
        """What runs is what the ledger says."""
        if self._state.candidate is not None:
            return "not looked at: a release was left half done"
        version = self.request.version
        if self._state.current is None:
            if self._first_install:
                return "nothing is installed yet"
            if observe_release(self.site).version == version:
                raise SlipwayError(
                    f"release {version} runs here already and is in no ledger yet: playbooks/backup.yml adopts it"
                )
            return "to be adopted"
        release = self.site.ledger.known_release(self._state.current)
        wrong = self.site.runs(release, beside=True)
        if wrong and Maintenance(self.site).container is not None:
            raise SlipwayError(
                f"the maintenance page stands in the place of {self._state.current} ({wrong[0]}): run "
                "playbooks/maintenance.yml -e maintenance_state=absent first"
            )
        if wrong:
            raise SlipwayError(
                f"what runs is not release {self._state.current} as the ledger has it ({wrong[0]}): run 'docker "
                f"compose up -d' in {self.site.directory}"
            )
        if self._state.current == version and self.site.checkout.head() != release.commit:
            raise SlipwayError(
                f"release {version} runs already and {self.site.directory} is at another commit than its own: run 'git "
                f"checkout --detach {release.commit[:12]}' there"
            )
        return f"{self._state.current} runs"

    def road_back(self) -> str:
        """A release to go back to, with all its images."""
        if died_early(self._state):
            return f"{release_to_take_back(self.site, self._state)} is not in: nothing has to go back"
        version, before = way_back(self.site, self._state)
        if before.version is None:
            return f"{version} is the first here: it is stopped"
        check_images(self.site, self.site.ledger.known_release(before.version))
        return f"from {version} to {before.version}"

    def already(self) -> bool:
        """Whether the release asked for is the one that stands, and its files and containers are whole."""
        version = self.request.version
        release = self.site.ledger.release(version) if version else None
        if release is None or version != self._state.current or self._state.candidate is not None:
            return False
        return (
            release.commit == self.commit
            and self.site.checkout.is_at(release.commit)
            and not self.site.runs(release, beside=True)
        )


_HOST = ("python", "docker", "compose")
# How many vulnerabilities a refusal names.
_NAMED = 5
# What is half done is for these to go on with.
_GO_ON = ("deploy", "rollback")
_NOT_LOOKED_AT = "not looked at: files of two releases are in place"


def _ways_on(candidate: Candidate) -> str:
    """Both ways to go on from a release that was left half done."""
    version = candidate.version
    return (
        f"release {version} was left half done ({candidate.phase}): deploy {version} again to go on, or take it "
        "back by playbooks/rollback.yml"
    )


_WITHOUT_ENGINE = ("release", *RELEASE_GATES, "secrets", "clock", "lock", "candidate")
GATES: dict[str, tuple[str, ...]] = {
    "deploy": (
        *_HOST,
        "checkout",
        "compose_files",
        "release",
        *RELEASE_GATES,
        "secrets",
        "database",
        "disk",
        "ports",
        "traffic",
        "workers",
        "clock",
        "lock",
        "candidate",
        "drift",
        "vulnerabilities",
        "armed",
    ),
    "backup": (*_HOST, "compose_files", "database", "disk", "lock"),
    "rollback": (*_HOST, "lock", "road_back"),
    "restore": (*_HOST, "compose_files", "disk", "lock", "backup"),
}


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _names(key: str, service: Mapping[str, Any]) -> Iterator[str]:
    """By which names a service of the Compose model is found on its networks."""
    yield key
    yield from (service[name] for name in ("container_name", "hostname") if service.get(name))
    for network in (service.get("networks") or {}).values():
        yield from (network or {}).get("aliases") or []
    # what another service calls it
    yield from (link.rpartition(":")[-1] for link in service.get("links") or [])


def _free(host: str, port: int) -> bool:
    six = ":" in host
    try:
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if six:
                # as Docker does, which binds IPv4 by itself
                attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            attempt.bind((host, port))
    except OSError:
        return False
    return True


def look(site: Site, request: Request) -> Answer:
    """Look at every gate of the request's verb. One that depends on a missing tool says so itself."""
    gates = Gates(site, request)
    excused: dict[str, tuple[str, str, str]] = {}

    def one(name: str) -> Observation:
        ok: bool | None
        gate: Callable[[], str] = getattr(gates.of_release if name in RELEASE_GATES else gates, name)
        try:
            detail, ok = gate(), True
        except ExcusedError as error:
            detail, ok = str(error), None
            excused[name] = (name, error.why, error.by or request.owner)
        except UnseenError as error:
            detail, ok = str(error), None
        except CheckoutError as error:
            # said once, where the gate is looked at that is about it
            said = name != "checkout" and "checkout" in rest
            detail, ok = ("not looked at: the gate checkout says why", None) if said else (str(error), False)
        except SlipwayError as error:
            detail, ok = str(error), False
        except (OSError, ValueError, KeyError) as error:
            detail, ok = f"{type(error).__name__}: {error}", False
        return Observation("gate", name, site.ledger.now(), None, None, ok=ok, detail=detail)

    rest = [name for name in GATES[request.verb] if name not in _HOST]
    if "checkout" in rest:
        # that gate says why, and no other has git run then
        with suppress(CheckoutError):
            site.checkout.check()
    with ThreadPoolExecutor(max_workers=4) as pool:
        foundation = list(pool.map(one, _HOST))
        if not all(item.ok for item in foundation):
            # the gates that need an engine would only repeat that there is none
            rest = [name for name in rest if name in _WITHOUT_ENGINE]
            return Answer([*foundation, *pool.map(one, rest)], None, already=False, notes=gates.notes())
        with site.at_rest():
            observations = [*foundation, *pool.map(one, rest)]
            whole = all(item.ok is not False for item in observations)
            return Answer(
                observations,
                gates.commit if whole else None,
                already=whole and gates.already(),
                excused=tuple(excused[name] for name in sorted(excused)),
                notes=gates.notes(),
                migrations=gates.migrations(),
            )
