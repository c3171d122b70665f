from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.plugin_utils._run_record import (
    FAILED,
    HIDDEN,
    OK,
    SKIPPED,
    UNREACHABLE,
    Ended,
    phase_of,
    write,
)

from tests.unit.plugins.plugin_utils.run_story import RUN, Story, bad_deploy, good_deploy, refused, seen


@pytest.mark.parametrize(
    "role,path,expected",
    [
        ("slipway.release.backup", "/roles/backup/tasks/main.yml:3", "backup"),
        ("slipway.release.preflight", "/roles/preflight/tasks/gates.yml:3", "preflight"),
        ("slipway.release.deploy", "/roles/deploy/tasks/stage.yml:2", "stage"),
        ("deploy", "/roles/deploy/tasks/switch.yml:2", "switch"),
        ("slipway.release.deploy", "/playbooks/deploy.yml:1", None),
        ("deploy", None, None),
        (None, "/playbooks/deploy.yml:4", None),
    ],
)
def test_a_phase_is_a_role_or_an_entry_point_of_the_deploy(
    role: str | None, path: str | None, expected: str | None
) -> None:
    assert phase_of(role, path) == expected


def test_a_release_that_stands() -> None:
    record = good_deploy().record()
    host = record["hosts"]["site1"]
    assert (record["format"], record["verb"], record["run"], record["check_mode"]) == (1, "deploy", RUN, False)
    assert (host["outcome"], host["release"], host["release_running"]) == ("deployed", "1.2.0", "1.2.0")
    assert (host["application"], host["failed"], host["lost"], host["after"]) == ("swarm", None, False, None)
    assert (host["remote_calls"], host["rails_boots"], host["changed"]) == (6, 1, 4)
    assert [item["subject"] for item in host["observations"]] == ["migrate"]
    json.dumps(record, allow_nan=False)


def test_a_later_look_settles_what_was_inconclusive() -> None:
    assert good_deploy().host()["verdict"]["overall"] == "hold"


def test_a_release_that_is_taken_back_keeps_the_verdict_that_took_it_back() -> None:
    host = bad_deploy().host()
    assert (host["outcome"], host["release_running"]) == ("taken back", "1.1.0")
    assert (host["verdict"]["overall"], host["after"]["overall"]) == ("rollback", "hold")
    assert host["failed"]["msg"].startswith("R2 Critical functionality broken")
    assert host["logs"] == "/var/lib/slipway/swarm/logs/7"


def test_a_rollback_is_not_forgotten_when_a_later_look_is_well() -> None:
    assert Story().opened().judged("rollback").judged("hold").host()["verdict"]["overall"] == "rollback"


def test_a_failure_judged_after_going_back_is_a_verdict_on_what_came_in() -> None:
    broken = seen("migration", "migrate", "raised", ok=False)
    story = Story().opened().ours("migrate", {"msg": "no", "observations": [broken]}, status=FAILED)
    story.ours("rollback", {"taken_back": "1.2.0", "standing": "1.1.0"}).judged("rollback", observations=[broken])
    assert story.host()["after"] is None
    host = story.judged("hold", deadline=True).host()
    assert (host["verdict"]["overall"], host["after"]["overall"]) == ("rollback", "hold")


def test_a_verdict_that_had_nothing_to_judge_is_left_out() -> None:
    assert Story().judged("hold", judged=0).opened().host()["verdict"] is None


@pytest.mark.parametrize("overall,judged", [("inconclusive", 3), ("rollback", 0)])
def test_missing_evidence_is_told(overall: str, judged: int) -> None:
    assert Story().opened().judged(overall, judged=judged).host()["verdict"]["overall"] == overall


def test_what_the_play_says_in_words_is_no_observation_of_its_own() -> None:
    assert [item["subject"] for item in bad_deploy().host()["observations"]] == ["create a test campaign"]
    assert [item["probe"] for item in refused().host()["observations"]] == ["gate"] * 3


def test_a_failure_that_the_play_repeats_is_one_observation() -> None:
    story = Story().opened().ours("stage", {"msg": "the build failed"}, status=FAILED).fails("1.2.0 was not staged")
    assert [item["detail"] for item in story.host()["observations"]] == ["the build failed"]


def test_a_refusal() -> None:
    record = refused().record()
    host = record["hosts"]["site1"]
    assert (record["run"], record["verb"]) == (None, "deploy")
    assert (host["outcome"], host["release"], host["release_running"]) == ("refused", "1.2.0", None)


def test_a_host_that_is_lost_before_anything_began_is_refused() -> None:
    host = Story().ours("preflight", {"lost_host": True, "msg": "site1 cannot be reached"}).fails("no").host()
    assert (host["outcome"], host["lost"]) == ("refused", True)


def test_an_unreachable_host_is_lost_and_its_failure_an_observation() -> None:
    host = Story().opened().task("ansible.builtin.command", {"msg": "timed out"}, status=UNREACHABLE, task="Ask").host()
    assert (host["outcome"], host["lost"], host["failed"]) == ("failed", True, {"task": "Ask", "msg": "timed out"})
    found = host["observations"][-1]
    assert (found["probe"], found["subject"], found["ok"], found["detail"]) == ("task", "Ask", False, "timed out")


def test_a_role_that_refuses_its_arguments_is_a_refusal() -> None:
    story = Story().task("ansible.builtin.validate_argument_spec", {"msg": "no"}, status=FAILED, phase="preflight")
    assert story.host()["outcome"] == "refused"


def test_criteria_that_cannot_be_judged_by_refuse_the_deploy() -> None:
    story = Story().ours(
        "rollback_criteria", {"msg": "criteria: R2 stands there twice"}, status=FAILED, phase="verdict"
    )
    assert story.host()["outcome"] == "refused"
    again = Story().judged("inconclusive", judged=0)
    again.task("ansible.builtin.validate_argument_spec", {"msg": "no"}, status=FAILED, phase="preflight")
    assert again.host()["outcome"] == "refused"


def test_a_task_before_preflight_that_fails_is_no_refusal() -> None:
    assert Story().task("a.b.c", {"msg": "no"}, status=FAILED, phase=None).host()["outcome"] == "failed"


def test_an_adoption_that_fails_is_no_refusal() -> None:
    broken = seen("gate", "adopt: record what runs", "no space left", ok=False)
    host = Story().ours("preflight", {"observations": [broken], "msg": "adopt"}).fails("adopt").host()
    assert host["outcome"] == "failed"


@pytest.mark.parametrize(
    "story,outcome,running",
    [
        (Story().ours("preflight", {"run": {**RUN, "token": 0}, "already": True}), "already runs", "1.1.0"),
        (Story(check_mode=True).opened(token=0).ours("switch"), "looked at", "1.1.0"),
        (Story().opened(verb="backup").ours("conclude", {"current": "1.1.0"}), "looked at", "1.1.0"),
        (Story().opened().ours("stage"), "failed", "1.1.0"),
        (Story().opened().ours("switch", {"msg": "no"}, status=FAILED), "failed", None),
        (
            Story().opened().ours("rollback", {"msg": "no"}, status=FAILED).ours("conclude", {"current": "1.1.0"}),
            "failed",
            None,
        ),
        (
            Story().ours("rollback", {"taken_back": "1.0.0", "standing": None, "msg": ""}, status=FAILED),
            "taken back",
            None,
        ),
        (Story(playbook="playbooks/status.yml").ours("status", {"status": {"current": "1.1.0"}}), "looked at", "1.1.0"),
        (Story(playbook="playbooks/status.yml").ours("status", {"msg": "no"}, status=FAILED), "failed", None),
        (Story().opened().ours("stage", {"msg": "no"}, status=FAILED), "failed", "1.1.0"),
    ],
)
def test_what_becomes_of_a_run(story: Story, outcome: str, running: str | None) -> None:
    host = story.host()
    assert (host["outcome"], host["release_running"]) == (outcome, running)


def test_phases_are_timed_and_a_phase_that_comes_again_is_told_again() -> None:
    story = Story().opened().ours("probe", phase="cache_warm").ours("probe", phase="smoke_test")
    story.task("ansible.builtin.set_fact", phase="smoke_test").ours(
        "probe", {"msg": "no"}, status=FAILED, phase="verdict"
    )
    story.ours("probe", phase="smoke_test")
    phases = story.host()["phases"]
    assert [(item["name"], item["ok"]) for item in phases] == [
        ("preflight", True),
        ("cache_warm", True),
        ("smoke_test", True),
        ("verdict", False),
        ("smoke_test", True),
    ]
    assert all(item["seconds"] > 0 for item in phases)
    assert phases[2]["seconds"] > phases[1]["seconds"]


@pytest.mark.parametrize(
    "changes,calls",
    [
        ({"action": "ansible.builtin.command"}, 1),
        ({"action": "command", "result": {"attempts": 3}}, 3),
        ({"action": "community.general.debug"}, 1),
        ({"action": "ansible.builtin.command", "looped": True, "result": {"results": [{}, {"skipped": True}, {}]}}, 2),
        ({"action": "ansible.builtin.command", "hidden": True, "result": {"censored": "no_log"}}, 1),
        ({"action": "ansible.builtin.command", "delegated": True}, 0),
        ({"action": "ansible.builtin.command", "status": SKIPPED}, 0),
        ({"action": "ansible.builtin.set_fact"}, 0),
        ({"action": "debug"}, 0),
        ({"action": "ansible.legacy.include_tasks"}, 0),
        ({"action": "slipway.release.rollback_criteria"}, 0),
        ({"action": "slipway.release.probe"}, 1),
    ],
)
def test_remote_calls_are_counted(changes: dict[str, Any], calls: int) -> None:
    assert Story().opened().task(**changes).host()["remote_calls"] == 1 + calls


def test_a_hidden_result_is_not_looked_at() -> None:
    result = {"msg": "canary", "observations": [seen("page", "canary", "canary")], "rails_boots": 1}
    text = json.dumps(Story().ours("probe", result, hidden=True, status=FAILED).record())
    assert "canary" not in text
    assert HIDDEN in text


def test_a_censored_item_of_a_loop_is_not_looked_at() -> None:
    items = [{"censored": "no_log", "exception": "", "msg": "canary"}, {"exception": "", "msg": "seen"}]
    host = Story().task("a.b.c", {"results": items}, looped=True, status=FAILED).host()
    assert host["failed"]["msg"] == "seen"


def test_of_a_profile_only_its_name_is_recorded() -> None:
    assert "canary" not in json.dumps(bad_deploy().record())


def test_an_ignored_failure_is_an_observation_and_no_failure_of_the_host() -> None:
    host = Story().opened(verb="backup").task("a.b.c", {"msg": "no"}, status=FAILED, ignored=True).host()
    assert (host["outcome"], host["failed"], host["phases"][-1]["ok"]) == ("looked at", None, True)
    assert host["observations"][-1]["detail"] == "no"


def test_a_failure_that_brings_its_observations_gets_none_invented() -> None:
    broken = seen("migration", "migrate", "raised", ok=False)
    assert Story().ours("migrate", {"msg": "no", "observations": [broken]}, status=FAILED).host()["observations"] == [
        broken
    ]


def test_a_failure_that_was_rescued_leaves_no_failure() -> None:
    story = Story().opened(verb="backup").task("a.b.c", {"msg": "no"}, status=FAILED)
    story.failed.clear()
    assert story.host()["failed"] is None


@pytest.mark.parametrize("strange", [None, 3, "text", ["text"], [None], {"a": 1}])
def test_strange_results_are_survived(strange: object) -> None:
    story = Story()
    for module in ("preflight", "probe", "rollback_criteria", "rollback", "conclude", "status"):
        keys = (
            "run",
            "observations",
            "verdict",
            "failures",
            "status",
            "rails_boots",
            "attempts",
            "standing",
            "current",
        )
        story.ours(module, dict.fromkeys(keys, strange), arguments={"application": strange, "verb": strange})
        story.ours(module, {"results": strange}, looped=True, status=FAILED)
    json.dumps(story.record(), allow_nan=False)


def test_only_a_run_with_our_tasks_is_ours() -> None:
    story = Story().task("ansible.builtin.command")
    assert not story.collector.ours
    assert story.ours("status").collector.ours


def test_a_task_of_our_roles_makes_a_run_ours() -> None:
    collector = Story().collector
    collector.end(Ended("site1", "Check", "ansible.builtin.validate_argument_spec", "preflight", OK), of_our_role=True)
    assert collector.ours


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_record_is_private_and_whole_and_the_latest_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "build" / "records"
    record = good_deploy().record()
    first, second = write(record, directory), write({**record, "verb": "../x y"}, directory)
    assert first.name == "20261123T080000Z-deploy.json"
    assert second.name == "20261123T080000Z-_x_y.json"
    assert (mode_of(directory), mode_of(first)) == (0o700, 0o600)
    assert json.loads(first.read_text()) == record
    latest = directory / "latest.json"
    assert latest.readlink() == Path(second.name)
    assert {path.name for path in directory.iterdir()} == {first.name, second.name, "latest.json"}


def test_what_is_no_character_does_not_cost_the_record(tmp_path: Path) -> None:
    record = {**Story().opened().record(), "inventory": ["half a \ud83d"]}
    assert json.loads(write(record, tmp_path / "records").read_text())["inventory"] == ["half a \ud83d"]


def test_no_record_is_overwritten(tmp_path: Path) -> None:
    record = good_deploy().record()
    assert [write(record, tmp_path).name for _ in range(3)] == [
        "20261123T080000Z-deploy.json",
        "20261123T080000Z-deploy-2.json",
        "20261123T080000Z-deploy-3.json",
    ]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write({**good_deploy().record(), "seconds": float("nan")}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sites_of_a_fleet_that_were_not_begun_are_recorded_too() -> None:
    story = bad_deploy()
    story.collector.wave(["site1"], ["site1", "site2", "site3"])
    record = story.record()
    assert record["fleet"] == {"waves": [["site1"]], "not_begun": ["site2", "site3"]}
    assert [host["outcome"] for host in record["hosts"].values()] == ["taken back", "not begun", "not begun"]
    json.dumps(record, allow_nan=False)


def test_a_play_that_takes_all_hosts_at_once_is_no_fleet() -> None:
    story = good_deploy()
    story.collector.wave(["site1"], ["site1"])
    assert story.record()["fleet"] is None


def test_a_site_that_the_fleet_s_gate_refuses_was_not_touched() -> None:
    host = Story().fails("an earlier wave does not hold", phase="fleet").host()
    assert (host["outcome"], host["changed"]) == ("refused", 0)


def test_what_another_site_s_ledger_says_is_not_this_one_s() -> None:
    answers = {"results": [{"status": {"current": "1.2.0"}}, {"lost_host": True}]}
    story = Story().ours("status", answers, looped=True, delegated=True, phase="fleet")
    host = story.fails("an earlier wave does not hold", phase="fleet").host()
    assert (host["release_running"], host["lost"], host["remote_calls"]) == (None, False, 0)


@pytest.mark.promise("D4")
def test_jobs_that_were_pushed_back_are_those_of_all_moves_also_of_one_that_failed() -> None:
    first, then = {"pushed_back": 1, "at_work": ["LaunchJob 1f"]}, {"pushed_back": 2, "at_work": ["LaunchJob 2a"]}
    story = Story().opened().ours("switch", {"msg": "no", **first}, status=FAILED)
    story.ours("rollback", {"taken_back": "1.2.0", "standing": "1.1.0", **then})
    assert story.fails("no").host()["pushed_back"] == {"jobs": 3, "at_work": ["LaunchJob 1f", "LaunchJob 2a"]}
    assert good_deploy().host()["pushed_back"] is None
