# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: code, images, schema and, where needed, data return to the state before the candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._engine import Plan, Step
from ._errors import SlipwayError
from ._ledger import Candidate
from ._plan_backup import check_files, manifest_of, take_backup
from ._plan_migrate import migration_reason
from ._plan_switch import steps_to_run

if TYPE_CHECKING:
    from ._ledger import Before, Release, State
    from ._site import Site


def way_back(site: Site, state: State) -> tuple[str, Before]:
    """The release to take back and the state before it; SlipwayError when nothing stands behind what runs."""
    if state.candidate is not None:
        return state.candidate.version, state.candidate.before
    before = site.ledger.before(state.current) if state.current else None
    if state.current is None or before is None or before.version is None:
        standing = f"release {state.current}" if state.current else "no release"
        raise SlipwayError(f"there is nothing to roll back to: {standing} stands here and the ledger knows none before it")
    return state.current, before


def migrations_to_undo(applied: list[str], before: list[str]) -> list[str]:
    """What was applied since, newest first: a set difference, never a count."""
    return sorted(set(applied) - set(before), key=int, reverse=True)


def rollback_commands(release: Release, applied: list[str], undo: list[str]) -> list[list[str]]:
    """The Rails commands that undo exactly `undo` (newest first).

    `db:rollback STEP=n` walks the release's own migration files down from the newest applied one; where that walk would
    meet other migrations than those meant, each is taken down by its version.
    """
    walk = [version for version in sorted(release.migrations, key=int, reverse=True) if int(version) <= int(applied[-1])]
    if walk[: len(undo)] == undo:
        return [["bin/rails", "db:rollback", f"STEP={len(undo)}"]]
    return [["bin/rails", "db:migrate:down", f"VERSION={version}"] for version in undo]


def _stop_first_install(site: Site, version: str, release: Release | None) -> Plan:
    """Nothing stood before: stop what was started, keep all of it for a look, and say so."""

    def stopped() -> bool:
        return not site.containers()

    def stop() -> None:
        if release is not None:
            site.compose_of(release).stop()

    def forget() -> dict[str, Any]:
        history = [*site.ledger.state().history, _event(site, version, "stopped", None)]
        site.ledger.update(candidate=None, history=history)
        return {"kept": str(site.directory)}

    steps = [Step("stop the containers", stopped, stop), Step("close the release", lambda: site.ledger.state().candidate is None, forget)]
    return Plan("rollback", version, "rollback", steps)


def _event(site: Site, version: str, what: str, to: str | None) -> dict[str, Any]:
    return {"at": site.ledger.now(), "release": version, "event": what, "to": to}


def rollback(site: Site, identity: str, timeout: float) -> Plan:
    """The plan that takes the site back to the release before, from whatever phase the candidate has reached.

    :param identity: names the backup of the database as it is now, taken before anything written since could be lost.
    :param timeout: seconds that taking the migrations down may take.
    """
    state = site.ledger.state()
    version, before = way_back(site, state)
    new = site.ledger.release(version)
    if before.version is None:
        return _stop_first_install(site, version, new)
    old = site.ledger.known_release(before.version)
    was_switched = state.candidate is None or state.candidate.reached("switching")
    was_migrated = state.candidate is None or state.candidate.reached("migrating")

    def undo() -> list[str]:
        return migrations_to_undo(site.database.migrations(), before.migrations) if was_migrated else []

    def data_is_back() -> bool:
        return not was_migrated or (not undo() and site.database.schema() == before.schema)

    def reopen() -> None:
        site.ledger.update(candidate=Candidate(version, "switched", before), current=before.version)

    def new_code_stopped() -> bool:
        if data_is_back() or new is None:
            return True
        return not [item for item in site.containers() if item.service in site.code_services and item.image != old.images.get(item.service)]

    def stop_new_code() -> None:
        if new is not None:
            site.compose_of(new).stop(*site.code_services)

    def data_saved() -> bool:
        return data_is_back() or not was_switched or manifest_of(site, identity) is not None

    def save_data() -> dict[str, Any]:
        return take_backup(site, identity, f"before {version} is taken back")

    def schema_undone() -> bool:
        return not undo()

    def undo_migrations() -> dict[str, Any]:
        known = site.ledger.known_release(version)
        wanted = undo()
        for command in rollback_commands(known, site.database.migrations(), wanted):
            code, printed = site.rails(site.compose_of(known), *command, timeout=timeout)
            log = site.log(version, "rollback", printed)
            if code != 0:
                # not the end of the road: the backup is next
                return {"undo_failed": f"{migration_reason(printed)} (all of it: {log})"}
        return {"undone": wanted}

    def restore() -> dict[str, Any]:
        if before.backup is None:
            raise SlipwayError(f"the schema is not what it was before {version} and there is no backup to restore")
        wrong = check_files(site, before.backup)
        if wrong:
            raise SlipwayError(f"the backup is not restored, for it is not whole: {'; '.join(wrong)}")
        site.compose_of(new or old).stop(*site.code_services)
        database = site.database
        copy, kept = f"{database.name}_restored", f"{database.name}_kept_{site.ledger.now().replace(':', '').replace('-', '').lower()}"
        database.drop(copy)
        database.restore(site.backups / before.backup / "database", copy)
        if database.schema(database=copy) != before.schema:
            raise SlipwayError(f"backup {before.backup} does not give the schema that it was taken from; it lies in database {copy}")
        database.swap(copy, kept)
        return {"restored": before.backup, "kept_database": kept}

    def forget() -> None:
        site.ledger.update(candidate=None, history=[*site.ledger.state().history, _event(site, version, "taken back", before.version)])

    def verify() -> list[str]:
        wrong = site.runs(old)
        database = site.database
        if was_migrated and database.migrations() != before.migrations:
            wrong.append("the applied migrations are not what they were")
        if was_migrated and database.schema() != before.schema:
            wrong.append("the schema is not what it was")
        if not wrong and site.ledger.state().candidate is not None:
            forget()
        return wrong

    steps = [
        Step("name the release to take back", lambda: state.candidate is not None, reopen),
        Step("stop the new code", new_code_stopped, stop_new_code),
        Step("save the database as it is", data_saved, save_data),
        Step("undo the migrations", schema_undone, undo_migrations),
        Step("restore the backup", data_is_back, restore),
        *steps_to_run(site, old, new),
    ]
    return Plan("rollback", version, "rollback", steps, verify)
