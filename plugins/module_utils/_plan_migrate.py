# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations: run once by the new image, and looked at afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ._engine import Plan, Step
from ._errors import OutOfOrderError, SlipwayError

if TYPE_CHECKING:
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


def migrate(site: Site, version: str, timeout: float) -> Plan:
    """The plan that applies the migrations of `version` that the database lacks.

    :param timeout: seconds that `db:migrate` may take.
    """
    candidate = site.ledger.state().candidate
    if candidate is None or candidate.version != version or not candidate.reached("rehearsed"):
        raise OutOfOrderError(
            f"release {version} may not migrate: it was not backed up and rehearsed, start deploy.yml at its beginning"
        )
    release = site.ledger.known_release(version)
    before = candidate.before

    def applied() -> bool:
        return set(release.migrations) <= set(site.database.migrations())

    def run() -> dict[str, Any]:
        missing = sorted(set(release.migrations) - set(site.database.migrations()), key=int)
        # an empty database is set up as Rails does it, with the seeds that no migration brings
        task = "db:prepare" if before.version is None and site.database.tables() == 0 else "db:migrate"
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
        wrong += [f"index {name} is invalid" for name in site.database.invalid_indexes()]
        if set(before.migrations) == now and site.database.schema() != before.schema:
            wrong.append("the schema changed although no migration was applied")
        if not wrong:
            site.ledger.enter("migrated")
        return wrong

    return Plan("migrate", version, "migration", [Step("run db:migrate", applied, run)], verify)
