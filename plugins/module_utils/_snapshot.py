# SPDX-License-Identifier: GPL-3.0-or-later
"""A point in time of the database, held open by a session of its own."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ._errors import SlipwayError
from ._stored import close, finish, piped

if TYPE_CHECKING:
    from ._process import Runner

ENDING_TIMEOUT = 30

_NO_TIMEOUT = """
    SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') \\g /dev/null
"""


class Snapshot:
    """One point in time of a database, which lasts as long as the session that exported it.

    :param process: psql in the database's container; it ends when its input does, so also when this process is killed.
    """

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self.query(_NO_TIMEOUT)
        self.id = self.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()")[0][0]

    def query(self, sql: str) -> list[list[str]]:
        """The rows that `sql` returns at this point in time, each a list of texts."""
        end = uuid.uuid4().hex
        try:
            stdin = piped(self._process.stdin)
            stdin.write(f"{sql}\n;\n\\echo {end}\n".encode())
            stdin.flush()
        except BrokenPipeError:
            pass  # why it stopped reading is in its exit code and message
        rows: list[list[str]] = []
        for line in piped(self._process.stdout):
            text = line.decode(errors="replace").rstrip("\n")
            if text == end:
                return rows
            rows.append(text.split("\x1f"))
        finish(self._process, self._errors, ["psql"])
        raise SlipwayError("the session that holds the point in time of the backup was ended from outside: run again")


@contextmanager
def open_snapshot(runner: Runner, argv: list[str]) -> Iterator[Snapshot]:
    """Hold a point in time by the psql that `argv` starts."""
    with tempfile.TemporaryFile() as errors:
        process = runner.stream(argv, errors)
        try:
            yield Snapshot(process, errors)
        finally:
            close(process)
            try:
                process.wait(ENDING_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
