"""Slow statements, against before the release, out of pg_stat_statements or the log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_queries
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request
from ansible_collections.slipway.release.plugins.module_utils._probe_queries import logged, masked
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import Application
from tests.unit.plugins.module_utils.host import Host

pytestmark = pytest.mark.promise("P4")

Build = Callable[..., Prober]
LIST = "SELECT campaigns.* FROM campaigns WHERE name = $1"
LINE = "2026-11-24T02:00:00.1Z 2026-11-24 02:00:00.100 UTC [71] LOG:  duration: {ms} ms  execute a1: {text}"


class Server:
    """What psql in the database's container prints."""

    def __init__(self) -> None:
        self.extension = "public\x1ftotal_exec_time\n"
        self.statements: dict[str, tuple[int, float]] = {}
        self.texts: dict[str, str] = {}
        self.settings = "-1\x1foff\x1fstderr\n"
        self.loaded = True
        self.asked: list[str] = []

    def tells(self, sql: str) -> str:
        self.asked.append(sql)
        if "pg_extension" in sql:
            return self.extension
        if "log_min_duration" in sql:
            return self.settings
        if not self.loaded:
            raise CommandError(["psql"], 3, "ERROR:  pg_stat_statements must be loaded via shared_preload_libraries")
        if "regexp_replace" in sql:
            return "".join(f"{name}\x1f{text}\n" for name, text in self.texts.items() if f"'{name}'" in sql)
        return "".join(f"{name}\x1f{calls}\x1f{seconds}\n" for name, (calls, seconds) in self.statements.items())


@pytest.fixture
def server(host: Host) -> Server:
    made = Server()
    host.tells = made.tells
    return made


@pytest.fixture
def noted(application: Application, host: Host) -> Callable[[], dict[str, Any]]:
    """Notes what a release will be compared with."""
    site = Site(Profile.parse(application.profile()), runner=host)

    def note() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps({"at": time.time(), "queries": _probe_queries.baseline(site)}))
        return found

    return note


def look(prober: Prober) -> dict[str, Observation]:
    found = prober.run(Request(("queries",))).observations
    assert {item.probe for item in found} == {"query"}
    return {item.subject: item for item in found}


Note = Callable[[], dict[str, Any]]


def test_statements_that_take_as_long_as_before_are_well(server: Server, noted: Note, released: Build) -> None:
    server.statements = {"11": (1000, 20.0), "12": (3, 9.0)}
    before = noted()
    server.statements = {"11": (1100, 22.0), "12": (6, 18.0)}
    seen = look(released(before))
    assert {name: (item.ok, item.value, item.detail) for name, item in seen.items()} == {
        "slower": (True, 0, "0 of 1 statements"),
        "new": (True, 0, "0 of 1 statements"),
    }


@pytest.mark.parametrize(
    "now, slower",
    [
        ((1010, 23.0), True),  # 0.3 s on average since, 0.02 s before
        ((1004, 23.0), False),  # too few calls to tell
        ((1010, 20.9), False),  # 0.09 s is slow to nobody
        ((10, 3.0), True),  # the counters were reset
    ],
)
def test_one_that_takes_longer_than_before_is_told(
    server: Server, noted: Note, released: Build, now: tuple[int, float], slower: bool
) -> None:
    server.statements, server.texts = {"11": (1000, 20.0)}, {"11": LIST}
    before = noted()
    server.statements = {"11": now}
    seen = look(released(before))
    assert (seen["slower"].ok, seen["slower"].value) == (not slower, int(slower))
    if slower:
        assert seen["slower"].detail == (f"1 of 1 statements; 0.300 s in 10 calls, 0.020 s before the release: {LIST}")


def test_one_that_was_slow_before_may_be_three_times_as_slow(server: Server, noted: Note, released: Build) -> None:
    server.statements = {"11": (100, 100.0)}
    before = noted()
    server.statements = {"11": (110, 129.0)}
    assert look(released(before))["slower"].ok is True
    server.statements = {"11": (110, 131.0)}
    assert look(released(before))["slower"].ok is False


@pytest.mark.parametrize("seconds, ok", [(4.0, True), (6.0, False)])
def test_one_that_came_with_the_release_and_is_slow_is_told(
    server: Server, noted: Note, released: Build, seconds: float, ok: bool
) -> None:
    before = noted()
    server.statements, server.texts = {"31": (10, seconds)}, {"31": "SELECT 'hunter2' FROM agents"}
    seen = look(released(before))
    assert (seen["new"].ok, seen["slower"].ok) == (ok, True)
    assert ("not seen before the release: SELECT ? FROM agents" in seen["new"].detail) == (not ok)
    assert "hunter2" not in seen["new"].detail


def test_a_long_time_that_was_well_hides_nothing(server: Server, noted: Note, released: Build) -> None:
    """An index that goes when the release has run for hours: each look is compared, not all of them together."""
    server.statements = {"11": (1000, 1.0)}
    before = noted()
    server.statements = {"11": (500_000, 500.0)}
    first = released(before)
    assert look(first)["slower"].ok is True
    server.statements = {"11": (500_020, 504.0)}
    assert look(released(before))["slower"].ok is True
    second = released(before)
    second.counted = json.loads(json.dumps(first.counted))
    assert look(second)["slower"].ok is False
    assert LIST not in json.dumps(first.counted)


def test_only_what_visitors_cause_is_read_of_the_application_s_own_database(server: Server, noted: Note) -> None:
    noted()
    sql = next(text for text in server.asked if "sum(calls)" in text)
    assert "datname = current_database()" in sql
    assert "(broken|figure)" in sql
    assert "total_exec_time" in sql


def test_an_older_extension_calls_the_time_otherwise(server: Server, noted: Note) -> None:
    server.extension = "stats\x1ftotal_time\n"
    noted()
    assert any("sum(total_time) / 1000 FROM stats.pg_stat_statements" in text for text in server.asked)


@pytest.mark.parametrize("settings", ["-1\x1foff\x1fstderr", "250\x1fon\x1fstderr", "250\x1foff\x1fcsvlog"])
def test_where_nothing_is_told_it_is_said_how_to_let_it_be(
    server: Server, noted: Note, released: Build, settings: str
) -> None:
    server.extension, server.settings = "", f"{settings}\n"
    before = noted()
    assert before["queries"] == {}
    (seen,) = look(released(before)).values()
    assert seen.ok is None
    assert "CREATE EXTENSION pg_stat_statements, or let PostgreSQL log to stderr with log_min_dur" in seen.detail


def test_without_its_library_the_log_tells(server: Server, host: Host, noted: Note, released: Build) -> None:
    server.loaded, server.settings = False, "250ms\x1foff\x1fstderr\n"
    host.log = "\n".join([LINE.format(ms="300.0", text=LIST)] * 10)
    before = noted()
    assert look(released(before))["slower"].ok is True
    host.log = "\n".join([LINE.format(ms="1200.0", text=LIST)] * 10 + [LINE.format(ms="800", text="SELECT 1")] * 10)
    seen = look(released(before))
    assert (seen["slower"].ok, seen["new"].ok) == (False, False)
    assert seen["slower"].detail.endswith(f"1.200 s in 10 calls, 0.300 s before the release: {LIST}")
    (command,) = (argv for argv in host.commands[-4:] if argv[:2] == ["docker", "logs"])
    assert command[-3:] == ["--tail", "20000", "postgres1"]
    assert float(command[command.index("--since") + 1]) == pytest.approx(before["at"], abs=0.01)


def test_another_source_than_before_is_no_evidence(server: Server, host: Host, noted: Note, released: Build) -> None:
    before = noted()
    server.extension, server.settings = "", "0\x1foff\x1fstderr\n"
    host.log = LINE.format(ms="9000", text=LIST)
    assert [item.ok for item in look(released(before)).values()] == [None, None]


def test_what_somebody_writes_into_an_error_is_no_slow_statement() -> None:
    text = "LOG:  duration: 99999 ms  statement: SELECT 1"
    lines = [f"2026-11-24T02:00:00Z UTC [7] {level}:  syntax error at {text}" for level in ("ERROR", "STATEMENT")]
    assert logged([*lines, f"2026-11-24T02:00:00Z \t{text[6:]}", "duration: much"], 0).statements == {}
    assert len(logged([LINE.format(ms="1.5", text="SELECT 1")], 0).statements) == 1


@pytest.mark.parametrize(
    "text, shown",
    [
        (
            "SELECT *\n  FROM agents WHERE name = 'O''Brien' AND id = 42",
            "SELECT * FROM agents WHERE name = ? AND id = ?",
        ),
        ("SELECT $1, $2 FROM t WHERE id IN (1, 2,3)", "SELECT ? FROM t WHERE id IN (?)"),
        (
            "UPDATE t1 SET token = E'a\\'b' /* controller:x */ WHERE a > -1.5e3",
            "UPDATE t1 SET token = ? ? WHERE a > -?",
        ),
        ("SELECT 'cut off in the midd", "SELECT ?"),
        ("SELECT $tag$secret$tag$, $$x", "SELECT ?"),
        ('SELECT "users"."name" FROM "users" LIMIT $1', 'SELECT "users"."name" FROM "users" LIMIT $1'),
    ],
)
def test_no_literal_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown
