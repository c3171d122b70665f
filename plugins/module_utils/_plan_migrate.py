# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations: run once by the new image, and looked at afterwards."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from . import _integrity as integrity
from ._engine import Plan, Step
from ._errors import OutOfOrderError, SlipwayError
from ._leftovers import await_leftovers
from ._plan_switch import make_room, must_be_apart
from ._trace import writes

if TYPE_CHECKING:
    from ._observation import Observation
    from ._site import Site

_ABORTED = re.compile(r"^.*(aborted!|An error has occurred, .*)$", re.MULTILINE)


def migration_reason(printed: str) -> str:
    """The line of Rails' output that says why a task failed: the first one after it says that it aborted."""
    tail = printed
    for aborted in _ABORTED.finditer(printed):
        tail = printed[aborted.end() :]
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    if not lines:
        return "it printed nothing"
    return (lines[0] if tail is not printed else lines[-1])[:300]


def migrate(site: Site, version: str, timeout: float, arming: Step) -> Plan:
    """The plan that applies the migrations of `version` that the database lacks.

    :param timeout: seconds that `db:migrate` may take.
    :param arming: the step after which the host takes itself back when its controller dies.
    """
    candidate = site.ledger.state().candidate
    if candidate is None or candidate.version != version or not candidate.reached("rehearsed"):
        raise OutOfOrderError(
            f"release {version} may not migrate: it was not backed up and rehearsed, start deploy.yml at its beginning"
        )
    release = site.ledger.known_release(version)
    before = candidate.before
    # when db:migrate began, and how many rows had been written then
    begun: list[tuple[float, dict[str, list[int]]]] = []
    # indexes that could not be used before it; a process that was killed may have left some, which are of this release
    invalid: list[str] = []
    known_to_have_begun = candidate.reached("migrating")

    def applied() -> bool:
        return set(release.migrations) <= set(site.database.migrations())

    def run() -> dict[str, Any]:
        missing = sorted(set(release.migrations) - set(site.database.migrations()), key=int)
        # an empty database is set up as Rails does it, with the seeds that no migration brings
        task = "db:prepare" if before.version is None and site.database.tables() == 0 else "db:migrate"
        begun.append((time.time(), writes(site.database.query)))
        if not known_to_have_begun:
            invalid.extend(site.database.invalid_indexes())
        site.ledger.enter("migrating")
        code, printed = site.rails(site.compose_of(release), "bin/rails", task, timeout=timeout)
        log = site.log(version, "migrate", printed)
        if code != 0:
            raise SlipwayError(f"{migration_reason(printed)} (all of it: {log})")
        return {"migrations": missing}

    def verify() -> list[str]:
        wrong = []
        now, expected = set(site.database.migrations()), set(before.migrations) | set(release.migrations)
        if now != expected:
            wrong.append(f"applied migrations differ from expectation: {', '.join(sorted(now ^ expected))}")
        # one that lay there before is no doing of these
        new = set(site.database.invalid_indexes()) - set(invalid) if begun or known_to_have_begun else set()
        wrong += [f"index {name} is invalid" for name in sorted(new)]
        if set(before.migrations) == now and site.database.schema(like=before.schema) != before.schema:
            wrong.append("the schema changed although no migration was applied")
        if not wrong:
            site.ledger.enter("migrated")
        return wrong

    old = None if before.version is None else site.ledger.known_release(before.version)
    steps = [
        arming,
        await_leftovers(site, timeout),
        *make_room(site, old, release, lambda: must_be_apart(site, version)),
        Step("run db:migrate", applied, run),
    ]
    return Plan("migrate", version, "migration", steps, verify, lambda: _evidence(site, version, begun))


def _evidence(site: Site, version: str, begun: list[tuple[float, dict[str, list[int]]]]) -> list[Observation]:
    """Look at the data afterwards, and at what was written since the migration began."""
    known, certificate = site.ledger.baseline(version), site.ledger.certificate(version)
    written = [item for start in begun for item in integrity.judge_writes(site, known, start, certificate)]
    return [*integrity.look(site, known), *integrity.check_pages(site, known), *written]
