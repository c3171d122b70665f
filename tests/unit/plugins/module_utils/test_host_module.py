"""One place where an error becomes a failure, and where what leaves the host loses its secrets."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, Step, carry_out
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, RefusedError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module, perform
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.test_site import APPLICATION

SECRET = "canary-4711-secret"
SEEN = Observation("gate", "docker", "2026-11-23T08:00:00.000Z", None, None, ok=False, detail=f"it said {SECRET}")


def call(answer: Any, secrets: list[str], **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - a test's own
    return perform(answer, {"application": APPLICATION, **parameters}, secrets, check_mode=False, sent=time.time())


def test_a_secret_leaves_in_no_result_and_a_plain_value_stays() -> None:
    def answer(module: Module, site: Site) -> dict[str, Any]:
        module.warnings.append(f"beware of {SECRET}")
        return {"release": "1.1.0-rc.2", "lines": [{"text": f"password={SECRET}!"}], "name": site.profile.name}

    told = call(answer, [SECRET, "1.1.0-rc.2", "no"], version="1.1.0-rc.2")
    assert SECRET not in str(told)
    assert told["release"] == "1.1.0-rc.2"
    assert told["lines"] == [{"text": "password=********!"}]
    assert told["warnings"] == ["beware of ********"]


def test_a_call_may_add_to_what_is_hidden() -> None:
    def answer(module: Module, site: Site) -> dict[str, Any]:
        del site
        module.secrets.add("from the profile")
        return {"text": "it is from the profile"}

    assert call(answer, [])["text"] == "it is ********"


@pytest.mark.parametrize(
    "error,more",
    [
        (SlipwayError(f"no such {SECRET}"), {"observations": []}),
        (
            RefusedError(f"no such {SECRET}", [f"docker: {SECRET}"], [SEEN], None),
            {
                "notes": None,
                "failures": ["docker: ********"],
                "observations": [{**SEEN.to_dict(), "detail": "it said ********"}],
            },
        ),
    ],
    ids=["any", "gates"],
)
def test_what_people_are_meant_to_read_is_a_failure_in_one_line(error: SlipwayError, more: dict[str, Any]) -> None:
    def answer(*_: object) -> dict[str, Any]:
        raise error

    assert call(answer, [SECRET]) == {"failed": True, "msg": "no such ********", "rails_boots": 0, **more}


@pytest.mark.parametrize(
    "error, said",
    [
        (CommandError(["docker", "exec", "web"], 1, "on\n\x1b]52;c;cm0gLXJm\x07it failed"), "]52;c;cm0gLXJm it failed"),
        (RefusedError("it is refused: a\nb\x9b2J", ["a", "b\x9b2J"], [], None), "it is refused: a\nb 2J"),
        (OSError(errno.EIO, "failed", "/srv/\x1b[2J"), "the host: /srv/ [2J: failed: mend that and run the same again"),
    ],
    ids=["command", "gates", "host"],
)
def test_what_a_command_prints_cannot_move_the_operator_s_cursor(error: Exception, said: str) -> None:
    def answer(*_: object) -> dict[str, Any]:
        raise error

    told = call(answer, [])
    assert told["msg"].endswith(said)
    assert told.get("failures", ["b 2J"])[-1] == "b 2J"


def test_a_host_without_room_is_a_failure_in_one_line_that_names_the_place() -> None:
    def answer(*_: object) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device", "/var/lib/slipway/swarm/ledger.json")

    said = "the host: /var/lib/slipway/swarm/ledger.json: No space left on device: mend that and run the same again"
    assert call(answer, [])["msg"] == said


BROKEN = """\
APP_VERSION=1.0.0
RAILS_ENV=production
FORCE_SSL=true
PORT=3000
QUEUE=web
APP_NAME=swarm
DATABASE_URL=postgres://swarm_owner:p%40ss4711@postgres/swarm_production
SIGNING_KEY="-----BEGIN KEY-----
canaryPemLine
-----END KEY-----"
PIN=4711
SHORT_TOKEN=abc
SMTP_PASSWORD="canary unterminated
SECRET_KEY_BASE=canary-4711/+x
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """A host whose env file nobody but itself knows, with a Compose that refuses it by what it is told to print."""
    place = tmp_path / "swarm"
    place.mkdir()
    (place / ".env").write_bytes(BROKEN.encode() + b"OTHER=\xff no UTF-8\n")
    (place / "compose.yml").write_text("services: {}\n")
    before = tmp_path / "state" / "swarm" / "releases" / "1.0.0" / "env.before"
    before.parent.mkdir(parents=True)
    before.write_text("SECRET_KEY_BASE=canary-of-before\n")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\ncat "$(dirname "$0")/says" >&2\nexit 14\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")

    def refuses(said: str) -> dict[str, Any]:
        docker.with_name("says").write_text(f"{said}\n")

        def answer(_: Module, site: Site) -> dict[str, Any]:
            step = Step("start", lambda: bool(site.compose.config), dict)
            with site.ledger.locked():
                carry_out(site, Plan("switch", "1.1.0", "switch", [step]))
            return {}

        login = {"path": "/login", "form": {"user": "canary-login", "password": "canary-password"}}
        application = {"directory": str(place), "state_directory": str(tmp_path / "state"), "login": login}
        told = call(answer, [], application={**APPLICATION, **application}, environment={})
        journal = (tmp_path / "state" / "swarm" / "journal.jsonl").read_text()
        assert "********" in told["msg"]
        assert "canary" not in json.dumps(told) + journal
        return told

    return refuses


@pytest.mark.parametrize(
    "printed, said",
    [
        ('line 13: unterminated quoted value "canary unterminated', "line 13: unterminated quoted value ********"),
        ("no such key: canary-4711/+x", "no such key: ********"),
        ("GET /?key=canary-4711%2F%2Bx", "GET /?key=********"),
        ("it was canary-of-before", "it was ********"),
        ("no key near canaryPemLine", "no key near ********"),
        ("canary-login by canary-password", "******** by ********"),
        ("abc is wrong, abcd is not", "******** is wrong, abcd is not"),
        ("FATAL: p@ss4711 is wrong", "FATAL: ******** is wrong"),
        (
            "swarm in production: web on 3000 is true, of 1.0.0 by swarm_owner: no canary-4711/+x",
            "swarm in production: web on 3000 is true, of 1.0.0 by swarm_owner: no ********",
        ),
    ],
)
def test_what_the_host_s_env_file_alone_holds_leaves_in_no_error(
    host: Callable[[str], dict[str, Any]], printed: str, said: str
) -> None:
    told = host(printed)
    assert told["msg"].endswith(f": {said}")
    assert told["observations"][0]["detail"].endswith(f": {said}")


def test_of_a_secret_that_was_cut_no_part_leaves(host: Callable[[str], dict[str, Any]]) -> None:
    # of so long a line the end is kept, and of that the beginning is shown
    told = host(f"canary-4711/+x{'.' * 3992}")
    assert ": ... ********...." in told["msg"]
    assert "711" not in told["msg"]


def test_what_a_call_needs_later_stays_whatever_variable_has_it_too(tmp_path: Path) -> None:
    lines = [
        f"REVISION={'a' * 40}",
        f"PROJECT_DIR={tmp_path}",
        "VERB=deploy",
        "APP_VERSION=2026.11-rc1",
        "A=canary-4711",
        # a part of a time and of a release, a kind of observation, the beginning of a path, and gaps
        "SHOP_API_VERSION=2026-11",
        "SENTRY_RELEASE=2026.12",
        "BACKUP_USER=backup",
        "BACKUP_DIR=/var/backups",
        'BANNER="        "',
        'RULE="--------"',
        'INDENTED="a       "',
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    run = {"verb": "deploy", "commit": "a" * 40, "previous": "2026.11-rc1", "release": "2026.12.3"}
    seen = Observation(
        "backup", "b1", "2026-11-23T08:00:00.000Z", None, None, ok=True, detail="a backup a -------- 4 MB"
    )
    known = {"run": run, "since": seen.at, "path": str(tmp_path), "fetched": "/var/backups/shop/b1.age"}

    def answer(_: Module, site: Site) -> dict[str, Any]:
        del site
        return {**known, "observations": [seen.to_dict()], "deploy": "canary-4711", "url": "a://b?c=canary-4711"}

    told = call(answer, [], application={**APPLICATION, "directory": str(tmp_path)}, verb="deploy")
    hidden = {"deploy": "********", "url": "a://b?c=********"}
    assert told == {**known, **hidden, "observations": [{**seen.to_dict(), "detail": "a ******** a -------- 4 MB"}]}


def test_a_value_that_no_encoding_knows_is_no_traceback(tmp_path: Path) -> None:
    told = call(lambda *_: {"a": "b"}, ["x\ud800y-4711"], application={**APPLICATION, "directory": str(tmp_path)})
    assert told == {"a": "b"}


def test_a_profile_that_is_wrong_is_a_failure_too() -> None:
    told = call(lambda *_: {}, [], application={**APPLICATION, "directory": "swarm"})
    assert told["failed"]
    assert "directory: must be an absolute path" in told["msg"]


def test_clocks_are_compared_when_a_call_comes_and_not_after_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_796_000_000.0
    monkeypatch.setattr("time.time", lambda: now)

    def answer(module: Module, site: Site) -> dict[str, Any]:
        nonlocal now
        del site
        now += 600
        return {"ahead": module.clock_ahead}

    told = perform(answer, {"application": APPLICATION}, [], check_mode=False, sent=now - 2)
    assert told["ahead"] == 2
