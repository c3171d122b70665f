"""Real runs of ansible-playbook, on this machine alone."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.callback.run_record import DOCUMENTATION, CallbackModule
from ansible_collections.slipway.release.plugins.plugin_utils._run_record import Collector

from tests.unit.playing import ansible_playbook

ROOT = Path(__file__).parents[4]
CANARY = "canary-8f1c7"

INVENTORY = {
    "all": {
        "hosts": {
            "here": {"ansible_connection": "local"},
            "gone": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0},
        },
        "vars": {"ansible_python_interpreter": sys.executable},
    }
}

SLOW = {
    "probe": "page",
    "subject": "/campaigns",
    "at": "2026-11-23T08:00:00Z",
    "value": 8.0,
    "unit": "s",
    "ok": True,
    "detail": "200",
}
CRITERION = {"id": "R3", "title": "A page takes over 5 seconds", "probes": ["page"], "over": 5, "unit": "s"}

JUDGE: dict[str, Any] = {
    "name": "Judge",
    "slipway.release.rollback_criteria": {"criteria": [CRITERION], "observations": [SLOW], "fail": False},
}
SECRET_ITEMS: dict[str, Any] = {
    "name": "Handle secrets one by one",
    "ansible.builtin.debug": {"msg": "{{ item }}"},
    "loop": [CANARY],
    "no_log": True,
}
SECRET_FAILURE: dict[str, Any] = {
    "name": "Handle a secret and fail",
    "ansible.builtin.fail": {"msg": f"the password {CANARY} is wrong"},
    "no_log": True,
    "ignore_errors": True,
}
CALL: dict[str, Any] = {"name": "Call the host", "ansible.builtin.raw": "echo reached; exit 3"}


def play(tmp_path: Path, tasks: list[dict[str, Any]], limit: str = "all", **environment: str) -> tuple[int, str]:
    """Run tasks as a playbook; its exit code and all that it printed."""
    inventory, playbook = tmp_path / "inventory.yml", tmp_path / "try.yml"
    inventory.write_text(yaml.safe_dump(INVENTORY))
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = ansible_playbook(
        tmp_path / "records",
        *("-i", inventory, "-l", limit, playbook),
        environment={"ANSIBLE_SSH_ARGS": "-o ConnectTimeout=2 -o ControlMaster=no", **environment},
    )
    return done.returncode, done.stdout


def test_a_run_is_recorded_told_and_keeps_its_secrets(tmp_path: Path) -> None:
    code, printed = play(tmp_path, [JUDGE, SECRET_ITEMS, SECRET_FAILURE, CALL])
    assert code != 0
    latest = tmp_path / "records" / "latest.json"
    text = latest.read_text()
    record = json.loads(text)
    here, gone = record["hosts"]["here"], record["hosts"]["gone"]

    assert (record["verb"], record["run"], record["check_mode"]) == ("try", None, False)
    assert here["failed"]["task"] == "Call the host"
    assert (here["lost"], gone["lost"]) == (False, True)
    assert (here["outcome"], gone["outcome"]) == ("failed", "refused")
    assert here["verdict"]["overall"] == "rollback"
    assert (here["remote_calls"], gone["remote_calls"]) == (1, 1)
    subjects = [item["subject"] for item in here["observations"]]
    assert subjects[-1] == "Call the host"
    assert "127.0.0.1" in gone["failed"]["msg"]

    assert CANARY not in text
    assert stat.S_IMODE(latest.stat().st_mode) == 0o600
    assert f"record: {latest.resolve()}" in printed
    block = printed.partition("PLAY RECAP")[2]
    assert CANARY not in block
    assert "R3  A page takes over 5 seconds   ROLLBACK\n      /campaigns: 8.0 s, 200" in block


def test_a_record_that_cannot_be_written_is_one_warning_beside_another_stdout_callback(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    environment = {
        "SLIPWAY_RECORD_DIR": str(in_the_way / "records"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
    }
    code, printed = play(tmp_path, [JUDGE], "here", **environment)
    assert code == 0
    assert printed.count("the record of this run is not complete") == 1
    assert "here | SUCCESS" in printed
    assert "ROLLBACK" in printed


def test_a_run_of_something_else_is_not_recorded(tmp_path: Path) -> None:
    code, printed = play(tmp_path, [SECRET_ITEMS], "here")
    assert code == 0
    assert "record:" not in printed
    assert not (tmp_path / "records").exists()


def test_the_options_are_documented() -> None:
    option = yaml.safe_load(DOCUMENTATION)["options"]["record_dir"]
    assert option["env"] == [{"name": "SLIPWAY_RECORD_DIR"}]
    assert option["ini"] == [{"key": "record_dir", "section": "slipway"}]


def test_an_error_of_our_own_is_one_warning_and_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    callback = CallbackModule()
    monkeypatch.setattr(callback._display, "warning", warnings.append)
    callback._collector = Collector("deploy.yml", check_mode=False)
    for _ in range(2):
        callback.v2_runner_on_ok(CANARY)
    assert warnings == ["slipway.release.run_record: the record of this run is not complete: AttributeError"]
