"""Real runs of ansible-playbook against a host that cannot be reached: judging connects to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.modules.rollback_criteria import DOCUMENTATION, EXAMPLES, RETURN

from tests.unit.plugins.action import unreachable

CRITERIA = [
    {"id": "R2", "title": "Critical functionality broken", "probes": ["flow", "page"], "required": ["page"]},
    {"id": "R3", "title": "A page takes over 5 seconds", "probes": ["page"], "over": 5, "unit": "s", "looks": 2},
]
BROKEN = {"probe": "flow", "subject": "create a test campaign", "detail": "POST /campaigns: 500, expected 302 or 303"}


def seen(**given: object) -> dict[str, Any]:
    base = {"probe": "page", "subject": "/campaigns", "at": "2026-11-23T08:00:00.000Z", "value": None, "unit": None}
    return {**base, "ok": True, "detail": "200", **given}


def judge(name: str, **arguments: object) -> dict[str, Any]:
    given = {"criteria": CRITERIA, "observations": [], **arguments}
    return {
        "name": name,
        "slipway.release.rollback_criteria": given,
        "register": name,
        "ignore_errors": True,
    }


SLOW = seen(value=8.0, unit="s")
TASKS = [
    judge("broken", observations=[seen(ok=False, **BROKEN), seen()]),
    judge("lenient", observations=[seen(ok=False, **BROKEN)], fail=False),
    judge("first", observations=[SLOW]),
    judge("second", observations=[SLOW], state="{{ first.state }}"),
    judge("well", observations=[seen(value=1, unit="s")], state="{{ first.state }}"),
    judge("closed", observations=[], deadline=True),
    judge("no_criteria", criteria=[{"id": "R1"}]),
    judge("no_observation", observations=[{"probe": "page"}]),
    judge("no_state", state={"breaches": [1]}),
]
NAMES = [task["name"] for task in TASKS]


def play(directory: Path, *options: str) -> dict[str, Any]:
    """Judge as TASKS say and return each task's result."""
    kept = directory / "results.json"
    write: dict[str, Any] = {
        "name": "Keep the results",
        "ansible.builtin.copy": {
            "content": f"{{{{ [{', '.join(NAMES)}] | to_json }}}}",
            "dest": str(kept),
            "mode": "600",
        },
        "delegate_to": "localhost",
        "check_mode": False,
    }
    playbook = yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [*TASKS, write]}])
    done = unreachable.play(directory, playbook, *options)
    assert done.returncode == 0, done.stdout
    return dict(zip(NAMES, json.loads(kept.read_text()), strict=True))


@pytest.fixture(scope="module", params=[(), ("--check",)], ids=["run", "check"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return play(tmp_path_factory.mktemp("judge"), *request.param)


def test_a_reason_to_go_back_fails_the_task_in_one_line(results: dict[str, Any]) -> None:
    found = results["broken"]
    assert (found["failed"], found["changed"], found["verdict"]["overall"]) == (True, False, "rollback")
    assert found["msg"] == (
        "R2 Critical functionality broken: create a test campaign: POST /campaigns: 500, expected 302 or 303"
    )
    assert found["judged"] == 2
    assert "Traceback" not in found.get("exception", "")


def test_it_can_be_told_not_to_fail(results: dict[str, Any]) -> None:
    assert (results["lenient"]["failed"], results["lenient"]["verdict"]["overall"]) == (False, "rollback")


def test_the_state_carries_counts_from_one_task_to_the_next(results: dict[str, Any]) -> None:
    assert (results["first"]["failed"], results["first"]["msg"]) == (False, "inconclusive")
    assert (results["second"]["failed"], results["second"]["verdict"]["criteria"][1]["count"]) == (True, 2)
    assert results["second"]["msg"].endswith("/campaigns took 8.0 s, more than 5 s")
    assert (results["well"]["failed"], results["well"]["msg"]) == (False, "hold")


def test_no_evidence_at_the_deadline_fails_the_task(results: dict[str, Any]) -> None:
    assert results["closed"]["failed"]
    assert results["closed"]["msg"] == "R2 Critical functionality broken: no evidence of page at the deadline"


@pytest.mark.parametrize(
    "name,said",
    [("no_criteria", "criteria[0].title"), ("no_observation", "observation: lacks"), ("no_state", "state: ")],
)
def test_what_cannot_be_judged_is_one_line(results: dict[str, Any], name: str, said: str) -> None:
    found = results[name]
    assert found["failed"]
    assert found["msg"].startswith(said)
    assert "\n" not in found["msg"]
    assert "Traceback" not in found.get("exception", "")


def test_the_documentation_covers_what_is_returned(results: dict[str, Any]) -> None:
    documented = set(yaml.safe_load(RETURN))
    assert documented == {"judged", "msg", "state", "verdict"}
    assert documented <= set(results["broken"])
    options = set(yaml.safe_load(DOCUMENTATION)["options"])
    used = {key for task in yaml.safe_load(EXAMPLES) for key in task["slipway.release.rollback_criteria"]}
    assert used <= options == {"criteria", "observations", "state", "baseline", "deadline", "fail"}
