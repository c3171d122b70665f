"""Jobs as AWX runs them, as far as they come without a host."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab._common import ROOT
from tests import awx_job

SECRET = "canary-51ab2"
# nobody answers there: whoever connects says so
GONE = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}

pytestmark = pytest.mark.promise("U3")


def inventory(**variables: object) -> dict[str, Any]:
    """The inventory of the sample's site, with a secret that a credential injects."""
    profile = yaml.safe_load((ROOT / "examples/swarm/profile.yml").read_text())
    secret = '{{ lookup("ansible.builtin.env", "SLIPWAY_VAULT_OPERATOR_PASSWORD", default=undef()) }}'
    common = {
        "ansible_python_interpreter": sys.executable,
        "application_environment": {"OPERATOR_PASSWORD": "{{ vault_operator_password }}"},
        "site_host_name": "swarm.example.test",
        "site_repository": "/srv/git/swarm.git",
        "vault_operator_password": secret,
        **profile,
        **variables,
    }
    return {
        "all": {"children": ["sites"], "vars": common},
        "sites": {"hosts": ["site1"]},
        "_meta": {"hostvars": {"site1": GONE}},
    }


def lay_out(directory: Path, **answers: object) -> None:
    injected = {"SLIPWAY_VAULT_OPERATOR_PASSWORD": SECRET}
    awx_job.lay_out(directory, inventory(), answers, environment=injected)


@pytest.mark.parametrize(
    "playbook, answers, said, ended",
    [
        # an argument of a role that a deploy reaches when the release is in already
        (
            "playbooks/deploy.yml",
            {"release_version": "1.2.0", "monitor_looks": "many"},
            "'monitor_looks' is of type",
            "REFUSED",
        ),
        ("playbooks/rollback.yml", {"rollback_schema": "sideways"}, "rollback_schema must be one of", "REFUSED"),
        ("playbooks/monitor.yml", {"monitor_interval": "often"}, "'monitor_interval' is of type", "FAILED"),
    ],
)
def test_an_answer_of_a_wrong_type_is_refused_before_anything_is_reached(
    tmp_path: Path, playbook: str, answers: dict[str, str], said: str, ended: str
) -> None:
    lay_out(tmp_path, **answers)
    done = awx_job.run(tmp_path, playbook)
    assert done.returncode != 0
    assert "Traceback" not in done.output
    assert any(said in line for line in done.output.splitlines()), done.output
    assert any(line.startswith("site1: ") and ended in line for line in done.output.splitlines())
    # nobody called the host, which would not have answered
    assert "remote calls 0" in done.output
    assert SECRET not in done.output


def test_a_verdict_on_evidence_is_kept_and_one_on_none_is_not(tmp_path: Path) -> None:
    seen = {"probe": "page", "subject": "/", "at": "2026-11-23T08:00:00Z", "value": None, "unit": None, "detail": "200"}
    criteria = [{"id": "R2", "title": "Critical functionality broken", "probes": ["page"], "required": ["page"]}]

    def judged(observations: list[dict[str, Any]]) -> dict[str, Any]:
        lay_out(tmp_path / str(len(observations)))
        given = {"criteria": criteria, "observations": observations}
        tasks = [{"name": "Judge", "slipway.release.rollback_criteria": given}]
        play = [{"name": "Look", "hosts": "all", "gather_facts": False, "tasks": tasks}]
        directory = tmp_path / str(len(observations))
        (directory / "project/playbooks/look.yml").write_text(json.dumps(play))
        done = awx_job.run(directory, "playbooks/look.yml")
        assert done.returncode == 0, done.output
        return done.artifacts

    assert judged([{**seen, "ok": True}]) == {"slipway": {"site1": {"verdict": "hold"}}}
    assert judged([]) == {}


def test_what_came_of_a_job_is_kept_when_its_container_goes(tmp_path: Path) -> None:
    run = {"id": "20261124T080000Z-deploy", "verb": "deploy", "release": "1.2.0", "token": 7}
    verdict = {"overall": "rollback", "criteria": []}
    tasks = [
        {
            "name": "Set the artifacts",
            "ansible.builtin.include_tasks": "{{ playbook_dir }}/../roles/conclude/tasks/artifacts.yml",
            "vars": {
                "release_run": run,
                "conclude_promote": False,
                "conclude_verdict": verdict,
                "rollback_result": {"taken_back": "1.2.0"},
                "__conclude_result": {"current": "1.1.0"},
            },
        }
    ]
    lay_out(tmp_path)
    play = [{"name": "End", "hosts": "all", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "project/playbooks/end.yml").write_text(json.dumps(play))
    done = awx_job.run(tmp_path, "playbooks/end.yml")
    assert done.returncode == 0, done.output
    assert done.artifacts == {
        "slipway": {
            "site1": {
                "verb": "deploy",
                "release": "1.2.0",
                "verdict": "rollback",
                "outcome": "taken back",
                "runs": "1.1.0",
                "record": run["id"],
            }
        }
    }
