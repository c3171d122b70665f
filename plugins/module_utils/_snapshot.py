# SPDX-License-Identifier: GPL-3.0-or-later
"""A point in time of the database, held open by a session of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._psql import Psql, rows_of

if TYPE_CHECKING:
    from ._process import Runner

# Seconds that a question may take: all rows of a large database are hashed.
LONGEST = 4 * 3600.0

_NO_TIMEOUT = """
    SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') \\g /dev/null
"""


class Snapshot:
    """One point in time of a database, which lasts as long as the session that exported it."""

    def __init__(self, session: Psql) -> None:
        self._session = session
        self.query(_NO_TIMEOUT)
        self.id = self.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()")[0][0]

    def query(self, sql: str) -> list[list[str]]:
        """The rows that `sql` returns at this point in time, each a list of texts."""
        return rows_of(self._session.query(sql, LONGEST))


@contextmanager
def open_snapshot(runner: Runner, argv: list[str]) -> Iterator[Snapshot]:
    """Hold a point in time by the psql that `argv` starts."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the session
    session = Psql(runner.stream(argv, errors), errors)
    try:
        yield Snapshot(session)
    finally:
        session.end()
