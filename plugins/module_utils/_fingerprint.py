# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - every name in a statement is quoted, the rest of it is constant
"""Fingerprints of a database: its rows by checksum, column by column, and what guards them.

A column's checksum is the sum over all rows of `hashtextextended(value, key)`, where `key` is the hash of the row's
primary key: it depends on no order, two rows that swap their values change it, and a column that is added changes no
other's. NULL adds nothing. Of a table above a size only the rows are hashed whose key is a multiple of n; it is the
same rows on both sides. Without a primary key the key is 0, and above the size such a table is known by its number of
rows alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ._database_facts import Query, literal, quoted

# Bytes of a table above which its rows are sampled.
SAMPLE_ABOVE = 1 << 30

# Rails' own book-keeping: a migration is meant to change it.
_BOOKKEEPING = frozenset({"schema_migrations", "ar_internal_metadata"})

# Whatever a value's text depends on is the same on both sides.
_SETTINGS = """
    SET search_path = pg_catalog; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
    SET extra_float_digits = 1; SET bytea_output = 'hex'; SET statement_timeout = 0;
"""
# The extension may be the application's own already, in whatever schema.
_DBLINK = """
    SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS slipway;
    CREATE EXTENSION IF NOT EXISTS dblink SCHEMA slipway;
    SELECT set_config('search_path', 'pg_catalog, ' || quote_ident(n.nspname), false)
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'dblink' \\g /dev/null
"""
_NO_DBLINK = "SET client_min_messages = warning; DROP SCHEMA slipway CASCADE;"
_OWN = """
    n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""


def _in_a_line(text: str) -> str:
    """The text without its line ends, as of a CASE; one that has none stays as it is in the manifests of old."""
    return f"regexp_replace({text}, '\\s*\\n\\s*', ' ', 'g')"


# In a definition: what stands in quotes, then what PostgreSQL writes otherwise once it was dumped and restored.
_QUOTED_OR_PLAIN = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|::(?:character varying|text|bpchar)\b(?:\(\d+\))?(?:\[\])?|[()]"""
)


def normal(definition: str) -> str:
    """A definition without casts between kinds of text, and without parentheses.

    `x IN ('a')` on a string column is printed in one way before it was dumped, and in another after it was restored.
    """
    return re.sub(" +", " ", _QUOTED_OR_PLAIN.sub(lambda match: match[1] or "", definition)).strip(" ")


_TABLES = f"""
    SELECT n.nspname, c.relname, pg_table_size(c.oid),
           (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = c.oid AND i.indisprimary)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND {_OWN} ORDER BY 1, 2;
"""
_GUARDS = f"""
    SELECT 'constraint',
           {_in_a_line("format('%s %s %s', r.conrelid::regclass, r.conname, pg_get_constraintdef(r.oid))")},
           r.convalidated
    FROM pg_constraint r JOIN pg_class c ON c.oid = r.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OWN}
    UNION ALL
    SELECT 'index', {_in_a_line("pg_get_indexdef(i.indexrelid)")}, i.indisvalid
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    -- those that pg_dump writes: one that CREATE INDEX CONCURRENTLY left behind is none of them
    WHERE (i.indisvalid OR c.relkind = 'p') AND {_OWN}
    ORDER BY 1, 2;
    SELECT 'sequence', format('%I.%I', schemaname, sequencename), coalesce(last_value, 0) FROM pg_sequences ORDER BY 2;
"""


@dataclass(frozen=True)
class Table:
    """One table.

    :param rows: how many rows it has.
    :param columns: the checksum of each column, in decimal; empty when only the rows were counted.
    :param one_in: of how many rows one was hashed.
    """

    rows: int
    columns: Mapping[str, str]
    one_in: int = 1


@dataclass(frozen=True)
class Fingerprint:
    """What a database holds.

    :param tables: by qualified name.
    :param guards: definitions of constraints and indexes, and whether each is valid.
    :param sequences: the last value that each gave out; 0 when it gave none.
    """

    tables: Mapping[str, Table]
    guards: Mapping[str, bool]
    sequences: Mapping[str, int]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Read what `to_dict` wrote."""
        tables = {name: Table(**table) for name, table in data["tables"].items()}
        return cls(tables, data["guards"], data["sequences"])

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return asdict(self)


def _is_bookkeeping(name: str) -> bool:
    return name.rpartition(".")[2] in _BOOKKEEPING


def take(query: Query, limit: int, like: Fingerprint | None = None) -> Fingerprint:
    """Take the fingerprint of a database that `query` reaches.

    :param limit: bytes of a table above which its rows are sampled.
    :param like: sample each table as this one did, so that the two can be compared.
    """
    shapes = _shapes(query, limit, like)
    guards: dict[str, bool] = {}
    sequences = {}
    for kind, text, value in query(_SETTINGS + _GUARDS):
        if kind == "sequence":
            sequences[text] = int(value)
        else:
            guards[f"{kind} {text}"] = value == "t"
    return Fingerprint(_tables(query, shapes), guards, sequences)


def only_rows_of(query: Query, before: Fingerprint, after: Fingerprint, database: str) -> Fingerprint:
    """Return `after` with tables that have more rows now reduced to the rows they had before.

    :param query: reaches the database that `after` was taken of, in which the extension dblink can be made.
    :param database: holds the rows before, on the same server.
    """
    grown = {
        name
        for name, table in before.tables.items()
        if not _is_bookkeeping(name) and name in after.tables and after.tables[name].rows > table.rows and table.columns
    }
    shapes = [shape for shape in _shapes(query, 1, before) if shape.full in grown and shape.keys]
    if not shapes:
        return after
    reduced = _tables(query, shapes, _SETTINGS + _DBLINK, database)
    query(_NO_DBLINK)
    return replace(after, tables={**after.tables, **reduced})


def count_values(query: Query, columns: Sequence[tuple[str, str]]) -> list[int]:
    """How many values other than NULL each column holds; a column is a qualified table and a name, which is there."""
    tables = {name: f"{quoted(schema)}.{quoted(table)}" for schema, table, name in _parts(query)}
    selects = [f"SELECT count({quoted(column)}) FROM {tables[table]};" for table, column in columns]
    return [int(row[0]) for row in query("\n".join([_SETTINGS, *selects]))] if selects else []


def _parts(query: Query) -> list[tuple[str, str, str]]:
    return [(row[0], row[1], f"{row[0]}.{row[1]}") for row in query(_SETTINGS + _TABLES)]


@dataclass(frozen=True)
class _Shape:
    schema: str
    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    one_in: int

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"

    def select(self, among: str | None) -> str:
        """The statement that gives the table's name, its number of rows and the checksums of its columns."""
        key = f"hashtextextended(concat_ws('|', {', '.join(f't.{quoted(item)}::text' for item in self.keys)}), 0)"
        table = f"ONLY {quoted(self.schema)}.{quoted(self.name)} t"
        hashed = f"(SELECT {key if self.keys else '0'} AS slipway_key, t.* FROM {table}) t"
        chosen = f" FILTER (WHERE mod(t.slipway_key, {self.one_in}) = 0)" if self.one_in > 1 else ""
        sums = ", ".join(
            f"coalesce(sum(hashtextextended(t.{quoted(item)}::text, t.slipway_key)){chosen}, 0)::text"
            for item in self.columns
        )
        rows = ""
        if among is not None:
            # the server's own user on the host is no role of it
            there = f"format('dbname={among} user=''%s'' port=%s', current_user, current_setting('port'))"
            remote = f"dblink({there}, {literal(f'SELECT {key} FROM {table}')})"
            rows = f" WHERE t.slipway_key IN (SELECT o.slipway_key FROM {remote} AS o (slipway_key bigint))"
        name = literal(self.full)
        return f"SELECT {name}, count(*), ARRAY[{sums}]::text[]::text FROM {hashed}{rows};"


def _shapes(query: Query, limit: int, like: Fingerprint | None) -> list[_Shape]:
    shapes = []
    for schema, name, size, columns, key in query(_SETTINGS + _TABLES):
        one_in = max(1, math.ceil(int(size) / limit))
        if like is not None and f"{schema}.{name}" in like.tables:
            one_in = like.tables[f"{schema}.{name}"].one_in
        keys = tuple(json.loads(key or "[]"))
        names = tuple(json.loads(columns or "[]")) if keys or one_in == 1 else ()
        shapes.append(_Shape(schema, name, names, keys, one_in))
    return shapes


def _tables(
    query: Query, shapes: list[_Shape], settings: str = _SETTINGS, among: str | None = None
) -> dict[str, Table]:
    known = {shape.full: shape for shape in shapes}
    tables = {}
    for full, rows, sums in query("\n".join([settings, *(shape.select(among) for shape in shapes)])) if shapes else []:
        values = sums.strip("{}").split(",") if known[full].columns else []
        tables[full] = Table(int(rows), dict(zip(known[full].columns, values)), known[full].one_in)
    return tables


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Everything in which two fingerprints differ but the positions of sequences, each one line; empty when nothing."""
    found = [f"table {name} is gone" for name in before.tables if name not in after.tables]
    found += [f"table {name} was added" for name in after.tables if name not in before.tables]
    for name, table in before.tables.items():
        other = after.tables.get(name)
        if other is None:
            continue
        if other.rows != table.rows:
            found.append(f"table {name} has {other.rows} rows, not {table.rows}")
        found += [
            f"column {name}.{column} {_change(table, other, column)}"
            for column in {**table.columns, **other.columns}
            if table.columns.get(column) != other.columns.get(column)
        ]
    then, now = (set(map(normal, each.guards)) for each in (before, after))
    found += [f"{guard} is gone" for guard in before.guards if normal(guard) not in now]
    found += [f"{guard} was added" for guard in after.guards if normal(guard) not in then]
    return found + [f"{guard} is not valid" for guard in _newly_invalid(before, after)]


def _change(table: Table, other: Table, column: str) -> str:
    if column not in other.columns:
        return "is gone"
    return "has other values" if column in table.columns else "was added"


def losses(before: Fingerprint, after: Fingerprint, expected: Iterable[str] = ()) -> list[str]:
    """What a migration did to values that were there before it, each one line; empty when all of them are still there.

    New tables and columns are no loss, nor is a table or a column that has another name now. Of tables that grew,
    `after` holds the old rows only (see only_rows_of).

    :param expected: tables (`tasks`) and columns (`tasks.result`) that the release is meant to change or to drop; a
        name without a schema is in `public`.
    """
    announced = {name if name.count(".") > 1 or name in before.tables else f"public.{name}" for name in expected}
    found = []
    for name, table in before.tables.items():
        if _is_bookkeeping(name) or name in announced:
            continue
        other = after.tables.get(name) or _renamed(table, name, before, after)
        if other is None:
            found += [f"table {name} is gone with {table.rows} rows"] if table.rows else []
            continue
        if other.rows < table.rows:
            found.append(f"{table.rows - other.rows} of {table.rows} rows of {name} are gone")
            continue
        if other.rows > table.rows:
            # without a primary key the old rows cannot be told from the new ones
            found.append(f"{other.rows - table.rows} rows were added to {name}, which has no primary key")
            continue
        for column, checksum in table.columns.items():
            if f"{name}.{column}" in announced or checksum == other.columns.get(column):
                continue
            if column in other.columns:
                found.append(f"values of {name}.{column} were changed")
            elif checksum != "0" and checksum not in _new(table.columns, other.columns):
                found.append(f"column {name}.{column} is gone with its values")
    found += [f"{guard} is not valid" for guard in _newly_invalid(before, after)]
    return found + [
        f"sequence {name} went back from {value} to {after.sequences[name]}"
        for name, value in before.sequences.items()
        if after.sequences.get(name, value) < value
    ]


def _newly_invalid(before: Fingerprint, after: Fingerprint) -> list[str]:
    # one that is NOT VALID from its beginning is validated later
    valid_before = {normal(guard) for guard, valid in before.guards.items() if valid}
    return [guard for guard, valid in after.guards.items() if not valid and normal(guard) in valid_before]


def _new(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in after.items() if name not in before]


def _renamed(table: Table, name: str, before: Fingerprint, after: Fingerprint) -> Table | None:
    """The table that holds the same rows under a name of its own."""
    schema = name.partition(".")[0]
    for other_name, other in after.tables.items():
        if other_name in before.tables or other_name.partition(".")[0] != schema or other.rows != table.rows:
            continue
        if table.columns and set(table.columns.items()) <= set(other.columns.items()):
            return other
    return None
