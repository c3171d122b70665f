# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's PostgreSQL, reached through its own container."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ._compose import Docker
from ._errors import CommandError, SlipwayError
from ._process import OUTPUT_TAIL

if TYPE_CHECKING:
    import subprocess

    from ._process import Runner
    from ._profile import Profile

# The password, where the socket asks for one, comes from the container's own environment and stays there.
_WITH_PASSWORD = 'PGPASSWORD="${POSTGRES_PASSWORD:-}"'  # noqa: S105 - the name of a variable, not its value
_TEMPORARY = "/tmp/slipway"  # noqa: S108 - inside the database's own container, mode 0700
_SHELL = ["sh", "-c", f'{_WITH_PASSWORD} exec "$@"', "sh"]
QUERY_TIMEOUT = 600
CHUNK = 1 << 20

# What pg_dump prints that is not the schema: comments, session settings, and the random key of its \restrict lines.
_NOISE = ("--", "SET ", "SELECT pg_catalog.set_config", "\\restrict", "\\unrestrict")
_DUMP_NAME = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_.]+")
_CREATE_LIKE = """
    SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L'
                  ' CONNECTION LIMIT %s', {target}, pg_get_userbyid(datdba), pg_encoding_to_char(encoding),
                  datcollate, datctype, datconnlimit)
    FROM pg_database WHERE datname = {source}
"""
_COUNT_TABLES = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True)
class DumpFile:
    """One file of a dump: its size in bytes and its SHA-256."""

    size: int
    sha256: str


class Database:
    """The application's database.

    :param container: the id of its running container.
    """

    def __init__(self, runner: Runner, profile: Profile, container: str) -> None:
        self._runner = runner
        self._container = container
        self.name = profile.database.name
        self.user = profile.database.user

    def _execute(self, *command: str, text: str | None = None) -> str:
        docker = Docker(self._runner)
        return docker.execute(self._container, *_SHELL, *command, text=text, timeout=QUERY_TIMEOUT).stdout

    def query(self, sql: str, *, database: str | None = None) -> list[list[str]]:
        """The rows that `sql` returns, each a list of texts; several statements stop at the first error."""
        command = ["psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--field-separator", "\x1f"]
        command += ["--set", "ON_ERROR_STOP=1", "--username", self.user, "--dbname", database or self.name]
        return [line.split("\x1f") for line in self._execute(*command, text=sql).splitlines()]

    def _value(self, sql: str, *, database: str | None = None) -> str:
        return self.query(sql, database=database)[0][0]

    def size(self) -> int:
        """Its size in bytes."""
        return int(self._value("SELECT pg_database_size(current_database())"))

    def server_version(self) -> str:
        """The server's version, such as 17.6."""
        return self._value("SHOW server_version").split()[0]

    def migrations(self) -> list[str]:
        """The versions that Rails has recorded as applied, ascending; empty before the first migration."""
        if self._value("SELECT to_regclass('schema_migrations') IS NOT NULL") != "t":
            return []
        return sorted((row[0] for row in self.query("SELECT version FROM schema_migrations")), key=int)

    def tables(self) -> int:
        """How many tables with rows of their own a dump must hold: all but PostgreSQL's and extensions' own."""
        return int(self._value(_COUNT_TABLES))

    def invalid_indexes(self) -> list[str]:
        """Indexes that an interrupted CREATE INDEX CONCURRENTLY left behind."""
        return [
            row[0] for row in self.query("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid ORDER BY 1")
        ]

    def schema(self, *, database: str | None = None) -> str:
        """SHA-256 of the schema as pg_dump writes it, without comments, session settings and sequence positions."""
        command = ["pg_dump", "--schema-only", "--username", self.user, "--dbname", database or self.name]
        lines = [line for line in self._execute(*command).splitlines() if line and not line.startswith(_NOISE)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    # dump and restore: pg_dump's directory format lives inside the container only while it is streamed as one tar

    def dump(self, directory: Path) -> dict[str, DumpFile]:
        """Write a consistent dump of the database into `directory`; returns its files by name."""
        place = f"{_TEMPORARY}-{directory.name}"
        who = f"--username={shlex.quote(self.user)} {shlex.quote(self.name)}"
        command = f"pg_dump --format=directory --jobs=2 --file={place} {who}"
        script = _in_place(place, f"{_WITH_PASSWORD} {command} >&2 && tar -C {place} -cf - .")
        with tempfile.TemporaryFile() as errors:
            process = self._runner.stream(["docker", "exec", self._container, "sh", "-c", script], errors)
            try:
                files = _receive(_opened(process.stdout), directory)
            except tarfile.TarError:
                files = {}
            _finish(process, errors, ["pg_dump", self.name])
        if not files:
            raise SlipwayError(f"pg_dump of {self.name} ended well and sent no file: nothing was backed up")
        return files

    def read_back(self, directory: Path) -> int:
        """Let pg_restore decode all of a dump as it lies on the host; returns how many tables' rows it holds."""
        place = f"{_TEMPORARY}-{directory.name}-read"
        restore = (
            f"pg_restore --format=directory --file=/dev/null {place} && pg_restore --format=directory --list {place}"
        )
        listing = self._send(directory, place, restore)
        return sum(" TABLE DATA " in line for line in listing.splitlines())

    def creation(self, target: str) -> list[str]:
        """The statements that make a new, empty database `target` from template0 like the present one."""
        sql = _CREATE_LIKE.format(target=_literal(target), source=_literal(self.name))
        return [row[0] for row in self.query(sql, database="postgres")]

    def load(self, directory: Path, target: str) -> None:
        """Load a dump into the empty database `target`."""
        place = f"{_TEMPORARY}-{target}"
        who = f"--username={shlex.quote(self.user)} --dbname={shlex.quote(target)}"
        command = f"pg_restore --exit-on-error --format=directory --jobs=2 {who} {place}"
        self._send(directory, place, f"{_WITH_PASSWORD} {command}")

    def restore(self, directory: Path, target: str) -> None:
        """Load a dump into a new database `target`, made like the present one."""
        for statement in self.creation(target):
            self.query(statement, database="postgres")
        self.load(directory, target)

    def drop(self, name: str) -> None:
        """Drop the half-loaded copy `name`; never the application's own database."""
        if name == self.name:
            raise SlipwayError(f"database {name} is the application's own and is never dropped")
        self.query(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)", database="postgres")

    def swap(self, restored: str, kept: str) -> None:
        """Put the database `restored` in the place of the present one, which is kept as `kept`.

        Both renames are one transaction: a kill leaves the one or the other under the application's name.
        """
        sql = f"""
            ALTER DATABASE {quoted(self.name)} ALLOW_CONNECTIONS false;
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {_literal(self.name)};
            BEGIN;
            ALTER DATABASE {quoted(self.name)} RENAME TO {quoted(kept)};
            ALTER DATABASE {quoted(restored)} RENAME TO {quoted(self.name)};
            COMMIT;
        """  # noqa: S608 - every name is quoted
        self.query(sql, database="postgres")

    def _send(self, directory: Path, place: str, command: str) -> str:
        """Stream `directory` into the container at `place`, run `command` there, return what it prints."""
        script = _in_place(place, f"mkdir -m 700 {place} && tar -C {place} -xf - && {command}")
        with tempfile.TemporaryFile() as errors:
            process = self._runner.stream(
                ["docker", "exec", "--interactive", self._container, "sh", "-c", script], errors
            )
            try:
                with _opened(process.stdin) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
                    for path in sorted(directory.iterdir()):
                        archive.add(path, arcname=path.name)
            except BrokenPipeError:
                pass  # why it stopped reading is in its exit code and message
            printed = _opened(process.stdout).read().decode(errors="replace")
            _finish(process, errors, ["pg_restore", self.name])
        return printed


def _in_place(place: str, script: str) -> str:
    """A script whose temporary directory inside the container is gone when it ends, however it ends."""
    return f'trap "rm -rf {place}" EXIT; rm -rf {place}; {script}'


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise SlipwayError("the command was started without a pipe")
    return stream


def _finish(process: subprocess.Popen[bytes], errors: IO[bytes], argv: list[str]) -> None:
    if process.wait() != 0:
        errors.seek(0)
        raise CommandError(argv, process.returncode, errors.read().decode(errors="replace")[-OUTPUT_TAIL:])


def _receive(stream: IO[bytes], directory: Path) -> dict[str, DumpFile]:
    """Write the plain files of a tar stream into `directory`, hashed on the way and made durable."""
    files: dict[str, DumpFile] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                continue
            if not _DUMP_NAME.fullmatch(name):
                raise SlipwayError(f"the database container sent a file named {name!r}: a dump has none such")
            descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            digest, size = hashlib.sha256(), 0
            with os.fdopen(descriptor, "wb") as target:
                while chunk := content.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    target.write(chunk)
                target.flush()
                os.fsync(descriptor)
            files[name] = DumpFile(size, digest.hexdigest())
    return files


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
