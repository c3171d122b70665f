from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_flows
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._http import HttpError
from ansible_collections.slipway.release.plugins.module_utils._probe import Findings, Prober, Request

from tests.unit.plugins.module_utils.application import CREATE, Answer, Application, Asked, page

Build = Callable[..., Prober]
FLOW = "create a test campaign"
IMPATIENT = Clock(sleep=lambda seconds: time.sleep(seconds / 20))


def look(prober: Prober, *, check_mode: bool = False) -> Findings:
    return prober.run(Request(("flows",), check_mode=check_mode))


def details(findings: Findings) -> dict[str, tuple[bool | None, str]]:
    assert all(item.probe == "flow" for item in findings.observations)
    return {item.subject: (item.ok, item.detail) for item in findings.observations}


def test_a_flow_creates_sees_and_removes_its_campaign(application: Application, prober: Build) -> None:
    findings = look(prober())
    assert details(findings) == {FLOW: (True, "3 steps"), f"{FLOW}: cleanup": (True, "1 removed, none left")}
    assert application.campaigns == {}
    assert findings.changed is False
    created = [asked.form["campaign[name]"] for asked in application.asked if "campaign[name]" in asked.form]
    assert len(created) == 1
    assert created[0].startswith("slipway-smoke-")


def test_each_run_has_a_marker_of_its_own(application: Application, prober: Build) -> None:
    look(prober())
    look(prober())
    created = [asked.form["campaign[name]"] for asked in application.asked if "campaign[name]" in asked.form]
    assert len(set(created)) == 2


def test_writing_steps_carry_the_csrf_token_in_field_and_header(application: Application, prober: Build) -> None:
    look(prober())
    (create,) = [asked for asked in application.asked if "campaign[name]" in asked.form]
    assert create.headers["X-CSRF-Token"] == create.form["authenticity_token"] != ""


@pytest.mark.parametrize(
    "what, answer, reason",
    [
        ("POST /campaigns", Answer(500, "Error"), "POST /campaigns: 500, expected 302 or 303"),
        ("POST /campaigns", Answer(422, "Invalid"), "POST /campaigns: 422, expected 302 or 303"),
        ("POST /campaigns", Answer(200, page("New")), "POST /campaigns: 200, expected 302 or 303"),
        (
            "POST /campaigns",
            Answer(303, "", {"Location": "/login"}),
            "POST /campaigns: 303 to /login: the login does not hold",
        ),
        (
            "POST /campaigns",
            Answer(303, "", {"Location": "/"}),
            "POST /campaigns: the header Location does not contain id (/campaigns/([0-9]+))",
        ),
        (
            "POST /campaigns",
            Answer(303),
            "POST /campaigns: the header Location does not contain id (/campaigns/([0-9]+))",
        ),
        ("GET /campaigns/new", Answer(404, "Gone"), "GET /campaigns/new: 404, expected 200"),
        (
            "GET /campaigns/new",
            Answer(403, "No"),
            "GET /campaigns/new: 403, expected 200: does the application accept the host name swarm.example.test?",
        ),
    ],
)
def test_a_step_that_fails_is_named_and_the_cleanup_still_runs(
    application: Application, prober: Build, what: str, answer: Answer, reason: str
) -> None:
    application.campaigns[7] = "slipway-smoke-left-by-an-earlier-run"
    application.answers(what, answer)
    assert details(look(prober())) == {FLOW: (False, reason), f"{FLOW}: cleanup": (True, "1 removed, none left")}
    assert application.campaigns == {}


def test_a_wrong_page_at_the_end_fails_the_flow_and_its_record_goes(application: Application, prober: Build) -> None:
    application.answers("GET /campaigns/1", Answer(200, page("Another campaign")))
    seen = details(look(prober()))
    assert seen[FLOW][0] is False
    assert seen[FLOW][1].startswith("GET /campaigns/1: 200, but does not contain 'slipway-smoke-")
    assert application.campaigns == {}


def lose_answer(application: Application, after: float) -> None:
    """Let the application create the campaign `after` its answer was lost."""

    def respond(asked: Asked) -> Answer:
        def create() -> None:
            time.sleep(after)
            application.campaigns[1] = asked.form["campaign[name]"]

        threading.Thread(target=create, daemon=True).start()
        return Answer(lost=True)

    application.overrides["POST /campaigns"] = respond


@pytest.mark.parametrize("after", [0, 0.3])
def test_a_record_whose_answer_was_lost_is_found_and_removed(
    application: Application, prober: Build, after: float
) -> None:
    lose_answer(application, after)
    seen = details(look(prober(clock=IMPATIENT)))
    assert seen[FLOW] == (False, "POST /campaigns: the connection was closed without an answer")
    assert seen[f"{FLOW}: cleanup"] == (True, "1 removed, none left")
    assert application.campaigns == {}


def test_after_a_timeout_the_cleanup_waits_for_the_record(application: Application, prober: Build) -> None:
    def respond(asked: Asked) -> Answer:
        time.sleep(0.5)
        return application.normal(asked)

    application.overrides["POST /campaigns"] = respond
    seen = details(look(prober(clock=IMPATIENT, critical_timeout=0.3)))
    assert seen[FLOW] == (False, "POST /campaigns: no complete answer within 0.3 s")
    assert seen[f"{FLOW}: cleanup"] == (True, "1 removed, none left")


def test_a_cleanup_never_removes_what_is_not_marked(application: Application, prober: Build) -> None:
    application.campaigns.update({1: "Spring sale", 2: "slipway-smoke-old"})
    listing = '[{"id": 1, "name": "Spring sale"}, {"id": 2, "name": "slipway-smoke-old"}]'
    application.answers("GET /campaigns.json", Answer(200, listing, {"Content-Type": "application/json"}))
    findings = look(prober())
    assert details(findings)[f"{FLOW}: cleanup"] == (
        False,
        "GET /campaigns.json: lists records that are not slipway-smoke-*: nothing is removed",
    )
    assert application.campaigns[1] == "Spring sale"
    assert findings.changed is True


def test_the_same_holds_for_a_listing_that_is_not_json(application: Application, prober: Build) -> None:
    application.campaigns[1] = "Spring sale"
    application.answers("GET /campaigns.json", Answer(200, "<li data-x='\"id\":1'>slipway-smoke-</li>"))
    assert details(look(prober()))[f"{FLOW}: cleanup"][0] is False
    assert 1 in application.campaigns


@pytest.mark.parametrize(
    "what, answer, reason",
    [
        ("GET /campaigns.json", Answer(500, "Error"), "GET /campaigns.json: 500, expected 200"),
        ("POST /campaigns/1", Answer(500, "Error"), "1 records slipway-smoke-* are left: DELETE /campaigns/1: 500, "),
        (
            "POST /campaigns/1",
            Answer(303, "", {"Location": "/"}),
            "1 records slipway-smoke-* are left: deleted, yet still",
        ),
        ("GET /campaigns.json", Answer(lost=True), "GET /campaigns.json: the connection was closed without an answer"),
    ],
)
def test_a_cleanup_that_fails_is_a_failure_of_its_own(
    application: Application, prober: Build, what: str, answer: Answer, reason: str
) -> None:
    application.answers(what, answer)
    findings = look(prober())
    seen = details(findings)
    assert seen[FLOW] == (True, "3 steps")
    assert seen[f"{FLOW}: cleanup"][0] is False
    assert seen[f"{FLOW}: cleanup"][1].startswith(reason)
    assert findings.changed is True


def test_a_listing_in_pages_is_read_to_its_end(application: Application, prober: Build) -> None:
    application.campaigns.update({number: f"slipway-smoke-{number}" for number in range(10, 15)})

    def first_two(_asked: Asked) -> Answer:
        found = [f'{{"id":{key},"name":"{name}"}}' for key, name in list(application.campaigns.items())[:2]]
        return Answer(200, f"[{','.join(found)}]", {"Content-Type": "application/json"})

    application.overrides["GET /campaigns.json"] = first_two
    assert details(look(prober()))[f"{FLOW}: cleanup"] == (True, "6 removed, none left")


def test_check_mode_leaves_out_flows_that_write(application: Application, prober: Build) -> None:
    view = {"name": "view", "steps": [{"get": "/agents", "expect": {"contains": "Agents"}}]}
    findings = look(prober(flows=[view, CREATE]), check_mode=True)
    assert details(findings) == {"view": (True, "1 steps")}
    assert findings.skipped == (FLOW,)
    assert application.paths("POST") == ["/login"]


def test_a_flow_without_a_login_to_be_had_says_so(application: Application, prober: Build) -> None:
    application.answers("GET /login", Answer(502, "Bad gateway"))
    findings = look(prober())
    assert details(findings)[FLOW] == (False, "login: GET /login: 502, expected 200")
    assert findings.changed is False


def test_flows_run_once_however_many_looks(application: Application, prober: Build) -> None:
    findings = prober().run(Request(("flows", "pages"), looks=2))
    assert [item.probe for item in findings.observations].count("flow") == 2
    assert [item.probe for item in findings.observations].count("page") == 2
    assert application.campaigns == {}


def listening(**heard: Any) -> list[dict[str, Any]]:  # noqa: ANN401 plain data
    flow = copy.deepcopy(CREATE)
    flow["steps"][1]["expect"]["broadcast"] = {"channel": {"channel": "C"}, "contains": "campaign_${id}", **heard}
    return [flow]


@pytest.mark.promise("P3")
def test_open_pages_are_asked_before_and_hear_afterwards(
    application: Application, prober: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Page:
        def __init__(self, _client: object, path: str, channel: dict[str, str], _timeout: float) -> None:
            order.append(f"subscribe {path} {channel['channel']} {len(application.paths('POST'))}")

        def hear(self, text: str, timeout: float) -> None:
            order.append(f"hear {text} {timeout} {len(application.paths('POST'))}")
            raise HttpError("no broadcast")

        def close(self) -> None:
            order.append("close")

    monkeypatch.setattr(_probe_flows, "Cable", Page)
    seen = details(look(prober(flows=listening(within=2))))
    assert seen[FLOW] == (False, "POST /campaigns: /cable: no broadcast")
    assert order == ["subscribe /cable C 1", "hear campaign_1 2 2", "close"]
    assert application.campaigns == {}, "the cleanup runs all the same"


@pytest.mark.promise("P3")
def test_where_no_page_can_listen_nothing_is_created(application: Application, prober: Build) -> None:
    seen = details(look(prober(flows=listening())))
    assert seen[FLOW] == (False, "GET /cable: 404, expected a WebSocket")
    assert not [asked for asked in application.asked if "campaign[name]" in asked.form]
