from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._trace import Trace, hazards, since

pytestmark = pytest.mark.promise("G6")

PRINTED = """
== 20260302080000 AddPriority: migrating =====
== 20260302080000 AddPriority: migrated (16.2000s) =====
== 20260302080100 Fill: migrated (0.0100s) =====
"""


class Server:
    """A database while migrations run: its counters, and what the event triggers wrote down."""

    def __init__(self, seen: list[list[str]]) -> None:
        self.seen = seen
        self.counters = [["public.campaigns", "200", "3", "0"], ["public.idle", "1", "1", "1"]]
        self.asked: list[str] = []

    def __call__(self, sql: str) -> list[list[str]]:
        self.asked.append(sql)
        if "pg_stat_user_tables" in sql:
            return [[""], *self.counters]
        if "SELECT DISTINCT" in sql:
            return self.seen
        return [["public.broken_index"]] if "indisvalid" in sql else []


def test_locks_rewrites_writes_and_conflicts_are_told() -> None:
    server = Server(
        [
            ["lock_timeout", "0"],
            ["public.campaigns", "AccessShareLock"],
            ["public.campaigns", "AccessExclusiveLock"],
            ["public.campaigns", "ShareLock"],
            ["public.campaigns", "rewritten"],
            ["public.tasks", "RowExclusiveLock"],
            ["public.brand_new", "AccessExclusiveLock"],
            ["statement_timeout", "30000"],
        ]
    )
    trace = Trace(server)
    trace.begin()
    server.counters = [["public.campaigns", "200", "203", "0"], ["public.idle", "1", "1", "1"]]
    seen = trace.end(["public.campaigns", "public.tasks"], PRINTED)
    assert seen.locks == {"public.campaigns": "AccessExclusiveLock"}
    assert seen.rewritten == ["public.campaigns"]
    assert seen.writes == {"public.campaigns": [0, 200, 0]}
    assert seen.notes == [
        "public.campaigns is written anew, and nobody may read it meanwhile",
        "index public.broken_index is invalid afterwards",
        "20260302080000 AddPriority took 16.2000 s here, and statement_timeout ends a statement after 30 s",
        "no lock_timeout is set: while a migration waits for its lock on public.campaigns, everybody waits",
    ]
    assert "DROP SCHEMA slipway CASCADE" in server.asked[-2]


def test_counters_that_were_reset_count_from_nothing() -> None:
    assert since({"a": [5, 5, 5], "b": [1, 1, 1]}, {"a": [1, 5, 5], "b": [1, 1, 1], "c": [0, 0, 2]}) == {
        "a": [1, 0, 0],
        "c": [0, 0, 2],
    }


def test_the_source_of_a_migration_says_what_is_dangerous_about_it(tmp_path: Path) -> None:
    (tmp_path / "1_add.rb").write_text("add_column :a, :b, :string")
    (tmp_path / "2_index.rb").write_text("disable_ddl_transaction!\nadd_index :a, :b, algorithm: :concurrently")
    (tmp_path / "3_forget.rb").write_text("def down = raise(ActiveRecord::IrreversibleMigration)")
    (tmp_path / "4_fill.rb").write_text("Campaign.update_all(b: 1)")
    (tmp_path / "2026").mkdir()
    (tmp_path / "2026/005_more.rb").write_text("execute 'ANALYZE'")
    named = [line.split()[0] for line in hazards(tmp_path, ["1", "2", "3", "4", "5"])]
    assert named == ["2_index.rb", "3_forget.rb", "4_fill.rb", "005_more.rb"]
