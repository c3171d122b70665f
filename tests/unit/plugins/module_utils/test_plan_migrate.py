from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _plan_migrate
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, Step
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._plan_migrate import migrate, migration_reason

ABORTED = """\
== 20260301000000 AddPriority: migrating ======
-- add_column(:campaigns, :priority, :integer)
bin/rails aborted!
StandardError: An error has occurred, this and all later migrations canceled: (StandardError)

campaign 17 has no owner
/app/db/migrate/20260301000001_fill.rb:5:in `up'
Tasks: TOP => db:migrate
"""


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "printed, reason",
    [
        (ABORTED, "campaign 17 has no owner"),
        (
            "bin/rails aborted!\nActiveRecord::ConnectionNotEstablished: no route\n",
            "ActiveRecord::ConnectionNotEstablished: no route",
        ),
        (
            "bin/rails aborted!\nErrno::EACCES: Permission denied\n\nTasks: TOP => db:prepare\n(See full trace)\n",
            "Errno::EACCES: Permission denied",
        ),
        ("no route to host\n", "no route to host"),
        ("\n", "it printed nothing"),
    ],
)
def test_the_reason_is_the_line_that_a_person_would_look_for(printed: str, reason: str) -> None:
    assert migration_reason(printed) == reason


class Database:
    """What a database says of itself; `form` is its schema."""

    def __init__(self) -> None:
        self.applied, self.invalid, self.form = ["1", "2"], list[str](), "s"
        self.query = None

    def migrations(self) -> list[str]:
        return self.applied

    def invalid_indexes(self) -> list[str]:
        return self.invalid

    def tables(self) -> int:
        return 5

    def schema(self, like: str) -> str:
        assert like == "s"
        return self.form


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(_plan_migrate, "writes", lambda _query: {})
    return Database()


def planned(
    root: Path, database: Database, rails: Callable[[], None], *, phase: str = "rehearsed", brings: tuple[str, ...]
) -> tuple[Ledger, Plan]:
    """The plan of a release with the migrations that it `brings`, and what Rails does when it is asked to migrate."""
    ledger = Ledger(root)
    with ledger.locked():
        ledger.save_release(Release("1.1.0", "c" * 40, {}, {}, list(brings)))
        ledger.update(candidate=Candidate("1.1.0", phase, Before(None, ["1"], "s")))

    def run(*_about: object, timeout: float) -> tuple[int, str]:
        assert timeout == 60
        rails()
        return 0, ""

    site: Any = SimpleNamespace(
        ledger=ledger, database=database, rails=run, compose_of=lambda _release: None, log=lambda *_about: "/log"
    )
    site.profile = SimpleNamespace(name="shop", proxy=SimpleNamespace(drain="none"))
    return ledger, migrate(site, "1.1.0", 60, Step("arm", lambda: True, lambda: None))


def migrating(plan: Plan) -> Step:
    """The step that runs the migrations."""
    (step,) = [item for item in plan.steps if isinstance(item, Step) and item.name == "run db:migrate"]
    return step


@pytest.mark.promise("M3")
@pytest.mark.parametrize(
    "brings, applied, form, wrong",
    [
        (("1", "2"), ["1", "2"], "another", []),
        (("1",), ["1"], "s", []),
        (("1", "2", "3"), ["1", "2"], "another", ["applied migrations differ from expectation: 3"]),
        (("1", "2"), ["1", "2", "9"], "another", ["applied migrations differ from expectation: 9"]),
        (("1", "2"), ["2"], "another", ["applied migrations differ from expectation: 1"]),
        (("1", "2"), ["1", "9"], "another", ["applied migrations differ from expectation: 2, 9"]),
        (("1",), ["1"], "another", ["the schema changed although no migration was applied"]),
    ],
)
def test_migrations_count_as_applied_when_they_are_and_nothing_else_is(
    tmp_path: Path, database: Database, brings: tuple[str, ...], applied: list[str], form: str, wrong: list[str]
) -> None:
    def rails() -> None:
        database.applied = applied

    database.applied, database.form = ["1"], form
    ledger, plan = planned(tmp_path, database, rails, brings=brings)
    step = migrating(plan)
    with ledger.locked():
        if not step.done():
            step.apply()
        assert plan.verify() == wrong
    candidate = ledger.state().candidate
    assert candidate is not None
    assert (candidate.phase == "migrated") is (not wrong)


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "phase, before, applied, wrong",
    [
        # an index that lay there before is no doing of these migrations, and one that came with them is
        ("rehearsed", ["old"], True, []),
        ("rehearsed", [], True, ["index old is invalid"]),
        # what a process that was killed left is of these, whether they are run once more or not
        ("migrating", ["old"], True, ["index old is invalid"]),
        ("migrating", ["old"], False, ["index old is invalid"]),
        # where none is applied nothing made it
        ("rehearsed", ["old"], False, []),
    ],
)
def test_an_index_that_a_migration_left_invalid_is_told(
    tmp_path: Path, database: Database, phase: str, before: list[str], applied: bool, wrong: list[str]
) -> None:
    def rails() -> None:
        database.invalid = ["old"]

    database.invalid = before
    ledger, plan = planned(tmp_path, database, rails, phase=phase, brings=("1", "2"))
    with ledger.locked():
        if applied:
            migrating(plan).apply()
        assert plan.verify() == wrong
