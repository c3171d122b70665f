# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's PostgreSQL, reached through its own container."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._compose import Docker
from ._database_facts import DatabaseFacts, Query, literal, quoted
from ._errors import CommandError, SlipwayError
from ._fingerprint import normal
from ._postgres_tools import WITH_PASSWORD, PostgresTools
from ._psql import OPTIONS, rows_of
from ._snapshot import LONGEST, Snapshot, open_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from ._process import Runner
    from ._profile import Profile
    from ._stored import StoredFile

_SHELL = ["sh", "-c", f'{WITH_PASSWORD} exec "$@"', "sh"]
QUERY_TIMEOUT = 600
# pg_amcheck's exit code when it found corruption.
_CORRUPT = 2
HEADROOM = 1.1
# Before the hash of a schema whose definitions are in their normal form.
_NORMAL = "normal:"

# What pg_dump prints that is not the schema: comments, session settings, and the random key of its \restrict lines.
_NOISE = ("--", "SET ", "SELECT pg_catalog.set_config", "\\restrict", "\\unrestrict")
# zstd where this pg_dump knows it (from version 16, if it was built so); it says so before it looks for a server.
_COMPRESSION = (
    'case "$(pg_dump --compress=zstd:1 --format=custom --file=/dev/null --host=/nowhere 2>&1)" in '
    "*compress*) method=1 ;; *) method=zstd:1 ;; esac"
)
_COUNT_TABLES = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
# pg_dump writes the rows of what an extension lets people configure, too.
_COUNT_CONFIGURED = """
    SELECT count(*) FROM pg_class c
    WHERE c.relkind = 'r' AND EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig))
"""
# Rails may have a schema_search_path that is not the one of whoever asks; what that leads to comes first.
_MIGRATIONS = """
    SELECT format('%I.%I', n.nspname, c.relname), coalesce(c.oid = to_regclass('schema_migrations'), false)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 2 DESC, 1
"""


def count_tables(query: Query) -> int:
    """How many tables of its own the application has: all but PostgreSQL's and extensions'."""
    return int(query(_COUNT_TABLES)[0][0])


def count_dumped(query: Query) -> int:
    """How many tables' rows a dump must hold."""
    return count_tables(query) + int(query(_COUNT_CONFIGURED)[0][0])


def applied_migrations(query: Query) -> list[str]:
    """The versions that Rails has recorded as applied, ascending; empty before the first migration."""
    tables = query(_MIGRATIONS)
    if not tables:
        return []
    (table, found), *others = tables
    if others and found != "t":
        names = ", ".join(row[0] for row in tables)
        raise SlipwayError(f"there are {names}, and the user's search_path leads to none of them: let it lead to one")
    return sorted((row[0] for row in query(f"SELECT version FROM {table}")), key=int)  # noqa: S608 - quoted


class Database:
    """The application's database.

    :param container: the id of its running container.
    """

    def __init__(self, runner: Runner, profile: Profile, container: str) -> None:
        self._runner = runner
        self._container = container
        self._tools = PostgresTools(runner, container, profile.name, profile.database.user)
        self.name = profile.database.name
        self.user = profile.database.user
        # PostgreSQL cuts names after 63 bytes
        self.copy_name = f"{self.name[:40]}_restored"

    def kept_name(self, stamp: str) -> str:
        """How it is called when a restored one has taken its place."""
        return f"{self.name[:40]}_kept_{stamp}"

    def _execute(self, *command: str) -> str:
        return Docker(self._runner).execute(self._container, *_SHELL, *command, timeout=QUERY_TIMEOUT).stdout

    def _psql(self, database: str) -> list[str]:
        """The command that starts psql, which reads from its input."""
        psql = ["psql", *OPTIONS, "--username", self.user, "--dbname", database]
        return ["docker", "exec", "--interactive", self._container, *_SHELL, *psql]

    def query(self, sql: str, *, database: str | None = None, timeout: float = QUERY_TIMEOUT) -> list[list[str]]:
        """The rows that `sql` returns, each a list of texts; several statements stop at the first error."""
        return rows_of(self._runner.psql(self._psql(database or self.name), sql, timeout))

    def read_whole(self, sql: str, *, database: str | None = None) -> list[list[str]]:
        """The same for what reads all rows of a database, and takes its time."""
        return self.query(sql, database=database, timeout=LONGEST)

    def _manage(self, sql: str) -> list[list[str]]:
        """Ask the server about its databases: by the one that is always there, so that ours may be closed or gone."""
        return self.query(sql, database="postgres")

    def _entry(self, what: str, name: str) -> str | None:
        """What the server's list of databases says of one; None when there is none of that name."""
        rows = self._manage(f"SELECT {what} FROM pg_database WHERE datname = {literal(name)}")  # noqa: S608 - quoted
        return rows[0][0] if rows else None

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Hold one point in time: what is dumped with its id, and what it is asked, are of the same moment."""
        with open_snapshot(self._runner, self._psql(self.name)) as snapshot:
            yield snapshot

    def _value(self, sql: str, *, database: str | None = None) -> str:
        return self.query(sql, database=database)[0][0]

    def size(self) -> int:
        """Its size in bytes; 0 when there is no such database."""
        return int(self._entry("pg_database_size(oid)", self.name) or 0)

    def server_version(self) -> str:
        """The server's version, such as 17.6."""
        return self._value("SHOW server_version").split()[0]

    def server_major(self) -> int:
        """The server's major version, whatever became of the application's database."""
        return int(self._manage("SHOW server_version_num")[0][0]) // 10000

    def facts(self) -> DatabaseFacts | None:
        """What a database in its place must have; None when there is no such database."""
        return DatabaseFacts.read(self._manage, self.name)

    def missing_roles(self, roles: Sequence[str]) -> list[str]:
        """Those of `roles` that the server does not have."""
        present = {row[0] for row in self._manage("SELECT rolname FROM pg_roles")}
        return sorted(set(roles) - present)

    def migrations(self) -> list[str]:
        """The versions that Rails has recorded as applied, ascending; empty before the first migration."""
        return applied_migrations(self.query)

    def migration_tables(self) -> list[str]:
        """The tables in which Rails records what it applied, by qualified name."""
        return [row[0] for row in self.query(_MIGRATIONS)]

    def tables(self) -> int:
        """How many tables of its own the application has."""
        return count_tables(self.query)

    def may_restore(self) -> bool:
        """Whether its user may make a database and load all of a dump into it."""
        return self._manage("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [["t"]]

    def invalid_indexes(self) -> list[str]:
        """Indexes that an interrupted CREATE INDEX CONCURRENTLY left behind."""
        return [
            row[0] for row in self.query("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid ORDER BY 1")
        ]

    def check_pages(self, timeout: float) -> str | None:
        """What pg_amcheck finds wrong with tables and indexes, in a line, empty for nothing.

        None where the database lacks the extension amcheck, or pg_amcheck the time (seconds) or the program.
        """
        if self._entry_of_extension("amcheck") is None:
            return None
        command = ["pg_amcheck", "--username", self.user, "--database", self.name]
        try:
            Docker(self._runner).execute(self._container, *_SHELL, *command, timeout=timeout)
        except CommandError as error:
            lines = [line for line in error.output.splitlines() if line.strip()]
            return " ".join(lines[:2]) if error.returncode == _CORRUPT and lines else None
        return ""

    def _entry_of_extension(self, name: str) -> str | None:
        rows = self.query(f"SELECT extversion FROM pg_extension WHERE extname = {literal(name)}")  # noqa: S608 - quoted
        return rows[0][0] if rows else None

    def schema(self, *, database: str | None = None, snapshot: str | None = None, like: str | None = None) -> str:
        """SHA-256 of the schema as pg_dump writes it, without comments, session settings and sequence positions.

        :param like: one to compare it with; those of old are of the text as it stands, see `normal`.
        """
        command = ["pg_dump", "--schema-only", "--username", self.user, "--dbname", database or self.name]
        command += [] if snapshot is None else ["--snapshot", snapshot]
        lines = [line for line in self._execute(*command).splitlines() if line and not line.startswith(_NOISE)]
        if like is not None and not like.startswith(_NORMAL):
            return hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return _NORMAL + hashlib.sha256("\n".join(map(normal, lines)).encode()).hexdigest()

    def dump(self, directory: Path, snapshot: str) -> dict[str, StoredFile]:
        """Write a dump of the point in time `snapshot` into the empty `directory`; returns its files by name."""
        who = f"--username={shlex.quote(self.user)} {shlex.quote(self.name)}"
        how = f'--format=directory --jobs=2 --compress="$method" --snapshot={shlex.quote(snapshot)} --no-sync'
        files = self._tools.write(directory, "pg_dump", f"{_COMPRESSION}; pg_dump {how} --file=$place {who}")
        if not files:
            raise SlipwayError(f"pg_dump of {self.name} ended well and left no file: nothing was backed up")
        return files

    def read_back(self, directory: Path) -> int:
        """Let pg_restore decode all of a dump as it lies on the host; returns how many tables' rows it holds."""
        decode = "pg_restore --format=directory --file=/dev/null $place && pg_restore --format=directory --list $place"
        return sum(" TABLE DATA " in line for line in self._tools.read(directory, "pg_restore", decode).splitlines())

    def check_room(self, content: int, dump: int) -> None:
        """Refuse to restore where the server's disk lacks room for `content` bytes and the `dump` they come from."""
        place = self._manage("SHOW data_directory")[0][0]
        free = int(self._execute("df", "-Pk", place).splitlines()[-1].split()[3]) * 1024
        needed = content * HEADROOM + dump
        if free < needed:
            raise SlipwayError(
                f"restoring needs {needed / 1e6:.0f} MB and {place} in the database's container has "
                f"{free / 1e6:.0f} MB free: make room there"
            )

    def load(self, directory: Path, target: str) -> None:
        """Load a dump into the empty database `target`."""
        who = f"--username={shlex.quote(self.user)} --dbname={shlex.quote(target)}"
        restore = f"pg_restore --exit-on-error --format=directory --jobs=2 {who} $place"
        self._tools.read(directory, "pg_restore", restore)

    def restore(self, directory: Path, target: str, facts: DatabaseFacts) -> None:
        """Load a dump into a new database `target`, made from template0 with `facts`; one of that name is dropped."""
        self.drop(target)
        self._manage(facts.create(target))
        self.load(directory, target)
        # last, for a setting such as default_transaction_read_only would be in the way
        self._manage(facts.dress(target))

    def drop(self, name: str) -> None:
        """Drop the half-loaded copy `name`; never the application's own database."""
        if name == self.name:
            raise SlipwayError(f"database {name} is the application's own and is never dropped")
        self._runner.end_sessions(self._psql(name))
        self._manage(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    def exists(self, name: str) -> bool:
        """Whether the server has a database of that name."""
        return self._entry("oid", name) is not None

    def kept(self) -> list[str]:
        """The databases that made room for a restored one, oldest first."""
        names = sorted(row[0] for row in self._manage("SELECT datname FROM pg_database"))
        return [name for name in names if name.startswith(self.kept_name(""))]

    def closed(self) -> bool:
        """Whether it takes no connections, as a swap that was killed leaves it."""
        return self._entry("datallowconn", self.name) == "f"

    def open(self) -> None:
        """Let it take connections again."""
        self._manage(f"ALTER DATABASE {quoted(self.name)} ALLOW_CONNECTIONS true")

    def swap(self, restored: str, kept: str) -> None:
        """Put the database `restored` in the place of the present one, which is kept as `kept`.

        Both renames are one transaction: a kill leaves the one or the other under the application's name. One that
        comes before it leaves the present one closed: see `open`.
        """
        rename = f"ALTER DATABASE {quoted(restored)} RENAME TO {quoted(self.name)};"
        for name in (restored, self.name):
            self._runner.end_sessions(self._psql(name))
        if not self.exists(self.name):
            self._manage(rename)
            return
        name = quoted(self.name)
        sql = f"""
            ALTER DATABASE {name} ALLOW_CONNECTIONS false;
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {literal(self.name)};
            BEGIN;
            ALTER DATABASE {name} RENAME TO {quoted(kept)};
            {rename}
            ALTER DATABASE {quoted(kept)} ALLOW_CONNECTIONS true;
            COMMIT;
        """  # noqa: S608 - every name is quoted
        try:
            self._manage(sql)
        except CommandError:
            if self.closed():
                self.open()
            raise
