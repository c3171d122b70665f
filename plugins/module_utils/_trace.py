# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - every statement is constant
"""What migrations do to a throwaway database while they run: locks, rewritten tables, rows written, time limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._database_facts import Query
from ._migration_files import migration_files

# In the order of PostgreSQL's manual, 13.3.1; those up to RowExclusiveLock let everybody work on.
_STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_HARMLESS = _STRENGTH.index("RowExclusiveLock")
_REWRITTEN = "rewritten"
_TIMEOUTS = ("lock_timeout", "statement_timeout")
# A statement that takes this share of its time limit on a quiet machine may not end in time on a busy one.
_CLOSE = 0.5
_MIGRATED = re.compile(r"^== (\d+) (\S+): migrated \(([0-9.]+)s\)", re.MULTILINE)

# An event trigger sees each statement at its end, while it still holds its locks.
_BEGIN = f"""
    CREATE SCHEMA slipway;
    CREATE TABLE slipway.seen (relation text, mode text);
    CREATE FUNCTION slipway.note_locks() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO slipway.seen
        SELECT format('%s.%s', n.nspname, c.relname), l.mode FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted AND c.relkind = 'r'
        UNION ALL
        SELECT s.name, s.setting FROM pg_catalog.pg_settings s WHERE s.name IN ('lock_timeout', 'statement_timeout');
    END $$;
    CREATE FUNCTION slipway.note_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO slipway.seen
        SELECT format('%s.%s', n.nspname, c.relname), '{_REWRITTEN}' FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = pg_catalog.pg_event_trigger_table_rewrite_oid();
    END $$;
    CREATE EVENT TRIGGER slipway_locks ON ddl_command_end EXECUTE FUNCTION slipway.note_locks();
    CREATE EVENT TRIGGER slipway_rewrite ON table_rewrite EXECUTE FUNCTION slipway.note_rewrite();
    GRANT USAGE ON SCHEMA slipway TO PUBLIC;
    GRANT INSERT ON slipway.seen TO PUBLIC;
"""
_SEEN = "SELECT DISTINCT relation, mode FROM slipway.seen ORDER BY 1, 2;"
_END = """
    DROP EVENT TRIGGER slipway_locks; DROP EVENT TRIGGER slipway_rewrite;
    SET client_min_messages = warning; DROP SCHEMA slipway CASCADE;
"""
# How many rows each table had written so far; the counters are the server's own and miss nothing on a quiet one. Before
# version 15 it has no way to be told to bring them up to date.
WRITES = """
    SELECT 'SELECT pg_stat_force_next_flush()' WHERE to_regproc('pg_stat_force_next_flush') IS NOT NULL \\gexec
    SELECT format('%s.%s', schemaname, relname), n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables;
"""


@dataclass(frozen=True)
class Seen:
    """What was seen; see Certificate for the meaning of each."""

    locks: dict[str, str]
    rewritten: list[str]
    writes: dict[str, list[int]]
    notes: list[str]


def writes(query: Query) -> dict[str, list[int]]:
    """Rows inserted, updated and deleted so far, by qualified table."""
    return {row[0]: [int(item) for item in row[1:]] for row in query(WRITES) if row[0]}


def since(before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """The difference of two results of `writes`, without tables that nobody wrote to."""
    found = {}
    for table, counts in after.items():
        start = before.get(table, (0, 0, 0))
        # a counter that fell was reset in between: all it says is what came since
        grown = [now - then if now >= then else now for now, then in zip(counts, start)]
        if any(grown):
            found[table] = grown
    return found


class Trace:
    """Watches one throwaway database from `begin` to `end`."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._before: dict[str, list[int]] = {}

    def begin(self) -> None:
        """Start watching."""
        self._before = writes(self._query)
        self._query(_BEGIN)

    def end(self, tables: Iterable[str], printed: str) -> Seen:
        """Stop watching and leave nothing behind.

        :param tables: those that were there before; nobody waits for a lock on another.
        :param printed: what `db:migrate` printed.
        """
        known = set(tables)
        locks: dict[str, str] = {}
        limits = {}
        rewritten = []
        for relation, mode in self._query(_SEEN):
            if relation in _TIMEOUTS:
                limits[relation] = int(mode) / 1000
            elif relation not in known:
                continue
            elif mode == _REWRITTEN:
                rewritten.append(relation)
            elif _STRENGTH.index(mode) > max(_HARMLESS, _STRENGTH.index(locks.get(relation, _STRENGTH[0]))):
                locks[relation] = mode
        invalid = self._query("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid ORDER BY 1")
        self._query(_END)
        written = {
            table: counts
            for table, counts in since(self._before, writes(self._query)).items()
            if not table.startswith("slipway.")
        }
        notes = [f"{relation} is written anew, and nobody may read it meanwhile" for relation in rewritten]
        notes += [f"index {row[0]} is invalid afterwards" for row in invalid]
        return Seen(locks, rewritten, written, [*notes, *_conflicts(locks, limits, printed)])


def _conflicts(locks: Mapping[str, str], limits: Mapping[str, float], printed: str) -> list[str]:
    """What the application's own time limits (seconds, 0 for none) mean for these migrations."""
    found = []
    limit = limits.get("statement_timeout", 0)
    for version, name, seconds in _MIGRATED.findall(printed):
        if limit and float(seconds) > limit * _CLOSE:
            found.append(
                f"{version} {name} took {seconds} s here, and statement_timeout ends a statement after {limit:g} s"
            )
    exclusive = sorted(table for table, mode in locks.items() if mode == _STRENGTH[-1])
    if exclusive and not limits.get("lock_timeout"):
        found.append(
            f"no lock_timeout is set: while a migration waits for its lock on {', '.join(exclusive)}, everybody waits"
        )
    return found


_HAZARDS = (
    (re.compile(r"\bdisable_ddl_transaction!"), "is not transactional: what it did before it failed stays"),
    (re.compile(r"\bActiveRecord::IrreversibleMigration\b"), "says that it cannot be undone"),
    (
        re.compile(r"\b(execute|update_all|delete_all|find_each|in_batches|upsert_all|insert_all|destroy_all)\b"),
        "works on rows: what it does depends on the data",
    ),
)


def hazards(directory: Path, migrations: Iterable[str]) -> list[str]:
    """What the source of migrations says about them, each one line."""
    found, files = [], migration_files(directory)
    for version in migrations:
        for path in files.get(version, []):
            text = path.read_text("utf-8", errors="replace")
            found += [f"{path.name} {meaning}" for pattern, meaning in _HAZARDS if pattern.search(text)]
    return found
