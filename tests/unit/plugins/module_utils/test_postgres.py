"""What the application's database is asked and told, by a psql that a test answers for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._postgres import Database, applied_migrations
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, Runner
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile

pytestmark = pytest.mark.promise("M4")

DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 50 {free} 26% /data\n"


class Psql:
    """Answers SQL by its beginning, and keeps what was sent."""

    def __init__(self, free: int = 10_000) -> None:
        self.sent: list[tuple[str, str]] = []
        self.databases = {"app": "t", "app_kept_20260101t000000z": "t", "app_kept_20250101t000000z": "t", "other": "t"}
        self.free = free
        # the databases of the sessions that were ended
        self.ended: list[str] = []
        self.fails: Callable[[str], bool] = lambda _sql: False

    def run(self, argv: list[str], **_options: Any) -> Completed:  # noqa: ANN401 - any
        assert "df" in argv
        return Completed(0, DF.format(free=self.free), "")

    def psql(self, argv: list[str], sql: str, _timeout: float) -> str:
        statement = " ".join(sql.split())
        self.sent.append((argv[-1], statement))
        if self.fails(statement):
            raise CommandError(argv, 3, "ERROR: database is being accessed by other users")
        return self.answer(statement)

    def end_sessions(self, argv: list[str]) -> None:
        self.ended.append(argv[-1])

    def answer(self, sql: str) -> str:
        if sql == "SHOW data_directory":
            return "/data\n"
        if sql.startswith("SELECT datname"):
            return "".join(f"{name}\n" for name in self.databases)
        for name, accepts in self.databases.items():
            if sql.endswith(f"WHERE datname = '{name}'"):
                return f"{accepts if 'datallowconn' in sql else '4711'}\n"
        return ""


def database(psql: Psql) -> Database:
    profile = SimpleNamespace(name="shop", database=SimpleNamespace(name="app", user="owner"))
    return Database(cast("Runner", psql), cast("Profile", profile), "p1")


def test_both_renames_are_one_transaction_after_the_sessions_ended() -> None:
    psql = Psql()
    database(psql).swap("app_restored", "app_kept_x")
    where, sql = psql.sent[-1]
    assert where == "postgres"
    assert psql.ended == ["app_restored", "app"]
    statements = [part.strip() for part in sql.split(";")]
    begin, commit = statements.index("BEGIN"), statements.index("COMMIT")
    assert statements[begin + 1 : commit] == [
        'ALTER DATABASE "app" RENAME TO "app_kept_x"',
        'ALTER DATABASE "app_restored" RENAME TO "app"',
        'ALTER DATABASE "app_kept_x" ALLOW_CONNECTIONS true',
    ]
    assert statements[0] == 'ALTER DATABASE "app" ALLOW_CONNECTIONS false'
    assert "pg_terminate_backend" in statements[1]


def test_a_swap_that_fails_leaves_the_present_one_open() -> None:
    psql = Psql()
    psql.databases["app"] = "f"
    psql.fails = lambda sql: "BEGIN" in sql
    with pytest.raises(CommandError, match="other users"):
        database(psql).swap("app_restored", "app_kept_x")
    assert psql.sent[-1] == ("postgres", 'ALTER DATABASE "app" ALLOW_CONNECTIONS true')


def test_where_the_present_one_is_gone_the_restored_one_takes_its_name() -> None:
    psql = Psql()
    del psql.databases["app"]
    database(psql).swap("app_restored", "app_kept_x")
    assert psql.sent[-1] == ("postgres", 'ALTER DATABASE "app_restored" RENAME TO "app";')
    assert database(psql).size() == 0


def test_room_is_checked_and_what_lacks_is_said() -> None:
    database(Psql(free=2148)).check_room(1_000_000, 1_000_000)
    with pytest.raises(SlipwayError) as caught:
        database(Psql(free=1024)).check_room(1_000_000, 1_000_000)
    assert str(caught.value) == (
        "restoring needs 2 MB and /data in the database's container has 1 MB free: make room there"
    )


def test_kept_databases_are_listed_and_names_are_not_cut_by_postgresql() -> None:
    psql = Psql()
    assert database(psql).kept() == ["app_kept_20250101t000000z", "app_kept_20260101t000000z"]
    profile = SimpleNamespace(name="shop", database=SimpleNamespace(name="a" * 63, user="owner"))
    long = Database(cast("Runner", psql), cast("Profile", profile), "p1")
    assert len(long.kept_name("20260101t000000z")) <= 63
    assert len(long.copy_name) <= 63


def test_its_own_name_is_never_dropped() -> None:
    psql = Psql()
    with pytest.raises(SlipwayError, match="is never dropped"):
        database(psql).drop("app")
    assert psql.sent == []


def applied(*tables: str) -> tuple[list[str], list[str]]:
    """What is applied, and what was asked for it, where these tables are found: each row as psql gives it."""
    asked: list[str] = []

    def query(sql: str) -> list[list[str]]:
        asked.append(" ".join(sql.split()))
        return [row.split("|") for row in tables] if "pg_class" in sql else [["10"], ["9"]]

    return applied_migrations(query), asked


def test_what_rails_applied_is_found_in_whatever_schema_it_keeps_it() -> None:
    assert applied()[0] == []
    assert applied('"My App".schema_migrations|f')[0] == ["9", "10"]
    found, asked = applied("public.schema_migrations|t", "tenant.schema_migrations|f")
    assert found == ["9", "10"]
    assert asked[-1] == "SELECT version FROM public.schema_migrations"


def test_of_several_none_is_guessed() -> None:
    with pytest.raises(SlipwayError, match=r"there are a\.schema_migrations, b\.schema_migrations"):
        applied("a.schema_migrations|f", "b.schema_migrations|f")
