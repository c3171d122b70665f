"""The real deploy.yml on this machine, where what reaches a host is told by a story."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.plugins.fleet import play

# The modules that undo migrations or let the host do it, and what they call the seconds for one command.
UNDO_TIMEOUTS = {"migrate": "undo_timeout", "rollback": "timeout", "conclude": "undo_timeout"}


@pytest.mark.timeout(300)
def test_what_is_watched_once_more_counts_no_line_twice_and_all_that_was_seen_is_recorded(tmp_path: Path) -> None:
    run = play(tmp_path, ["slow page"])
    assert run.code == 0, run.printed
    assert run.outcomes == ["deployed"]
    probes = [item for item in run.given if item["module"] == "probe"]
    # cache warm, smoke test, monitor, and monitor again, for a page was slow in too few looks to decide
    assert [item.get("logs_since") for item in probes] == [None, None, None, 1764489600.25]
    assert len({str(item.get("since")) for item in probes[2:]}) == 1
    (concluded,) = (item for item in run.given if item["module"] == "conclude")
    seen = [item["value"] for item in concluded["observations"] if item["subject"] == "/agents"]
    assert seen == [0.1, 0.1, 6.0, 0.1]


@pytest.mark.timeout(300)
def test_what_several_roles_go_by_is_said_once(tmp_path: Path) -> None:
    run = play(tmp_path, ["bad"], rollback_timeout=77, backup_keep=2, backup_keep_days=9)
    assert run.outcomes == ["taken back"], run.printed
    given = {item["module"]: item for item in run.given}
    undone = {name: given[name].get(key) for name, key in UNDO_TIMEOUTS.items()}
    assert undone == dict.fromkeys(UNDO_TIMEOUTS, 77)
    kept = [(given[name]["keep"], given[name]["keep_days"]) for name in ("backup", "conclude")]
    assert kept == [(2, 9), (2, 9)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "playbook, story, variables, calls",
    [
        ("deploy", "bad", {}, ["rollback", "probe", "probe", "conclude"]),
        ("deploy", "never in", {}, ["stage", "rollback", "conclude"]),
        ("rollback", "good", {}, ["preflight", "rollback", "probe", "probe", "conclude"]),
        ("rollback", "never in", {}, ["preflight", "rollback", "probe", "probe", "conclude"]),
        ("restore", "good", {"restore_backup": "7"}, ["preflight", "restore", "probe", "probe", "conclude"]),
    ],
)
def test_what_came_back_is_proven_by_what_was_written_since(
    tmp_path: Path, playbook: str, story: str, variables: dict[str, object], calls: list[str]
) -> None:
    run = play(tmp_path, [story], playbook=playbook, **variables)
    assert run.calls[-len(calls) :] == [f"site1 {name}" for name in calls], run.printed
    given = run.given[-len(calls) :]
    proving = [(item["probes"], item.get("since")) for item in given if item["module"] == "probe"]
    assert [since for _, since in proving] == [None, "2026-11-23T08:05:00Z"][: len(proving)]
    assert [probes == ["warm"] for probes, _ in proving] == [True, False][: len(proving)]


@pytest.mark.timeout(300)
def test_a_release_that_came_back_and_is_not_well_fails_the_run(tmp_path: Path) -> None:
    run = play(tmp_path, ["down"], playbook="rollback")
    assert run.code != 0
    assert "R2 Critical functionality broken: worker: exited" in run.printed
    (concluded,) = (item for item in run.given if item["module"] == "conclude")
    assert concluded["verdict"]["overall"] == "rollback"
