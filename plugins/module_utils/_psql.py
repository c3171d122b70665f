# SPDX-License-Identifier: GPL-3.0-or-later
"""psql sessions that stay: starting one in a container takes a tenth of a second, asking it next to nothing."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from typing import IO, Callable

from ._errors import STARTING_AGAIN, CommandError
from ._stored import close, finish, piped

ENDING_TIMEOUT = 30
READY_AFTER = 60
OPTIONS = (
    *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--field-separator", "\x1f"),
    *("--set", "ON_ERROR_STOP=1"),
)
# what a question may have left set, so that the next finds a session as good as new
_AFRESH = "DISCARD ALL"


class Psql:
    """One psql. It ends when its input does, so also when this process is killed, and at the first error.

    :param process: psql with OPTIONS, started with pipes.
    :param errors: where its messages go.
    """

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self._lock = threading.Lock()

    def query(self, sql: str, timeout: float) -> str:
        """What `sql` prints; CommandError when it fails, takes over `timeout` seconds, or the session is gone."""
        end, late = uuid.uuid4().hex, threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        with self._lock:
            watch = threading.Timer(timeout, stop)
            watch.daemon = True
            watch.start()
            try:
                return self._answer(f"{sql}\n;\n\\echo {end}\n", end)
            except CommandError as error:
                if late.is_set():
                    raise CommandError(["psql"], None, f"after {timeout:.0f} s") from error
                raise
            finally:
                watch.cancel()

    def _ask(self, question: str) -> None:
        try:
            stdin = piped(self._process.stdin)
            stdin.write(question.encode())
            stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # why it stopped reading is in its exit code and message

    def _answer(self, question: str, end: str) -> str:
        # psql answers while it still reads: where nobody took its answers, a long question would never end
        asking = threading.Thread(target=self._ask, args=(question,), daemon=True)
        asking.start()
        lines: list[str] = []
        for line in piped(self._process.stdout):
            text = line.decode(errors="replace")
            if text.rstrip("\n") == end:
                return "".join(lines)
            lines.append(text)
        asking.join()
        finish(self._process, self._errors, ["psql"])
        raise CommandError(["psql"], None, "the session was ended from outside")

    def end(self) -> None:
        """Let it end, and wait until it has."""
        close(self._process)
        try:
            self._process.wait(ENDING_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


class Sessions:
    """The sessions that stay, one for each database that was asked.

    :param start: starts a program with pipes, its messages going to a file.
    """

    def __init__(self, start: Callable[[Sequence[str], IO[bytes]], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._open: dict[tuple[str, ...], Psql] = {}
        self._lock = threading.Lock()

    def query(self, argv: Sequence[str], sql: str, timeout: float) -> str:
        """What `sql` prints in the psql that `argv` starts; see Psql.query."""
        key = tuple(argv)
        session = self._ready(key)
        try:
            return session.query(sql, timeout)
        except CommandError:
            with self._lock:
                self._open.pop(key, None)
            session.end()
            raise

    def _ready(self, key: tuple[str, ...]) -> Psql:
        with self._lock:
            session = self._open.get(key)
            if session is not None:
                try:
                    session.query(_AFRESH, READY_AFTER)
                except CommandError:
                    # ended since, with its server or by it: nothing was asked of it yet
                    session.end()
                else:
                    return session
            self._open[key] = self._started(key)
            return self._open[key]

    def _started(self, key: tuple[str, ...]) -> Psql:
        """A session that answers. Docker sometimes fails to start one, see Docker.execute."""
        for pause in (*STARTING_AGAIN, None):
            errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the session
            session = Psql(self._start(key, errors), errors)
            try:
                session.query(_AFRESH, READY_AFTER)
            except CommandError as error:
                session.end()
                if pause is None or not error.not_started:
                    raise
                time.sleep(pause)
            else:
                break
        return session

    def end(self, argv: Sequence[str] | None = None) -> None:
        """End the one that `argv` started, or all: as long as one is there, nobody can rename or copy its database."""
        with self._lock:
            for key in [tuple(argv)] if argv is not None else list(self._open):
                session = self._open.pop(key, None)
                if session is not None:
                    session.end()


def rows_of(printed: str) -> list[list[str]]:
    """The rows that psql printed, each a list of texts."""
    # what else Unicode ends lines with may be in a value
    return [line.split("\x1f") for line in printed.removesuffix("\n").split("\n")] if printed else []
