"""psql sessions that stay: one is asked again and again, and whatever ended it, the next question finds another."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _psql
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._psql import Sessions, rows_of

pytestmark = pytest.mark.promise("M4")

# what psql does with its input, as far as it matters here: what was SET is forgotten when it is told to
PSQL = r"""
import sys, time
setting = "none"
for line in sys.stdin:
    if line.startswith("\\echo "):
        print(line[6:].strip())
    elif "DISCARD ALL" in line:
        setting = "none"
    elif "SET" in line:
        setting = "some"
    elif "SHOW" in line:
        print(setting)
    elif "SLEEP" in line:
        time.sleep(60)
    elif "FAIL" in line:
        sys.stderr.write("ERROR:  it cannot be done\n")
        sys.exit(3)
    sys.stdout.flush()
"""
BROKEN = "import sys; sys.stderr.write('OCI runtime exec failed: exec failed'); sys.exit(126)"


class Host:
    """Starts stand-ins, and keeps what it started; the first `broken` of them Docker fails to start."""

    def __init__(self, broken: int = 0) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.broken = broken

    def start(self, argv: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        del argv
        script = BROKEN if len(self.started) < self.broken else PSQL
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        self.started.append(process)
        return process


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    for process in made.started:
        process.kill()
        process.wait()


@pytest.fixture
def sessions(host: Host) -> Iterator[Sessions]:
    made = Sessions(host.start)
    yield made
    made.end()


def test_one_session_answers_again_and_again_and_each_question_finds_it_as_new(host: Host, sessions: Sessions) -> None:
    assert sessions.query(["psql"], "SET x = 1;\nSHOW x", 10) == "some\n"
    assert sessions.query(["psql"], "SHOW x", 10) == "none\n"
    assert len(host.started) == 1


def test_each_database_has_its_own(host: Host, sessions: Sessions) -> None:
    sessions.query(["psql", "one"], "SHOW x", 10)
    sessions.query(["psql", "other"], "SHOW x", 10)
    assert len(host.started) == len(("one", "other"))


def test_a_statement_that_fails_says_why_and_the_next_finds_another_session(host: Host, sessions: Sessions) -> None:
    with pytest.raises(CommandError, match="it cannot be done"):
        sessions.query(["psql"], "FAIL", 10)
    assert sessions.query(["psql"], "SHOW x", 10) == "none\n"
    assert [process.poll() for process in host.started] == [3, None]


def test_a_session_that_its_server_ended_meanwhile_is_replaced(host: Host, sessions: Sessions) -> None:
    sessions.query(["psql"], "SHOW x", 10)
    host.started[0].kill()
    host.started[0].wait()
    assert sessions.query(["psql"], "SHOW x", 10) == "none\n"


def test_a_question_that_takes_too_long_is_ended_and_says_so(host: Host, sessions: Sessions) -> None:
    with pytest.raises(CommandError, match="ran out of time: after 0 s"):
        sessions.query(["psql"], "SLEEP", 0.3)
    assert host.started[0].poll() is not None


def test_one_that_docker_failed_to_start_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_psql, "STARTING_AGAIN", (0.0, 0.0))
    host = Host(broken=2)
    sessions = Sessions(host.start)
    assert sessions.query(["psql"], "SHOW x", 10) == "none\n"
    sessions.end()
    assert [process.poll() for process in host.started] == [126, 126, 0]


def test_docker_that_fails_for_good_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_psql, "STARTING_AGAIN", (0.0, 0.0))
    with pytest.raises(CommandError, match="OCI runtime exec failed"):
        Sessions(Host(broken=9).start).query(["psql"], "SHOW x", 10)


def test_when_told_they_end(host: Host, sessions: Sessions) -> None:
    sessions.query(["psql"], "SHOW x", 10)
    sessions.end()
    assert host.started[0].poll() == 0


def test_one_can_be_ended_and_the_others_stay(host: Host, sessions: Sessions) -> None:
    for name in ("one", "other"):
        sessions.query(["psql", name], "SHOW x", 10)
    sessions.end(["psql", "one"])
    sessions.end(["psql", "nobody's"])
    assert [process.poll() for process in host.started] == [0, None]


def test_rows_are_told_apart_by_lines_and_columns_by_the_separator() -> None:
    assert rows_of("1\x1fone\n2\x1f\n") == [["1", "one"], ["2", ""]]


def test_a_question_that_is_answered_while_it_is_asked_comes_to_its_end(host: Host) -> None:
    """A database of many tables: both pipes are full where nobody reads before all is written."""
    sql = "\n".join(f"SHOW {number} {'x' * 100}" for number in range(40_000))
    sessions, begun = Sessions(host.start), time.monotonic()
    assert sessions.query(["psql"], sql, 30).splitlines() == ["none"] * 40_000
    assert time.monotonic() - begun < 25
    sessions.end()
