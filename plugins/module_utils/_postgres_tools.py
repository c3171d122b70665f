# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_dump and pg_restore of the server's own image, over a directory of the host.

They run beside the server, in a throwaway container in its network, with the directory mounted: nothing is copied.
Where that cannot be (a server that listens on its socket alone, an engine without root), they run inside the server's
own container, and the directory goes in or out as one tar.
"""

from __future__ import annotations

import json
import shlex
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._compose import NOT_THE_PROJECT_S, YIELDS
from ._errors import CommandError, tail
from ._snapshot import LONGEST
from ._stored import StoredFile, finish, make_durable, piped, receive, send

if TYPE_CHECKING:
    from ._process import Runner

# On what runs beside the server; the value is the application's name.
LABEL = "slipway.tools"
# The password, where the server asks for one, comes from the container's own environment and stays there.
WITH_PASSWORD = 'PGPASSWORD="${POSTGRES_PASSWORD:-}"'  # noqa: S105 - the name of a variable, not its value
_MOUNTED = "/slipway"
_TEMPORARY = "/tmp/slipway-dump"  # noqa: S108 - inside the database's own container, mode 0700
# What runs beside the server says so when it cannot work there; Docker when it could not start it.
_UNABLE, _NOT_STARTED = 75, (125, 126, 127)
# Root, to read and write what root alone may, with none of its other powers, and no data directory of its own.
_CONFINED = (
    *("--rm", "--pull", "never", "--log-driver", "none", "--user", "0:0", "--userns", "host", "--cap-drop", "ALL"),
    *("--security-opt", "label=disable", "--security-opt", "no-new-privileges", "--entrypoint", "sh"),
    *("--mount", "type=tmpfs,destination=/var/lib/postgresql/data"),
)


class PostgresTools:
    """Runs a program by a shell command that finds the server by itself, and the directory under the name `$place`.

    :param container: the id, or name, of the server's running container.
    :param application: whose server it is.
    :param user: by whom the server is asked.
    """

    def __init__(self, runner: Runner, container: str, application: str, user: str) -> None:
        self._runner, self._container = runner, container
        self._application, self._user = application, user

    def write(self, directory: Path, program: str, command: str) -> dict[str, StoredFile]:
        """Run what fills the empty `directory`; returns its files by name, durable.

        :raises CommandError: it failed.
        """
        if self._beside(directory, program, command, writes=True) is None:
            return self._receive(directory, program, command)
        paths = sorted(directory.iterdir())
        with ThreadPoolExecutor(2) as pool:
            return dict(zip((path.name for path in paths), pool.map(make_durable, paths)))

    def read(self, directory: Path, program: str, command: str) -> str:
        """Run what reads `directory`; returns what it prints.

        :raises CommandError: it failed.
        """
        printed = self._beside(directory, program, command, writes=False)
        return self._send(directory, program, command) if printed is None else printed

    @cached_property
    def _server(self) -> dict[str, Any]:
        """What `docker inspect` says of the server's container."""
        found: list[dict[str, Any]] = json.loads(self._runner.run(["docker", "inspect", self._container]).stdout)
        return found[0]

    def _beside(self, directory: Path, program: str, command: str, *, writes: bool) -> str | None:
        """Run it beside the server; returns what it prints, None where it cannot run there."""
        given = dict(item.partition("=")[::2] for item in self._server["Config"]["Env"] or ())
        environment = {
            "PGHOST": "127.0.0.1",
            "PGPORT": given.get("PGPORT", "5432"),
            "PGPASSWORD": given.get("POSTGRES_PASSWORD", ""),
            "PGCONNECT_TIMEOUT": "10",
        }
        able = f'psql --no-psqlrc --username={shlex.quote(self._user)} --dbname=postgres --command="" && ls $place'
        script = f"umask 077; place={_MOUNTED}; {{ {able}; }} >&2 || exit {_UNABLE}; {command}"
        argv = ["docker", "run", *_CONFINED, *NOT_THE_PROJECT_S, *YIELDS, "--label", f"{LABEL}={self._application}"]
        mode = "rw" if writes else "ro"
        argv += ["--network", f"container:{self._container}", "--volume", f"{directory}:{_MOUNTED}:{mode}"]
        argv += [part for name in environment for part in ("--env", name)]
        done = self._runner.run(
            [*argv, self._server["Image"], "-c", script], env=environment, timeout=LONGEST, check=False
        )
        # where it has begun to write, Docker was lost under it
        if done.returncode in {_UNABLE, *_NOT_STARTED} and not (writes and any(directory.iterdir())):
            return None
        if done.returncode != 0:
            raise CommandError([program, self._application], done.returncode, tail(done.stderr))
        return done.stdout

    def _receive(self, directory: Path, program: str, command: str) -> dict[str, StoredFile]:
        """Run it inside the server's container, and take what it wrote out of there."""
        script = _inside(f"{{ {command}; }} >&2 && tar -C $place -cf - .")
        with tempfile.TemporaryFile() as errors:
            process = self._runner.stream(["docker", "exec", self._container, "sh", "-c", script], errors)
            try:
                files = receive(piped(process.stdout), directory)
            except tarfile.TarError:
                files = {}
            finish(process, errors, [program, self._application])
        return files

    def _send(self, directory: Path, program: str, command: str) -> str:
        """Bring `directory` into the server's container, and run it there."""
        script = _inside(f"tar -C $place -xf - && {{ {command}; }}")
        with tempfile.TemporaryFile() as errors:
            argv = ["docker", "exec", "--interactive", self._container, "sh", "-c", script]
            process = self._runner.stream(argv, errors)
            send(directory, piped(process.stdin))
            printed = piped(process.stdout).read().decode(errors="replace")
            finish(process, errors, [program, self._application])
        return printed


def _inside(script: str) -> str:
    """A script for the server's container, whose temporary directory there is gone when it ends, however it ends."""
    begin = f'place={_TEMPORARY}; trap "rm -rf $place" EXIT; rm -rf $place; mkdir -m 700 $place'
    return f"{begin} && export {WITH_PASSWORD} && {script}"
