"""Fleets on this machine: the real deploy.yml, roles and judge; only what reaches a host is a story."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.release.plugins.modules.fleet_gate import ARGUMENTS, EXAMPLES

from tests.unit.plugins.fleet import ROOT, play

# whole deploys of several sites: seconds on an idle machine, minutes on a busy one
pytestmark = pytest.mark.timeout(900)

DEPLOY = ["preflight", "stage", "backup", "rehearse", "migrate", "switch", "probe", "probe", "probe", "conclude"]


def test_a_wave_with_a_bad_site_stops_the_fleet_and_leaves_the_others_whole(tmp_path: Path) -> None:
    run = play(tmp_path, ["good", "bad", "good", "good"], "-e", "fleet_waves=2,1")
    assert run.code != 0
    assert run.outcomes == ["deployed", "taken back", "refused", "not begun"]
    assert [(tmp_path / name).read_text() for name in ("site1", "site2")] == ["1.2.0", "1.1.0"]
    assert run.of("site3") == run.of("site4") == []
    assert run.of("site1") == [*DEPLOY, "status"]

    refused = run.record["hosts"]["site3"]["failed"]["msg"]
    assert refused == (
        "nothing was changed here, for an earlier wave does not hold: site2: 1.2.0 was taken back, 1.1.0 runs: "
        "R2 Critical functionality broken: create a test campaign: POST /campaigns answered 500"
    )
    assert run.record["fleet"] == {"waves": [["site1", "site2"], ["site3"]], "not_begun": ["site4"]}
    assert "fleet: 1 deployed, 1 taken back, 1 refused, 1 not begun\n" in run.printed
    assert "  later   not begun, nothing was changed: site4\n" in run.printed
    assert "Traceback" not in run.printed


def test_a_site_that_cannot_be_reached_is_left_out_and_one_that_bakes_badly_stops_the_fleet(tmp_path: Path) -> None:
    options = {"fleet_waves": "2,1", "fleet_bake": 1, "fleet_unreachable": "skip"}
    given = [item for name, value in options.items() for item in ("-e", f"{name}={value}")]
    run = play(tmp_path, ["good", "lost", "stale", "good"], *given)
    assert run.code != 0
    assert run.outcomes == ["deployed", "refused", "failed", "not begun"]
    assert run.of("site1") == [*DEPLOY, "probe", "status"]
    # it is not taken back by the run, which is concluded
    assert run.of("site3") == [*DEPLOY, "probe"]
    assert run.record["hosts"]["site3"]["release_running"] == "1.2.0"
    assert "wave 2 of 3 may begin; left out, for they could not be reached: site2" in " ".join(run.printed.split())
    assert "  wave 2  failed: site3: R2 Critical functionality broken\n" in run.printed


def test_a_canary_that_took_itself_back_meanwhile_stops_the_fleet(tmp_path: Path) -> None:
    run = play(tmp_path, ["watched", "good"], "-e", '{"fleet_waves": [1]}')
    assert run.code != 0
    assert run.of("site2") == []
    assert (
        "site1: 1.2.0 stood there and was taken back since, 1.1.0 runs" in run.record["hosts"]["site2"]["failed"]["msg"]
    )


def test_without_waves_each_site_goes_by_itself_a_bad_one_back_and_nothing_is_said_of_a_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", "ansible.builtin.host_pinned")
    run = play(tmp_path, ["bad", "good"])
    assert run.code != 0
    assert run.outcomes == ["taken back", "deployed"]
    assert [(tmp_path / name).read_text() for name in ("site1", "site2")] == ["1.1.0", "1.2.0"]
    assert run.of("site2") == DEPLOY
    # nothing in it is once for all, or stops all
    assert "free strategy" not in run.printed
    assert run.record["fleet"] is None
    assert not any(word in run.printed for word in ("TASK [Fleet", "TASK [Bake", "slipway.release.fleet", "\nfleet:"))


def test_check_mode_looks_at_every_wave_and_asks_no_ledger(tmp_path: Path) -> None:
    run = play(tmp_path, ["good", "good"], "-e", "fleet_waves=1", "--check")
    assert run.code == 0, run.printed
    assert run.outcomes == ["looked at", "looked at"]
    assert "status" not in run.of("site1")
    assert "preflight" in run.of("site2")


def test_a_size_that_is_none_is_one_line(tmp_path: Path) -> None:
    run = play(tmp_path, ["good", "good"], "-e", "fleet_waves=canary")
    assert (run.code != 0, run.calls) == (True, [])
    assert "fleet_waves: 'canary' is no size of a wave" in run.printed
    assert "Traceback" not in run.printed


def test_waves_of_an_inventory_that_ansible_does_not_see_are_refused(tmp_path: Path) -> None:
    run = play(tmp_path, ["good", "good"], fleet_waves=[1])
    assert (run.code != 0, run.calls) == (True, [])
    assert run.outcomes == ["refused", "refused"]
    assert "fleet_waves did not divide this run: give it with -e" in " ".join(run.printed.split())


def test_the_gate_comes_first_and_the_bake_last() -> None:
    (found,) = yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text())
    first, last = found["tasks"][0], found["tasks"][-1]
    assert first["ansible.builtin.include_role"] == {"name": "slipway.release.fleet"}
    assert last["ansible.builtin.include_role"] == {"name": "slipway.release.fleet", "tasks_from": "bake"}
    assert "any_errors_fatal" not in found


def test_the_examples_give_what_is_taken() -> None:
    used = {key for task in yaml.safe_load(EXAMPLES) for key in task.get("slipway.release.fleet_gate", ())}
    assert used <= set(ARGUMENTS)
