"""Every bad release is taken back by itself, and the release before is exactly what it was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lab.witness import Witness
from tests.scenarios.conftest import Run

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"


@pytest.mark.parametrize(
    "version, criterion, said",
    [
        pytest.param("1.2.0", "R2", "create a test campaign", marks=pytest.mark.promise("R2", "R6", "D5", "D6", "P5")),
        pytest.param("1.3.0", "R1", "db:migrate", marks=pytest.mark.promise("R1", "M4", "R6")),
        pytest.param("1.4.0", "R3", "/campaigns", marks=pytest.mark.promise("R3", "R6")),
    ],
)
def test_a_bad_release_is_taken_back(play: Play, look: Look, sh: Sh, version: str, criterion: str, said: str) -> None:
    before = look()
    run = play("deploy.yml", "-e", f"release_version={version}")
    after = look()
    assert run.returncode != 0
    assert f"{version} was taken back, 1.1.0 runs" in run.output

    assert after.release == "1.1.0"
    assert (after.commit, after.env, after.dirty) == (before.commit, before.env, 0)
    assert after.images == before.images
    assert after.schema == before.schema
    assert after.rows == before.rows
    assert after.files == before.files
    assert after.leftovers == []

    verdict = run.record["hosts"]["site1"]["verdict"]
    deciding = [item for item in verdict["criteria"] if item["verdict"] == "rollback"]
    assert [item["id"] for item in deciding] == [criterion]
    assert said in json.dumps(deciding)
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    assert (state["current"], state["candidate"], state["run"]) == ("1.1.0", None, None)
    assert state["history"][-1]["event"] == "taken back"
    recorded = json.loads(sh(f"cat $(ls -t {STATE}/runs/*.json | head -1)"))
    assert [item["id"] for item in recorded["verdict"]["criteria"] if item["verdict"] == "rollback"] == [criterion]


@pytest.mark.promise("R1")
def test_a_failed_migration_disturbs_nobody(play: Play, look: Look) -> None:
    before = look()
    run = play("deploy.yml", "-e", "release_version=1.3.0")
    assert run.returncode != 0
    # nothing was switched, so that nothing had to be restarted
    assert look().started == before.started


@pytest.mark.promise("R6")
def test_an_operator_takes_a_good_release_back_with_what_was_written_since_saved(
    play: Play, look: Look, sh: Sh
) -> None:
    run = play("rollback.yml")
    assert run.returncode == 0, run.output
    after = look()
    assert after.release == "1.0.0"
    assert after.leftovers == []
    assert sh(f"ls -d {STATE}/backups/*-rollback/manifest.json").strip()
    again = play("rollback.yml")
    assert again.returncode != 0
    assert "there is nothing to roll back to" in again.output
    assert look().started == after.started
