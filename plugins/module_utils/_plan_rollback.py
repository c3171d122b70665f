# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: code, images, schema and, where needed, data return to the state before the candidate."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import _fingerprint as fingerprint
from ._certificate import CODE, DOWN, RESTORE
from ._containers import Containers
from ._database_restore import check_restorable, open_database, restore_database
from ._engine import Plan, Step
from ._errors import CommandError, SlipwayError
from ._ledger import KEPT, TAKEN_BACK, Candidate
from ._leftovers import end_leftovers
from ._maintenance import show_page
from ._manifest import manifest_of
from ._observation import Observation
from ._parked_jobs import park
from ._plan_backup import start_database, take_backup
from ._plan_migrate import migration_reason
from ._plan_switch import (
    let_replaced_go,
    move_traffic,
    must_be_alone,
    name_images,
    renew_web,
    steps_to_run,
    stop_code,
    web_of,
)
from ._workers import quiet

if TYPE_CHECKING:
    from ._compose import Container
    from ._ledger import Before, Release, State
    from ._site import Site


BACK, KEEP, AUTO = "back", "keep", "auto"
# What Rails says of db:rollback and db:migrate:down where database.yml names several.
_TASKS = re.compile(r"multiple database application.*Available tasks are (db:[\w:]+)", re.DOTALL)


def died_early(state: State) -> bool:
    """Whether the open run has nothing to take back: its release had not come in yet, or was taken back already."""
    run = state.run
    if run is None or run.release is None or state.candidate is not None:
        return False
    return run.verb in {"deploy", "rollback"} and run.release != state.current


def way_back(site: Site, state: State) -> tuple[str, Before]:
    """The release to take back and the state before it; SlipwayError when nothing stands behind what runs."""
    if state.candidate is not None:
        return state.candidate.version, state.candidate.before
    accepted = site.ledger.accepted()
    if accepted is not None:
        raise SlipwayError(
            f"there is no way back from {state.current}: {accepted['by']} accepted it at {accepted['at']}; what is "
            "wrong since needs a release of its own"
        )
    before = site.ledger.before(state.current) if state.current else None
    if state.current is None or before is None or before.version is None:
        standing = f"release {state.current}" if state.current else "no release"
        raise SlipwayError(
            f"there is nothing to roll back to: {standing} stands here and the ledger knows none before it"
        )
    return state.current, before


def release_to_take_back(site: Site, state: State) -> str | None:
    """The release that a rollback is about; after a run that died early the one that did not come in."""
    return state.run.release if state.run is not None and died_early(state) else way_back(site, state)[0]


def check_images(site: Site, release: Release) -> None:
    """Refuse to go back to a release whose images somebody removed."""
    here = site.docker.image_ids(release.images.values())
    gone = [service for service, image in release.images.items() if here[image] is None]
    if gone:
        raise SlipwayError(
            f"the image of {', '.join(gone)} of release {release.version} is not on this host any more: load it again"
        )


def migrations_to_undo(applied: list[str], before: list[str]) -> list[str]:
    """What was applied since, newest first: a set difference, never a count."""
    return sorted(set(applied) - set(before), key=int, reverse=True)


def rollback_commands(release: Release, applied: list[str], undo: list[str]) -> list[list[str]]:
    """The Rails commands that undo exactly `undo` (newest first).

    `db:rollback STEP=n` walks the release's own migration files down from the newest applied one, and refuses where
    that one has no file; where the walk is not exactly what is meant, each is taken down by its version.
    """
    walk = [
        version for version in sorted(release.migrations, key=int, reverse=True) if int(version) <= int(applied[-1])
    ]
    if undo[0] == applied[-1] and walk[: len(undo)] == undo:
        return [["bin/rails", "db:rollback", f"STEP={len(undo)}"]]
    return [["bin/rails", "db:migrate:down", f"VERSION={version}"] for version in undo]


def for_one_of_several_databases(command: list[str], printed: str) -> list[str] | None:
    """The same for the first of an application's databases, where Rails refuses to take down what has no name."""
    found = _TASKS.search(printed)
    return [command[0], found[1], *command[2:]] if found else None


def _stop_first_install(site: Site, version: str, release: Release | None) -> Plan:
    """Nothing stood before: stop what was started, keep all of it for a look, and say so."""

    def stopped() -> bool:
        return not any(item.up for item in site.all_containers())

    def stop() -> None:
        if release is not None:
            site.docker.let_rest(site.all_containers())
            site.compose_of(release).stop()

    def forget() -> dict[str, Any]:
        site.ledger.update(candidate=None, history=site.ledger.event(version, "stopped", to=None))
        return {"kept": str(site.directory)}

    steps = [
        end_leftovers(site),
        Step("stop the containers", stopped, stop),
        Step("close the release", lambda: site.ledger.state().candidate is None, forget),
    ]
    return Plan("rollback", version, "rollback", steps)


def leave(site: Site) -> Plan:
    """Plan to clear away what a run left whose release did not come in; nothing has to go back."""
    version = site.ledger.state().current
    if version is None:
        steps = [end_leftovers(site)]
    else:
        # what was in service when the run began is in service when it is over
        steps = [
            start_database(site, version),
            end_leftovers(site),
            name_images(site, site.ledger.known_release(version)),
        ]
    return Plan("rollback", version or "nothing", "rollback", steps)


class _WayBack:
    """The steps of a rollback over one candidate, each with the question whether it is done already."""

    def __init__(self, site: Site, identity: str, timeout: float, *, schema: str) -> None:
        state = site.ledger.state()
        self.schema = schema
        self.site = site
        self.identity = identity
        self.timeout = timeout
        self.version, self.before = way_back(site, state)
        self.new = site.ledger.release(self.version)
        self.opened = state.candidate is not None
        self.was_switched = state.candidate is None or state.candidate.reached("switching")
        self.tried = False
        self.was_migrated = state.candidate is None or state.candidate.reached("migrating")

    @property
    def old(self) -> Release:
        """The release to return to."""
        return self.site.ledger.known_release(self.before.version or "")

    @property
    def web(self) -> Containers:
        """The web containers, told apart by whether they are the release's to return to."""
        return web_of(self.site, self.old)

    def reopen(self) -> None:
        """Make the release that stands a candidate again, so that a killed rollback is one to go on with."""
        candidate = Candidate(self.version, "switched", self.before, stood=True)
        self.site.ledger.update(candidate=candidate, current=self.before.version)

    def undo(self) -> list[str]:
        """The migrations to undo, newest first."""
        if not self.was_migrated or self.road == CODE:
            return []
        return migrations_to_undo(self.site.database.migrations(), self.before.migrations)

    @cached_property
    def road(self) -> str:
        """The way that the schema goes; what was rehearsed decides where the database is as the rehearsal left it."""
        applied = migrations_to_undo(self.site.database.migrations(), self.before.migrations)
        certificate = self.site.ledger.certificate(self.version)
        if certificate is None:
            return DOWN
        if sorted(applied) != sorted(certificate.migrations):
            # any of a part may have destroyed what taking it down does not give back, and would say nothing
            new = set(certificate.migrations) - set(self.before.migrations)
            return RESTORE if certificate.destroyed and certificate.down_wrong and set(applied) < new else DOWN
        return CODE if self.keeps and certificate.may_keep else certificate.road

    @cached_property
    def keeps(self) -> bool:
        """Whether the new schema stays where the release before runs on it.

        One that stood was used: nothing that came since is dropped, and nobody notices. One that is on its way in goes
        without a trace.
        """
        candidate = self.site.ledger.state().candidate
        stood = candidate is None or candidate.stood
        return self.schema == KEEP or (self.schema == AUTO and stood)

    def undone(self) -> bool:
        """Whether the database has no other migrations than it had."""
        return not self.undo()

    @cached_property
    def seamless(self) -> bool:
        """Whether the release before can answer from the first moment, on the new schema and while it is undone.

        It can be started beside where nothing is undone. While it is, only processes that never saw the new schema go
        on without a failure: those that the switch left running.
        """
        if must_be_alone(self.site, self.version):
            return False
        still = len(self.web.good()) >= self.web.count and self._undisturbed()
        return self.undone() or (still and self.road == DOWN)

    def _undisturbed(self) -> bool:
        """Whether the web containers of the release before were started before the migrations."""
        return all(item.started < self.begun for item in self.web.good())

    @property
    def begun(self) -> float:
        """When the release began to come in, in seconds since the epoch; 0 when it was not noted."""
        return float(self.site.ledger.baseline(self.version).get("at", 0.0))

    def _replaced(self) -> list[Container]:
        """Containers of the application's code that are not the release's to return to."""
        own = {item.id for name in self.site.code_services for item in Containers(self.site, self.old, name).own()}
        return [item for item in self.site.code() if item.id not in own]

    def new_code_stopped(self) -> bool:
        """Whether no process of the new release can write while migrations are undone."""
        return (self.undone() and self.seamless) or not self._replaced()

    def old_code_runs(self) -> bool:
        """Whether the workers are the old release's."""
        return not self.was_switched or not self.site.runs(self.old)

    def stop_new_code(self) -> dict[str, Any]:
        """Stop what runs the new release's code."""
        return stop_code(self.site, self.new or self.old, self._replaced())

    def quiet_new_workers(self) -> None:
        """Let the new release's workers take no more jobs: they are stopped soon."""
        quiet(self.site, [item for item in self._replaced() if item.service == self.site.profile.services.worker])

    def stop_all_code(self) -> dict[str, Any]:
        """Stop whatever runs the application's code."""
        return stop_code(self.site, self.new or self.old, self.site.code())

    def data_saved(self) -> bool:
        """Whether what was written since the switch is in a backup of its own."""
        return self.undone() or not self.was_switched or manifest_of(self.site, self.identity) is not None

    def save_data(self) -> dict[str, Any]:
        """Back the database up as it is now, and count what taking the migrations down drops from it."""
        reason = f"before {self.version} is taken back"
        saved = take_backup(self.site, self.identity, reason, database_only=True)
        certificate = self.site.ledger.certificate(self.version)
        if self.road != DOWN or certificate is None:
            return saved
        columns = [(table, column) for table, _, column in (name.rpartition(".") for name in certificate.drops)]
        try:
            counts = fingerprint.count_values(self.site.database.read_whole, columns)
        except (CommandError, KeyError):
            # the backup holds them, whatever became of a column since the rehearsal
            return saved
        return {**saved, "set_aside": {f"{table}.{name}": count for (table, name), count in zip(columns, counts)}}

    def undo_migrations(self) -> dict[str, Any]:
        """Undo by the new image: the old one has not the files. A failure is not the end: the backup comes next."""
        release, undo = self.site.ledger.known_release(self.version), self.undo()
        self.tried = True
        if self.road == RESTORE:
            return {"undo_failed": "the rehearsal showed that it does not give what was there before"}
        failure = self._undo(release, undo)
        if failure is None:
            return {"undone": undo}
        database, left = start_database(self.site, self.version), end_leftovers(self.site)
        with self.site.at_rest():
            away = not database.done()
        if away:
            database.apply()
        # a container that Docker was lost under may go on, or stand there to the end of days
        if not left.done():
            left.apply()
        if away:
            # it was not the migrations that failed: what is left of them is undone once the database is back
            failure = self._undo(release, self.undo())
        return {"undone": undo} if failure is None else {"undo_failed": failure}

    def _undo(self, release: Release, undo: list[str]) -> str | None:
        """Undo these migrations; returns why that failed."""
        if not undo:
            return None
        for command in rollback_commands(release, self.site.database.migrations(), undo):
            compose = self.site.compose_of(release)
            code, printed = self.site.rails(compose, *command, timeout=self.timeout)
            again = for_one_of_several_databases(command, printed) if code != 0 else None
            if again is not None:
                code, printed = self.site.rails(compose, *again, timeout=self.timeout)
            log = self.site.log(self.version, "rollback", printed)
            if code != 0:
                return f"{migration_reason(printed)} (all of it: {log})"
        return None

    def needs_no_backup(self) -> bool:
        """Whether the migrations were taken down, or are going to be before anybody asks for the backup."""
        return self.undone() or (self.road != RESTORE and not self.tried)

    def restore(self) -> dict[str, Any]:
        """Load the backup beside a database that could not be undone, compare, swap the two, and keep the other."""
        site, backup = self.site, self.before.backup
        if backup is None:
            raise SlipwayError(f"the migrations of {self.version} cannot be undone and there is no backup to restore")
        check_restorable(site, backup)
        return {**self.stop_all_code(), **restore_database(site, backup, site.ledger.stamp())}

    def park_jobs(self) -> dict[str, Any]:
        """Take the jobs aside that only the new code knows."""
        try:
            parked = park(self.site, self.new.commit, self.old.commit) if self.new is not None else 0
        except SlipwayError as error:
            # nothing is lost by it: a worker that does not know a job keeps trying it
            return {"not_parked": str(error)}
        return {"parked_jobs": parked} if parked else {}

    def environment(self) -> Step:
        """The step that puts the env file back, byte for byte; before the switch nothing changes it."""
        site, kept = self.site, self.site.replaced_env_file(self.version)

        def back() -> bool:
            return not self.was_switched or site.env_file.path.read_bytes() == kept.read_bytes()

        return Step(
            "put the env file back", back, lambda: site.env_file.restore(kept.read_bytes(), site.checkout.owner)
        )

    def kept(self) -> list[str]:
        """The migrations that stay applied, ascending: the release to return to goes on with them."""
        if not self.was_migrated:
            return []
        return migrations_to_undo(self.site.database.migrations(), self.before.migrations)[::-1]

    def verify(self) -> list[str]:
        """What is not as it was; when all is, the candidate is forgotten."""
        wrong = self.site.runs(self.old)
        # where the new code ran until the old took its place, it may have left more
        self.park_jobs()
        if not self.undone():
            wrong.append("the applied migrations are not what they were")
        state = self.site.ledger.state()
        if not wrong and state.candidate is not None:
            kept = self.kept()
            more = {KEPT: kept} if kept else {}
            history = self.site.ledger.event(self.version, TAKEN_BACK, to=self.before.version, **more)
            self.site.ledger.update(candidate=None, restoring=None, history=history)
        return wrong

    def evidence(self) -> list[Observation]:
        """See whether the schema is what it was; where it is not, people decide: nothing is restored for that alone."""
        if not self.was_migrated:
            return []
        if self.road == CODE:
            detail = f"kept as {self.version} made it: {self.before.version} was rehearsed on it"
            return [self._schema(ok=True, detail=detail)]
        same = self.site.database.schema(like=self.before.schema) == self.before.schema
        detail = (
            f"as before {self.version}" if same else f"not as before {self.version}: see backup {self.before.backup}"
        )
        return [self._schema(ok=same, detail=detail)]

    def _schema(self, *, ok: bool, detail: str) -> Observation:
        return Observation("schema", self.site.database.name, self.site.ledger.now(), None, None, ok=ok, detail=detail)


def rollback(site: Site, identity: str, timeout: float, *, schema: str = AUTO) -> Plan:
    """Plan the way back to the release before, from whatever phase the candidate has reached.

    :param identity: names the backup of the database as it is now, taken before anything written since could be lost.
    :param timeout: seconds for one command that undoes migrations.
    :param schema: BACK makes it what it was; KEEP leaves the new one where the rehearsal showed that the release before
        runs on it; AUTO keeps it for a release that stood, and makes it what it was for one on its way in.
    """
    way = _WayBack(site, identity, timeout, schema=schema)
    if way.before.version is None:
        return _stop_first_install(site, way.version, way.new)
    check_images(site, way.old)
    steps = [
        Step("name the release to take back", lambda: way.opened, way.reopen),
        start_database(site, way.version),
        open_database(site),
        end_leftovers(site),
        *_hand_over(way),
        Step("stop the new code", way.new_code_stopped, way.stop_new_code),
        Step("save the database as it is", way.data_saved, way.save_data),
        Step("undo the migrations", way.undone, way.undo_migrations),
        Step("restore the backup", way.needs_no_backup, way.restore),
        Step("park jobs that only the new code knows", way.old_code_runs, way.park_jobs),
        *steps_to_run(site, way.old, way.new, way.environment()),
        *([renew_web(site, way.old, way.begun)] if way.was_switched else []),
        let_replaced_go(site, way.old),
    ]
    return Plan("rollback", way.version, "rollback", steps, way.verify, way.evidence)


def _hand_over(way: _WayBack) -> list[Step]:
    """The steps after which nobody meets the new code while it is stopped: the release before answers, or a page."""
    moved, shown = move_traffic(way.site, way.old), show_page(way.site, way.old, lambda: True)

    def done() -> bool:
        if not way.was_switched or moved.done():
            return True
        return way.undone() if way.seamless else shown.done()

    def hand_over() -> dict[str, Any]:
        if way.seamless:
            moved.apply()
            return {"answers": way.before.version}
        # a worker that waits for a job notices after up to two seconds that it is to take none
        way.quiet_new_workers()
        shown.apply()
        return {"answers": "the maintenance page"}

    return [Step("let somebody else answer", done, hand_over)]
