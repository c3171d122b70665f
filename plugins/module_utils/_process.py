# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on the host: one way to run them, so that tests can stand in for the host."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable, Protocol

from ._errors import CommandError, SlipwayError, tail
from ._psql import Sessions
from ._quiet import quiet

# As `nice` has it by default.
_NICE = 10


def come_after_visitors() -> None:
    """Let this process, and what it starts from here on, have the processors that visitors leave."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


@dataclass(frozen=True)
class Completed:
    """A command that ended: its exit code and what it printed, as text."""

    returncode: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """What the engine needs of a host: run a command to its end, or read its output as it comes."""

    def run(  # noqa: PLR0913 - named options of one system call
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        owner: int | None = None,
        timeout: float = 60,
    ) -> Completed:
        """Run `argv` to its end; `check` turns a non-zero exit into CommandError."""

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start `argv` with binary pipes for its input and output; its messages go to the file `errors`.

        With subprocess.STDOUT in place of a file they come with the output.
        """

    def psql(self, argv: Sequence[str], sql: str, timeout: float) -> str:
        """What `sql` prints in the psql that `argv` starts, which stays for the next question."""

    def end_sessions(self, argv: Sequence[str] | None = None) -> None:
        """End the psql that `argv` started and that stayed, or every one."""


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**quiet(os.environ), "LC_ALL": "C.UTF-8", **(extra or {})}


def _account(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise SlipwayError(
            f"the application's checkout belongs to the user id {uid}, which has no account on this host: chown it to "
            "one that has"
        ) from None


def _nothing() -> tuple[int, ...]:
    return ()


class HostRunner:
    """Runs commands on this host. Values that are secret travel in `env` or `text`, never in `argv`.

    :param held: the site's open lock. Docker's commands inherit it: one that outlives this process, because that was
        killed, keeps the site busy until it ends. Others do not, for they may leave something behind that stays (git an
        SSH connection).
    """

    def __init__(self, held: Callable[[], tuple[int, ...]] = _nothing) -> None:
        self._held = held
        self._sessions = Sessions(self.stream)

    def run(  # noqa: PLR0913 - named options of one system call
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        owner: int | None = None,
        timeout: float = 60,
    ) -> Completed:
        """Run `argv` to its end, as the user `owner` (a uid) when given.

        :param timeout: seconds; when they pass, the command and what it started are killed and CommandError raised
            whatever `check` says.
        """
        environment = _environment(env)
        account = _account(owner) if owner and os.geteuid() == 0 else None
        if account is not None:
            environment.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
                cwd=cwd,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
                start_new_session=True,
                pass_fds=self._held() if argv[0] == "docker" else (),
            )
        except FileNotFoundError as error:
            missing = cwd if cwd and not Path(cwd).is_dir() else argv[0]
            raise SlipwayError(f"{missing} is not on this host: install it, or mend PATH") from error
        with process:
            try:
                stdout, stderr = process.communicate(text, timeout)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                printed = "".join(process.communicate())
                raise CommandError(list(argv), None, f"{tail(printed)}\nafter {timeout:.0f} s") from error
        if check and process.returncode != 0:
            raise CommandError(list(argv), process.returncode, f"{tail(stdout)}\n{tail(stderr)}")
        return Completed(process.returncode, stdout, stderr)

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start `argv`; the caller uses the pipes, waits for it and looks at its exit code."""
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(None),
            pass_fds=self._held() if argv[0] == "docker" else (),
        )

    def psql(self, argv: Sequence[str], sql: str, timeout: float) -> str:
        """Ask a psql that stays; `timeout` in seconds."""
        return self._sessions.query(argv, sql, timeout)

    def end_sessions(self, argv: Sequence[str] | None = None) -> None:
        """End one session, or all; the next question starts one anew."""
        self._sessions.end(argv)
