# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of a rehearsal: what a release's migrations did to a copy of this site's data, and the ways back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ._errors import SlipwayError

DOWN, CODE, RESTORE = "down", "code", "restore"


@dataclass(frozen=True)
class Certificate:
    """What was tried, and what came of it.

    :param migrations: the versions that were applied in the rehearsal, ascending.
    :param failed: why migrating failed; None when it did not.
    :param destroyed: what happened to values that were there before, each one line, announced or not.
    :param losses: those of them that nobody announced.
    :param down_wrong: why taking the migrations down does not give what was there before; empty when it does.
    :param side_by_side_wrong: what failed in the release before when its processes ran on while the migrations were
        applied; empty when nothing did; None when there was none to try.
    :param old_code_wrong: the same of processes that were started afterwards: Rails reads the schema once.
    :param drops: for each new column the number of values that taking the migrations down drops.
    :param locks: for each table that was there before, the strongest lock that a statement took on it.
    :param rewritten: tables that PostgreSQL wrote anew.
    :param writes: rows inserted, updated and deleted by the migrations, by table.
    :param rows: how many rows each of these tables had before.
    :param notes: what else an operator should know, each one line.
    :param seconds: how long each part took.
    :param proven: whether the backup was restored and compared, or is too large for that.
    """

    version: str
    commit: str
    backup: str
    at: str
    migrations: list[str]
    failed: str | None = None
    destroyed: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    down_wrong: list[str] = field(default_factory=list)
    side_by_side_wrong: list[str] | None = None
    old_code_wrong: list[str] | None = None
    drops: dict[str, int] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    writes: dict[str, list[int]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    proven: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Certificate:
        """Read what `to_dict` wrote; SlipwayError when it is something else."""
        known = {item.name for item in fields(cls)}
        try:
            return cls(**{name: value for name, value in data.items() if name in known})
        except TypeError as error:
            raise SlipwayError(
                f"this is no certificate of a rehearsal ({error}): hand on what `rehearse` wrote"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return asdict(self)

    @property
    def good(self) -> bool:
        """Whether the migrations may be applied to the site's own data."""
        return self.failed is None and not self.losses

    @property
    def may_keep(self) -> bool:
        """Whether the release before may run on the new schema, with every value from before."""
        return self.old_code_wrong == [] and not self.destroyed

    @property
    def road(self) -> str:
        """The way back: DOWN where it gives what was there before, CODE where that loses nothing, else RESTORE."""
        if not self.migrations:
            return CODE
        if not self.down_wrong:
            return DOWN
        return CODE if self.may_keep else RESTORE

    def plan(self, before: str) -> list[str]:
        """The written plan of a rollback to the release `before`, each step one line."""
        took = {name: f"{value:.1f} s" for name, value in self.seconds.items()}
        lines = [f"target: {before}, as it was when backup {self.backup} was taken"]
        if not self.migrations:
            return [*lines, *(self.notes or ["no migration: the containers of the release before are started again"])]
        count = len(self.migrations)
        if "migrate" in self.seconds:
            lines.append(f"window: in the rehearsal the migrations took {took['migrate']}")
        if not self.down_wrong:
            what = f"{count} migration{' is' if count == 1 else 's are'}"
            lines.append(
                f"{what} taken down, newest first ({', '.join(reversed(self.migrations))}), by "
                f"{self.version}'s image: {took.get('down', 'not measured')} in the rehearsal, all was as before"
            )
        else:
            lines.append(f"taking the {count} migrations down is no way back: {self.down_wrong[0]}")
        lines += [f"the migrations are meant to destroy values: {line}" for line in self.destroyed]
        lines += [
            f"{values} values of {column} are dropped with their column: they are saved in a backup first"
            for column, values in self.drops.items()
            if values and not self.down_wrong
        ]
        if self.side_by_side_wrong == []:
            lines.append(f"{before} passed its critical flows while it ran on: the two may run side by side")
        elif self.side_by_side_wrong:
            lines.append(f"{before} cannot run on meanwhile, it is stopped first: {self.side_by_side_wrong[0]}")
        if self.old_code_wrong == []:
            lines.append(f"{before} passed its critical flows when it was started on the new schema")
        elif self.old_code_wrong:
            lines.append(f"{before} does not run on the new schema: {self.old_code_wrong[0]}")
        if self.road == RESTORE:
            lines.append(
                f"backup {self.backup} is restored beside the database and takes its place, "
                f"{took.get('restore', 'not measured')} in the rehearsal; the present one is kept under another name"
            )
        return lines
