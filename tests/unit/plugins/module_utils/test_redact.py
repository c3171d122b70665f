"""What must not leave a site is taken out of plain data, and what helps stays."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from ansible_collections.slipway.release.plugins.module_utils._redact import Redactor, known_secrets

SECRET = "hunter2/with space"
RUN = "20261123T081500Z-deploy"


def known(**variables: str) -> tuple[set[str], set[str]]:
    return known_secrets([variables], {"REQUIRED"}, {"redis", "1.1.0"})


@pytest.mark.parametrize(
    "form", [SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode().rstrip("=")]
)
def test_a_secret_is_hidden_in_each_of_its_forms(form: str) -> None:
    redact = Redactor(*known(REQUIRED=SECRET))
    assert redact.clean({"text": f"it was {form}, as ever", form: [form]}) == {
        "text": "it was ********, as ever",
        "********": ["********"],
    }


def test_the_password_in_an_address_is_hidden_without_it() -> None:
    redact = Redactor(*known(DATABASE_URL="postgres://owner:p4ssw0rd@postgres/swarm"))
    assert redact.text("FATAL: p4ssw0rd was refused") == "FATAL: ******** was refused"


def test_a_short_secret_is_hidden_where_it_is_a_word() -> None:
    redact = Redactor(*known(REQUIRED="abc"))
    assert redact.text("abc is wrong, abcd and 7abc are not") == "******** is wrong, abcd and 7abc are not"


def test_what_nobody_keeps_secret_is_shown() -> None:
    anywhere, words = known(REQUIRED="redis", RAILS_ENV="production", PORT="3000", APP_VERSION="1.1.0", LOG="info")
    assert (anywhere, words) == (set(), set())


def test_what_looks_like_a_secret_is_hidden_and_names_of_runs_and_digests_are_not() -> None:
    digest, commit = "sha256:" + "a1" * 32, "0a" * 20
    given = {
        "reason": f"mail ann@example.test, Bearer abcdefgh12345, api_key=xyz, backup {RUN}-rollback, {'a1' * 16}",
        "password": "any",
        "backup": RUN,
        "image": digest,
        "commit": commit,
        "owner": "anna@controller",
        "other": commit,
        "token": 5,
    }
    assert Redactor().clean(given) == {
        "reason": f"mail ********, Bearer ********, api_key=********, backup {RUN}-rollback, ********",
        "password": "********",
        "backup": RUN,
        "image": digest,
        "commit": commit,
        "owner": "anna@controller",
        "other": "********",
        "token": 5,
    }


def test_of_a_log_s_line_only_the_signature_stays_wherever_it_is_quoted() -> None:
    line = "R2 broken: web: error: 5 times, new: Couldn't find Agent 4711 named 'Bob'"
    assert Redactor().text(line) == 'R2 broken: web: error: 5 times, new: Couldn\'t find Agent # named "#"'


@pytest.mark.parametrize(
    "said, kept",
    [
        ("DETAIL: Key (name)=(Bob (7)) already exists.", "DETAIL: Key (name)=(********) already exists."),
        ("Failing row contains (7, Bob, null).", "Failing row contains (********)."),
        ("Failing row contains (7, Bob", "Failing row contains (********)"),
        ('invalid input syntax for type integer: "Bob"', 'invalid input syntax for type integer: "#"'),
        ('relation "agents" does not exist', 'relation "agents" does not exist'),
    ],
)
def test_what_postgresql_says_of_a_row_is_hidden(said: str, kept: str) -> None:
    assert Redactor().text(said) == kept


def test_the_beginning_of_a_secret_where_a_text_was_cut_is_hidden() -> None:
    redact = Redactor({"correct-horse-battery"})
    assert redact.text("it said correct-ho ...") == "it said ******** ..."
    assert redact.text("it said cor ...") == "it said cor ..."
