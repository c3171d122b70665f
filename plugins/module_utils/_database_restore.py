# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's database put in the place of the present one, which is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _fingerprint as fingerprint
from ._database_facts import DatabaseFacts
from ._engine import Step
from ._errors import CommandError, SlipwayError
from ._manifest import check_backup, manifest_of

if TYPE_CHECKING:
    from ._postgres import Database
    from ._site import Site


def open_database(site: Site) -> Step:
    """The step that undoes what a killed swap left: a database that takes no connections."""

    def opened() -> None:
        site.database.open()

    return Step("open the database", lambda: not site.database.closed(), opened)


def check_restorable(site: Site, backup: str) -> dict[str, Any]:
    """The manifest of a backup that is whole, fits the server, and for which there is room; SlipwayError otherwise."""
    wrong = check_backup(site, backup)
    if wrong:
        raise SlipwayError(f"the backup is not restored: {'; '.join(wrong)}")
    manifest = manifest_of(site, backup) or {}
    dump = sum(file["size"] for name, file in manifest["files"].items() if name.startswith("database/"))
    site.database.check_room(manifest["database"]["bytes"], dump)
    return manifest


def restore_database(site: Site, backup: str, stamp: str) -> dict[str, Any]:
    """Load a backup beside the present database, compare, swap the two; the other one is kept under a name of its own.

    Nothing can be written meanwhile that would be lost unseen: the caller has stopped the application's code. Killed
    before the swap, it is done again from its beginning.
    """
    database, manifest = site.database, check_restorable(site, backup)
    copy, kept = database.copy_name, database.kept_name(stamp)
    facts = database.facts() or DatabaseFacts.parse(manifest["database"])
    database.restore(site.backups / backup / "database", copy, facts)
    schema = manifest["database"]["schema"]
    if database.schema(database=copy, like=schema) != schema:
        raise SlipwayError(f"backup {backup} does not give the schema that it was taken from: see database {copy}")
    written = _written_since(database, copy)
    database.swap(copy, kept)
    return {"restored": backup, "kept_database": kept, "set_aside": written}


def _written_since(database: Database, copy: str) -> list[str]:
    """In what the present database differs from the copy of an earlier one, table by table."""
    if not database.exists(database.name):
        return []
    try:
        restored = fingerprint.take(lambda sql: database.read_whole(sql, database=copy), fingerprint.SAMPLE_ABOVE)
        present = fingerprint.take(database.read_whole, fingerprint.SAMPLE_ABOVE, like=restored)
    except CommandError as error:
        # the kept database holds it, as far as it can be read
        return [f"the present database cannot be compared: {error}"]
    return fingerprint.differences(restored, present)
