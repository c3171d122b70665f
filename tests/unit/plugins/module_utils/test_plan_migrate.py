from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _plan_migrate
from ansible_collections.slipway.release.plugins.module_utils._engine import Step
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, before: list[str], applied: bool, wrong: list[str]
) -> None:
    ledger, invalid = Ledger(tmp_path), list(before)
    with ledger.locked():
        ledger.save_release(Release("1.1.0", "c" * 40, {}, {}, ["1", "2"]))
        ledger.update(candidate=Candidate("1.1.0", phase, Before(None, ["1"], "s")))
    database = SimpleNamespace(
        migrations=lambda: ["1", "2"], invalid_indexes=lambda: invalid, query=None, tables=lambda: 5
    )

    def rails(*_about: object, timeout: float) -> tuple[int, str]:
        assert timeout == 60
        invalid[:] = ["old"]
        return 0, ""

    site: Any = SimpleNamespace(
        ledger=ledger, database=database, rails=rails, compose_of=lambda _release: None, log=lambda *_about: "/log"
    )
    site.profile = SimpleNamespace(name="shop", proxy=SimpleNamespace(drain="none"))
    monkeypatch.setattr(_plan_migrate, "writes", lambda _query: {})
    plan = migrate(site, "1.1.0", 60, Step("arm", lambda: True, lambda: None))
    run = cast("Step", plan.steps[-1])
    with ledger.locked():
        if applied:
            run.apply()
        assert plan.verify() == wrong
