# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: one point in time of the database and the files beside it, read back before anything relies on them."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from . import _fingerprint as fingerprint
from . import _integrity as integrity
from . import _probe_exposure as exposure
from . import _probe_figures as figures
from . import _probe_jobs as jobs
from . import _probe_logs as logs
from . import _probe_queries as queries
from ._backup_files import save_configuration, save_directories, save_redis
from ._database_facts import DatabaseFacts
from ._engine import Plan, Step
from ._errors import CommandError, SlipwayError
from ._files import sync_directory
from ._manifest import PARTIAL, check_backup, manifest_of, write_manifest
from ._plan_stage import migrations_in
from ._postgres import applied_migrations, count_dumped
from ._stored import StoredFile, make_directory, sync_tree, total
from ._verify import begin_trial, verify_backup

if TYPE_CHECKING:
    from pathlib import Path

    from ._postgres import Database
    from ._site import Site
    from ._snapshot import Snapshot

T = TypeVar("T")

READY_AFTER = 120
# The kind of what keeps a dump from being made: it says nothing about the data.
UNMADE = "stage"


def _answers(site: Site) -> bool:
    """Whether the database runs and takes queries."""
    if not site.containers(site.profile.services.database):
        return False
    try:
        site.database.query("SELECT 1", database="postgres")
    except CommandError:
        return False
    return True


def start_database(site: Site, version: str) -> Step:
    """The step that starts the database (and cache) where they do not run: on a first install, or after a crash.

    Containers that are there are started as they are, whatever `version` would make of them.
    """
    services = [site.profile.services.database] + ([site.profile.services.cache] if site.profile.services.cache else [])

    def answers() -> bool:
        return all(site.containers(service) for service in services) and _answers(site)

    def start() -> None:
        deadline = time.monotonic() + READY_AFTER
        # what somebody else stops meanwhile is started again
        while not answers():
            if time.monotonic() > deadline:
                raise SlipwayError(f"{' and '.join(services)} did not answer within {READY_AFTER} s of their start")
            there = site.docker.containers(site.profile.name)
            stopped = [item.id for item in there if item.service in services and not (item.running or item.oneoff)]
            if stopped:
                site.docker.start(stopped)
            missing = [service for service in services if not site.containers(service)]
            if missing:
                site.compose_of(site.ledger.known_release(version)).up(*missing)
            time.sleep(0.2)

    return Step("start the database", answers, start)


def take_backup(site: Site, backup: str, reason: str, *, database_only: bool = False) -> dict[str, Any]:
    """Back up into backups/BACKUP; it appears under that name only when it is complete and durable.

    The database is dumped at one point in time; files are copied after it, so that each file that a row names is there.
    """
    final, partial = site.backups / backup, site.backups / PARTIAL / backup
    shutil.rmtree(partial, ignore_errors=True)
    make_directory(partial / "database")
    try:
        files = _fill(site, partial, {"id": backup, "reason": reason}, database_only=database_only)
        sync_tree(partial)
        partial.rename(final)
    except (SlipwayError, OSError):
        # half of it is of no use, and may be what filled the disk
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(site.backups)
    return {"backup": backup, "bytes": total(files)}


def _fill(site: Site, directory: Path, about: dict[str, Any], *, database_only: bool) -> dict[str, StoredFile]:
    """Write a backup's files and its manifest into a directory; returns the files by name."""
    database, state = site.database, site.ledger.state()
    migrating = state.candidate is not None and state.candidate.reached("migrating")
    content: dict[str, Any] = {
        **about,
        "application": site.profile.name,
        "created": site.ledger.now(),
        "release": state.candidate.version if state.candidate and migrating else state.current,
    }
    with site.at_rest(), database.snapshot() as snapshot, ThreadPoolExecutor(3) as beside:
        schema = beside.submit(database.schema, snapshot=snapshot.id)
        dumping = beside.submit(_timed, lambda: database.dump(directory / "database", snapshot.id))
        # of a later moment than the rows that name them
        copying = None if database_only else beside.submit(_copy_files, site, directory)
        content.update(_described(database, snapshot))
        content["database"]["schema"] = schema.result()
        dumped, seconds = dumping.result()
        content["seconds"] = {"dump": seconds}
        files = {f"database/{name}": file for name, file in dumped.items()}
        if copying is not None:
            copied, told = copying.result()
            files.update(copied)
            content.update(told)
            # what a restored copy can be compared with
            taken, seconds = _timed(lambda: fingerprint.take(snapshot.query, fingerprint.SAMPLE_ABOVE))
            content["fingerprint"] = taken.to_dict()
            content["seconds"]["fingerprint"] = seconds
    write_manifest(directory, content, files)
    return files


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.monotonic()
    return work(), round(time.monotonic() - begun, 3)


def _described(database: Database, snapshot: Snapshot) -> dict[str, Any]:
    """What the manifest says of the database at its point in time."""
    facts = DatabaseFacts.read(snapshot.query, database.name)
    return {
        "postgresql": snapshot.query("SHOW server_version")[0][0].split()[0],
        "migrations": applied_migrations(snapshot.query),
        "database": {
            **({} if facts is None else asdict(facts)),
            "name": database.name,
            "bytes": int(snapshot.query("SELECT pg_database_size(current_database())")[0][0]),
            "tables": count_dumped(snapshot.query),
        },
    }


def _copy_files(site: Site, directory: Path) -> tuple[dict[str, StoredFile], dict[str, Any]]:
    """Copy what lies beside the database; returns the files by name, and what the manifest says of them."""
    copied, changed = save_directories(site, directory)
    saved, why_not = save_redis(site, directory)
    return {**copied, **saved, **save_configuration(site, directory)}, {**changed, "redis": why_not or "saved"}


def _note(site: Site, identity: str) -> None:
    """Note what the candidate replaces, and the backup that was taken of it; the rehearsal proves its content."""
    manifest = manifest_of(site, identity)
    if manifest is not None:
        wrong = check_backup(site, identity)
        if wrong:
            raise SlipwayError("; ".join(wrong))
    if manifest is None:
        database = site.database
        site.ledger.enter("backed_up", migrations=database.migrations(), schema=database.schema(), backup=None)
        return
    schema = manifest["database"]["schema"]
    site.ledger.enter("backed_up", migrations=manifest["migrations"], schema=schema, backup=identity)


def _noted(site: Site, identity: str) -> bool:
    """Whether the candidate has a backup of what it replaces, which is this one as long as nothing was migrated."""
    candidate = site.ledger.state().candidate
    if candidate is None or not candidate.reached("backed_up"):
        return False
    # once migrations began, the database is not what was before any more
    return candidate.reached("migrating") or candidate.before.backup == identity


def _dump_before(site: Site, identity: str, version: str) -> dict[str, Any]:
    """Back up what the release `version` will replace; its source is here."""
    # before the dump: what comes in from now on is counted as unknown to the rehearsal
    with site.at_rest(), ThreadPoolExecutor(1) as beside:
        logged = beside.submit(logs.baseline, site)
        known = {**integrity.baseline(site), "exposure": exposure.baseline(site)}
        known.update(jobs.baseline(site), figures=figures.baseline(site), queries=queries.baseline(site))
        known.update(logged.result())
    site.ledger.save_baseline(version, known)
    if site.database.tables() == 0:
        return {"backup": None}
    new = set(migrations_in(site, site.source(version))) - set(site.database.migrations())
    with site.at_rest(), ThreadPoolExecutor(1) as beside:
        # what the rehearsal needs boots meanwhile; it starts itself what is not there then
        served = site.ledger.state().current if new else None
        trial = beside.submit(begin_trial, site, identity, served, cache=bool(new))
        taken = take_backup(site, identity, f"before {version}")
        with suppress(SlipwayError):
            trial.result()
    return taken


def dump_while_staging(site: Site, identity: str, version: str) -> Step:
    """The step that dumps the database while something else is done, where it runs already."""

    def done() -> bool:
        return not _answers(site) or _noted(site, identity) or manifest_of(site, identity) is not None

    return Step("dump the database", done, lambda: _dump_before(site, identity, version), probe=UNMADE)


def backup(site: Site, identity: str, version: str | None) -> Plan:
    """The plan that backs the database up as `identity`; for the candidate `version` it notes what it replaces too.

    An empty database (a first install) has nothing to lose: it is noted, not dumped.
    """

    def dumped() -> bool:
        return manifest_of(site, identity) is not None

    def verify() -> list[str]:
        return verify_backup(site, identity) if dumped() else []

    def dump() -> dict[str, Any]:
        return {"backup": None} if site.database.tables() == 0 else take_backup(site, identity, "asked for")

    if version is None:
        return Plan("backup", identity, "backup", [Step("dump the database", dumped, dump)], verify)
    steps = [
        replace(start_database(site, version), probe=UNMADE),
        Step(
            "dump the database",
            lambda: _noted(site, identity) or dumped(),
            lambda: _dump_before(site, identity, version),
            probe=UNMADE,
        ),
        Step(
            "check the backup and note the schema",
            lambda: _noted(site, identity),
            lambda: _note(site, identity),
        ),
    ]
    return Plan("backup", version, "backup", steps)
