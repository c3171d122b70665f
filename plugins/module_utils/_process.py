# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on the host: one way to run them, so that tests can stand in for the host."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ._errors import CommandError, SlipwayError

OUTPUT_TAIL = 4000


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

    def stream(self, argv: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start `argv` with binary pipes for its input and output; its messages go to the file `errors`."""


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", **(extra or {})}


class HostRunner:
    """Runs commands on this host. Values that are secret travel in `env` or `text`, never in `argv`."""

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

        :param timeout: seconds; when they pass, the command is killed and CommandError raised whatever `check` says.
        """
        environment = _environment(env)
        account = pwd.getpwuid(owner) if owner and os.geteuid() == 0 else None
        if account is not None:
            environment.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
        try:
            done = subprocess.run(
                list(argv),
                input=text,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                cwd=cwd,
                timeout=timeout,
                check=False,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
            )
        except FileNotFoundError as error:
            missing = cwd if cwd and not Path(cwd).is_dir() else argv[0]
            raise SlipwayError(f"{missing} is not on this host: install it, or mend PATH") from error
        except subprocess.TimeoutExpired as error:
            printed = b"".join(part for part in (error.stdout, error.stderr) if isinstance(part, bytes))
            raise CommandError(
                list(argv), None, f"{printed[-OUTPUT_TAIL:].decode(errors='replace')}\nafter {timeout:.0f} s"
            ) from error
        if check and done.returncode != 0:
            raise CommandError(
                list(argv), done.returncode, (done.stdout[-OUTPUT_TAIL:] + "\n" + done.stderr[-OUTPUT_TAIL:])
            )
        return Completed(done.returncode, done.stdout, done.stderr)

    def stream(self, argv: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start `argv`; the caller uses the pipes, waits for it and looks at its exit code."""
        return subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=_environment(None)
        )
