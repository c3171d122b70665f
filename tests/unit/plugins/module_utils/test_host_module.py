"""One place where an error becomes a failure, and where what leaves the host loses its secrets."""

from __future__ import annotations

import errno
import time
from typing import Any

import pytest
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
