from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from ansible_collections.slipway.release.plugins.module_utils._database_facts import DatabaseFacts
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError

pytestmark = pytest.mark.promise("M4")

FACTS = DatabaseFacts("owner", "UTF8", "c", "C.UTF-8", "C.UTF-8", None, None, -1, [], None, ["owner"], [], [], [])


def test_facts_are_read_from_the_server_and_from_a_manifest_alike() -> None:
    assert DatabaseFacts.read(lambda _sql: [[json.dumps(asdict(FACTS))]], "app") == FACTS
    assert DatabaseFacts.parse({**asdict(FACTS), "bytes": 1}) == FACTS
    assert DatabaseFacts.read(lambda _sql: [], "app") is None


def test_a_manifest_of_old_knows_the_names_of_roles_alone() -> None:
    younger = ("role_settings", "role_attributes", "memberships")
    facts = DatabaseFacts.parse({key: value for key, value in asdict(FACTS).items() if key not in younger})
    assert facts.dress_roles("postgres") == ""
    assert facts.all_roles == {"owner"}


def test_roles_are_and_may_where_it_is_tried_what_they_are_and_may_here() -> None:
    facts = replace(
        FACTS,
        role_attributes=[["boss", ["SUPERUSER"]], ["owner", ["CREATEDB", "NOINHERIT"]], ["clerk", []]],
        memberships=[["owner", "clerk", []], ["pg_monitor", "owner", ["ADMIN OPTION", "SET FALSE"]]],
    )
    assert facts.all_roles == {"boss", "owner", "clerk"}
    assert facts.dress_roles("boss").splitlines() == [
        'ALTER ROLE "owner" CREATEDB NOINHERIT;',
        'GRANT "owner" TO "clerk";',
        'GRANT "pg_monitor" TO "owner" WITH ADMIN OPTION, SET FALSE;',
    ]


def test_settings_of_this_database_s_roles_go_where_it_is_tried() -> None:
    settings = [["owner", "search_path=shop, public"], ["owner", "lock_timeout=5s"], ["stranger", "work_mem=1GB"]]
    printed = json.dumps({**asdict(FACTS), "role_settings": settings})
    facts = DatabaseFacts.read(lambda _sql: [[printed]], "app")
    assert facts is not None
    assert facts.dress_roles("postgres").splitlines() == [
        """ALTER ROLE "owner" SET "search_path" TO 'shop', 'public';""",
        """ALTER ROLE "owner" SET "lock_timeout" TO '5s';""",
    ]


def test_a_manifest_without_a_fact_is_refused() -> None:
    with pytest.raises(SlipwayError, match="lack 'encoding'"):
        DatabaseFacts.parse({"owner": "owner"})


@pytest.mark.parametrize(
    "provider, locale, rules, said",
    [
        ("c", None, None, ""),
        ("i", "de-AT", None, " LOCALE_PROVIDER ICU ICU_LOCALE 'de-AT'"),
        ("i", "und", "&V < w", " LOCALE_PROVIDER ICU ICU_LOCALE 'und' ICU_RULES '&V < w'"),
        ("b", "C.UTF-8", None, " LOCALE_PROVIDER BUILTIN BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_each_provider_of_locales_is_named(provider: str, locale: str | None, rules: str | None, said: str) -> None:
    facts = replace(FACTS, provider=provider, locale=locale, icu_rules=rules)
    assert facts.create('a"b') == (
        """CREATE DATABASE "a""b" TEMPLATE template0 OWNER "owner" ENCODING 'UTF8'"""
        f"{said} LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
    )


def test_limit_settings_and_grants_follow() -> None:
    facts = replace(
        FACTS,
        connection_limit=7,
        settings=[
            [None, 'search_path="$user", public, "a,b"'],
            ["report", "work_mem=64MB"],
            [None, "app.note=it's = so"],
        ],
        grants=[[None, "CONNECT", False], ["report", "TEMPORARY", True]],
    )
    assert facts.dress("app").splitlines() == [
        'ALTER DATABASE "app" CONNECTION LIMIT 7;',
        """ALTER DATABASE "app" SET "search_path" TO '$user', 'public', 'a,b';""",
        """ALTER ROLE "report" IN DATABASE "app" SET "work_mem" TO '64MB';""",
        """ALTER DATABASE "app" SET "app"."note" TO 'it''s = so';""",
        'REVOKE ALL ON DATABASE "app" FROM PUBLIC, "owner";',
        'GRANT CONNECT ON DATABASE "app" TO PUBLIC;',
        'GRANT TEMPORARY ON DATABASE "app" TO "report" WITH GRANT OPTION;',
    ]


def test_the_server_s_own_grants_stay_where_nobody_changed_them() -> None:
    assert "GRANT" not in FACTS.dress("app")
    assert "REVOKE" not in FACTS.dress("app")
