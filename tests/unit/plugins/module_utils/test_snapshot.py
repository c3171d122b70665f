"""A point in time: the session that holds it answers, says why it ends, and never outlives its input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import IO, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._process import Runner
from ansible_collections.slipway.release.plugins.module_utils._snapshot import open_snapshot

pytestmark = pytest.mark.promise("M1")

# what psql does with a session's input, as far as it matters: statements are answered, \echo echoes, an error ends it
PSQL = r"""
import sys
for line in sys.stdin:
    if "pg_export_snapshot" in line:
        print("00000003-0000001B-1")
    elif line.startswith("\\echo "):
        print(line[6:].strip())
    elif "SELECT 1" in line:
        print("1\x1fone\n2\x1ftwo")
    elif "FAIL" in line:
        sys.stderr.write("ERROR:  it cannot be done\n")
        sys.exit(3)
    sys.stdout.flush()
"""


class Host:
    """Starts the stand-in, and keeps what it started."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        assert argv == ["psql"]
        process = subprocess.Popen(
            [sys.executable, "-c", PSQL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        self.started.append(process)
        return process


def test_a_snapshot_has_an_id_and_answers_until_its_context_ends() -> None:
    host = Host()
    with open_snapshot(cast("Runner", host), ["psql"]) as snapshot:
        assert snapshot.id == "00000003-0000001B-1"
        assert snapshot.query("SELECT 1") == [["1", "one"], ["2", "two"]]
        assert snapshot.query("SELECT nothing") == []
        assert host.started[0].poll() is None
    assert host.started[0].poll() == 0


def test_the_session_ends_when_the_work_inside_fails() -> None:
    host = Host()
    with pytest.raises(KeyError), open_snapshot(cast("Runner", host), ["psql"]):
        raise KeyError
    assert host.started[0].poll() == 0


def test_why_a_query_failed_is_said_and_it_does_not_hang() -> None:
    host = Host()
    with (
        pytest.raises(CommandError, match="it cannot be done"),
        open_snapshot(cast("Runner", host), ["psql"]) as snapshot,
    ):
        snapshot.query("FAIL")
    assert host.started[0].poll() == 3
