from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ansible_collections.slipway.release.plugins.module_utils._fingerprint import (
    Fingerprint,
    Table,
    differences,
    losses,
    normal,
    only_rows_of,
    take,
)
from ansible_collections.slipway.release.plugins.module_utils._psql import rows_of
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("R4")

TASKS = Table(20000, {"id": "11", "name": "22", "campaign_id": "33", "result": "44"})
CAMPAIGNS = Table(200, {"id": "5", "name": "6"})
BOOKS = Table(3, {"version": "9"})
GUARDS = {"constraint public.tasks fk FOREIGN KEY (campaign_id) REFERENCES campaigns(id)": True, "index a": True}
BEFORE = Fingerprint(
    {"public.tasks": TASKS, "public.campaigns": CAMPAIGNS, "public.schema_migrations": BOOKS},
    GUARDS,
    {"public.tasks_id_seq": 20000},
)


def after(**tables: Table | None) -> Fingerprint:
    changed = {f"public.{name}": table for name, table in tables.items()}
    return replace(
        BEFORE, tables={name: table for name, table in {**BEFORE.tables, **changed}.items() if table is not None}
    )


def test_what_only_adds_loses_nothing() -> None:
    seen = after(
        campaigns=replace(CAMPAIGNS, columns={**CAMPAIGNS.columns, "priority": "77"}),
        budgets=Table(10, {"id": "1"}),
        schema_migrations=Table(5, {"version": "10"}),
    )
    assert losses(BEFORE, seen) == []


@pytest.mark.parametrize(
    "changed, said",
    [
        (after(campaigns=replace(CAMPAIGNS, rows=199)), "1 of 200 rows of public.campaigns are gone"),
        (
            after(campaigns=replace(CAMPAIGNS, columns={"id": "5", "name": "60"})),
            "values of public.campaigns.name were changed",
        ),
        (
            after(tasks=replace(TASKS, columns={"id": "11", "name": "22", "campaign_id": "33"})),
            "column public.tasks.result is gone with its values",
        ),
        (after(campaigns=None), "table public.campaigns is gone with 200 rows"),
        (
            after(campaigns=replace(CAMPAIGNS, rows=201)),
            "1 rows were added to public.campaigns, which has no primary key",
        ),
        (replace(BEFORE, guards={**GUARDS, "index a": False}), "index a is not valid"),
        (
            replace(BEFORE, sequences={"public.tasks_id_seq": 1}),
            "sequence public.tasks_id_seq went back from 20000 to 1",
        ),
    ],
)
def test_what_happened_to_values_is_named(changed: Fingerprint, said: str) -> None:
    assert losses(BEFORE, changed) == [said]


def test_a_column_without_values_may_go() -> None:
    empty = replace(BEFORE, tables={"public.campaigns": replace(CAMPAIGNS, columns={"id": "5", "note": "0"})})
    gone = replace(BEFORE, tables={"public.campaigns": replace(CAMPAIGNS, columns={"id": "5"})})
    assert losses(empty, gone) == []


def test_another_name_is_no_loss() -> None:
    renamed = replace(TASKS, columns={"id": "11", "title": "22", "campaign_id": "33", "result": "44"})
    assert losses(BEFORE, after(tasks=renamed)) == []
    assert losses(BEFORE, after(tasks=None, jobs=TASKS)) == []


@pytest.mark.parametrize("announced", ["tasks.result", "public.tasks.result", "tasks", "public.tasks"])
def test_what_was_announced_may_change(announced: str) -> None:
    changed = after(tasks=replace(TASKS, columns={**TASKS.columns, "result": "45"}))
    assert losses(BEFORE, changed)
    assert losses(BEFORE, changed, [announced]) == []
    assert losses(BEFORE, changed, ["campaigns"])


def test_an_exact_comparison_sees_everything_but_positions_of_sequences() -> None:
    assert differences(BEFORE, replace(BEFORE, sequences={"public.tasks_id_seq": 20005})) == []
    changed = after(
        tasks=replace(TASKS, rows=20001, columns={"id": "12", "name": "22", "campaign_id": "33", "extra": "1"}),
        campaigns=None,
        budgets=Table(0, {}),
    )
    assert differences(BEFORE, replace(changed, guards={"index a": False, "index b": True})) == [
        "table public.campaigns is gone",
        "table public.budgets was added",
        "table public.tasks has 20001 rows, not 20000",
        "column public.tasks.id has other values",
        "column public.tasks.result is gone",
        "column public.tasks.extra was added",
        f"{next(iter(GUARDS))} is gone",
        "index b was added",
        "index a is not valid",
    ]


NAMES = st.sampled_from(["a", "b", "c"])
TABLES = st.dictionaries(
    NAMES.map(lambda name: f"public.{name}"),
    st.builds(Table, st.integers(0, 3), st.dictionaries(NAMES, st.sampled_from(["0", "1", "2"]), max_size=3)),
    max_size=3,
)


@given(tables=TABLES, other=TABLES)
def test_two_fingerprints_differ_exactly_when_something_is_said(
    tables: dict[str, Table], other: dict[str, Table]
) -> None:
    one, two = Fingerprint(tables, {}, {}), Fingerprint(other, {}, {})
    assert (differences(one, two) == []) == (one == two)
    assert losses(one, one) == []


def test_a_fingerprint_survives_json() -> None:
    assert Fingerprint.from_dict(BEFORE.to_dict()) == BEFORE


class Server:
    """Answers as psql does; keeps what it was asked."""

    def __init__(self, *tables: list[str]) -> None:
        self.tables = list(tables)
        self.asked: list[str] = []

    def __call__(self, sql: str) -> list[list[str]]:
        self.asked.append(sql)
        if "pg_table_size" in sql:
            return self.tables
        if "pg_get_constraintdef" in sql:
            return [["index", "CREATE INDEX a", "t"], ["sequence", "public.s", "7"]]
        return [[f"{schema}.{name}", "12", "{5,6}"] for schema, name, *_ in self.tables if f"'{schema}.{name}'" in sql]


def test_big_tables_are_sampled_by_key_and_without_a_key_only_counted() -> None:
    server = Server(
        ["public", "small", "10", '["id", "no\\"te"]', '["id"]'],
        ["public", "big", "2500", '["id", "x"]', '["id"]'],
        ["public", "keyless", "2500", '["x", "y"]', ""],
    )
    seen = take(server, 1000)
    assert seen.tables["public.small"] == Table(12, {"id": "5", 'no"te': "6"})
    assert seen.tables["public.big"] == Table(12, {"id": "5", "x": "6"}, one_in=3)
    assert seen.tables["public.keyless"] == Table(12, {}, one_in=3)
    assert (seen.guards, seen.sequences) == ({"index CREATE INDEX a": True}, {"public.s": 7})
    statements = server.asked[-1]
    assert '"no""te"' in statements
    assert statements.count("FILTER (WHERE mod(t.slipway_key, 3) = 0)") == 2
    assert take(server, 10, like=seen).tables["public.big"].one_in == 3


def test_of_a_table_that_grew_the_old_rows_are_looked_at_again() -> None:
    server = Server(["public", "campaigns", "10", '["id", "name"]', '["id"]'])
    grown = after(campaigns=replace(CAMPAIGNS, rows=250))
    assert only_rows_of(server, BEFORE, BEFORE, "base") is BEFORE
    seen = only_rows_of(server, BEFORE, grown, "base")
    assert seen.tables["public.campaigns"] == Table(12, {"id": "5", "name": "6"})
    # by the user who asks: the server's own on the host is no role of it
    assert "dblink(format('dbname=base user=''%s'' port=%s', current_user, " in server.asked[-2]
    # what it needed is not left in a database whose schema is compared afterwards
    assert "DROP SCHEMA slipway CASCADE" in server.asked[-1]


# as PostgreSQL 15 prints them, on a string column: before a dump, and after it was restored
PRINTED = [
    (
        (
            "index CREATE INDEX i ON t (id) WHERE ((state)::text = ANY ((ARRAY['new'::character varying, "
            "'a (b)::text'::character varying])::text[]))"
        ),
        (
            "index CREATE INDEX i ON t (id) WHERE ((state)::text = ANY (ARRAY[('new'::character varying)::text, "
            "('a (b)::text'::character varying)::text]))"
        ),
    ),
    (
        "constraint t c CHECK ((((rating >= 1) AND (rating <= 5)) AND (x > 0)))",
        "constraint t c CHECK (((rating >= 1) AND (rating <= 5) AND (x > 0)))",
    ),
]


@pytest.mark.parametrize("dumped, restored", PRINTED)
def test_what_postgresql_prints_otherwise_after_a_restore_is_no_difference(dumped: str, restored: str) -> None:
    before, seen = (replace(BEFORE, guards={text: True}) for text in (dumped, restored))
    assert differences(before, seen) == differences(seen, before) == []
    assert losses(before, seen) == []
    # what stands in quotes is told from other text, and told as it is printed
    other = replace(BEFORE, guards={restored.replace("'new'", "'old'").replace("rating", "score"): True})
    assert differences(before, other)[0] == f"{dumped} is gone"


def test_a_type_that_only_begins_like_text_stays() -> None:
    assert normal("((a)::textual = (b)::text[])") == "a::textual = b"


def test_a_constraint_that_is_validated_later_loses_nothing() -> None:
    assert losses(BEFORE, replace(BEFORE, guards={**GUARDS, "constraint t f FOREIGN KEY (a) NOT VALID": False})) == []


def test_a_definition_of_several_lines_is_asked_for_in_one() -> None:
    asked: list[str] = []

    def query(sql: str) -> list[list[str]]:
        asked.append(sql)
        return []

    take(query, 1)
    definitions = re.findall(r"pg_get_\w+def\(.*", asked[-1])
    assert len(definitions) == 2
    assert all(r"'\s*\n\s*', ' ', 'g')" in line for line in definitions)


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\f", "\r"])
def test_a_line_end_of_unicode_s_in_a_definition_ends_no_row(odd: str) -> None:
    printed = f"constraint\x1ftasks c CHECK (name <> '{odd}')\x1ft\nsequence\x1fpublic.tasks_id_seq\x1f7\n"
    seen = take(lambda sql: rows_of(printed) if "pg_constraint" in sql else [], 1)
    assert seen.guards == {f"constraint tasks c CHECK (name <> '{odd}')": True}
    assert seen.sequences == {"public.tasks_id_seq": 7}
