# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: a dump with a manifest, read back before anything relies on it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _integrity as integrity
from ._engine import Plan, Step
from ._errors import SlipwayError
from ._ledger import sync_directory, write_file

if TYPE_CHECKING:
    from ._site import Site

FORMAT = 1


def manifest_of(site: Site, backup: str) -> dict[str, Any] | None:
    """The manifest of a finished backup, or None."""
    try:
        manifest: dict[str, Any] = json.loads((site.backups / backup / "manifest.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SlipwayError(
            f"{site.backups / backup / 'manifest.json'} is damaged ({error}): this backup cannot be trusted"
        ) from error
    return manifest


def start_database(site: Site, version: str) -> Step:
    """The step that starts the database (and cache) of a first install, where nothing runs yet."""
    services = [site.profile.services.database] + ([site.profile.services.cache] if site.profile.services.cache else [])

    def start() -> None:
        release = site.ledger.known_release(version)
        site.compose_of(release).up(*services)

    return Step("start the database", lambda: bool(site.containers(services[0])), start)


def take_backup(site: Site, backup: str, reason: str) -> dict[str, Any]:
    """Dump the database into backups/BACKUP; it appears under that name only when it is complete and durable."""
    database = site.database
    final = site.backups / backup
    partial = site.backups / ".partial" / backup
    shutil.rmtree(partial, ignore_errors=True)
    for directory in (site.backups, partial.parent, partial, partial / "database"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    tables = database.tables()
    files = database.dump(partial / "database")
    manifest = {
        "format": FORMAT,
        "id": backup,
        "reason": reason,
        "created": site.ledger.now(),
        "application": site.profile.name,
        "release": site.ledger.state().current,
        "database": {"name": database.name, "user": database.user, "bytes": database.size(), "tables": tables},
        "postgresql": database.server_version(),
        "migrations": database.migrations(),
        "files": {name: asdict(file) for name, file in sorted(files.items())},
    }
    write_file(partial / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
    sync_directory(partial / "database")
    sync_directory(partial)
    partial.rename(final)
    sync_directory(site.backups)
    return {"backup": backup, "bytes": sum(file.size for file in files.values())}


def check_files(site: Site, backup: str) -> list[str]:
    """What is wrong with a backup's files by its manifest; empty when nothing is."""
    manifest = manifest_of(site, backup)
    if manifest is None:
        return [f"backup {backup} is not in {site.backups}"]
    directory = site.backups / backup / "database"
    wrong = []
    for name, expected in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            wrong.append(f"{path} is missing")
        elif path.stat().st_size != expected["size"]:
            wrong.append(f"{path} has {path.stat().st_size} bytes, not {expected['size']}")
        elif _sha256(path) != expected["sha256"]:
            wrong.append(f"{path} is not what was written: its SHA-256 differs")
    return wrong + [
        f"{path} is not in the manifest" for path in sorted(directory.iterdir()) if path.name not in manifest["files"]
    ]


def verify_backup(site: Site, backup: str) -> list[str]:
    """What is wrong with a backup: its files by hash, then its content as pg_restore reads all of it."""
    wrong = check_files(site, backup)
    if wrong:
        return wrong
    manifest = manifest_of(site, backup) or {}
    held = site.database.read_back(site.backups / backup / "database")
    expected = manifest["database"]["tables"]
    return [] if held == expected else [f"backup {backup} holds the rows of {held} tables, the database had {expected}"]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _note(site: Site, identity: str, *, dumped: bool) -> None:
    """Note what the candidate replaces, and the backup that was taken of it; the rehearsal proves its content."""
    if dumped:
        wrong = check_files(site, identity)
        if wrong:
            raise SlipwayError("; ".join(wrong))
    database, backup = site.database, identity if dumped else None
    candidate = site.ledger.enter("staged", migrations=database.migrations(), schema=database.schema(), backup=backup)
    site.ledger.save_baseline(candidate.version, integrity.baseline(site))
    site.ledger.enter("backed_up")


def backup(site: Site, identity: str, version: str | None) -> Plan:
    """The plan that backs the database up as `identity`; for the candidate `version` it notes what it replaces too.

    An empty database (a first install) has nothing to lose: it is noted, not dumped.
    """

    def dumped() -> bool:
        return manifest_of(site, identity) is not None

    def dump() -> dict[str, Any]:
        if site.database.tables() == 0:
            return {"backup": None}
        return take_backup(site, identity, f"before {version}" if version else "asked for")

    def noted() -> bool:
        candidate = site.ledger.state().candidate
        return candidate is not None and candidate.reached("backed_up") and candidate.before.backup == identity

    def note() -> None:
        _note(site, identity, dumped=dumped())

    def verify() -> list[str]:
        return verify_backup(site, identity) if dumped() else []

    if version is None:
        return Plan("backup", identity, "backup", [Step("dump the database", dumped, dump)], verify)
    steps = [
        start_database(site, version),
        Step("dump the database", dumped, dump),
        Step("check the backup and note the schema", noted, note),
    ]
    return Plan("backup", version, "backup", steps)
