"""What preflight says a deploy will do."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._certificate import Certificate
from ansible_collections.slipway.release.plugins.module_utils._forecast import expectation, forecast
from ansible_collections.slipway.release.plugins.module_utils._gates import Answer
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import PROFILE

pytestmark = pytest.mark.promise("G5")

COMMIT = "a" * 40
SEEN = Answer([], COMMIT, already=False, migrations=["1_a.rb", "2_b.rb", "3_c.rb", "README.md"])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A site on which 1.1.0 stands, which took 74 seconds to come in."""
    now = [1_795_000_000.0]
    made = Ledger(tmp_path, clock=lambda: now[0])
    with made.locked():
        run = made.open_run("20261118T112640Z-deploy", "deploy", "anna", "1.1.0")
        now[0] += 74
        made.save_release(Release("1.1.0", "b" * 40, {}, {}, ["1", "2"]))
        made.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))
        made.close_run(run, {}, promote=True)
    return made


def lines(ledger: Ledger, seen: Answer = SEEN, previous: str | None = "1.1.0") -> list[str]:
    site = SimpleNamespace(ledger=ledger, profile=Profile.parse(PROFILE))
    return forecast(cast("Site", site), "1.2.0", {"previous": previous}, seen)


def test_the_plan_says_what_it_will_do_how_long_it_took_and_how_it_is_undone(ledger: Ledger) -> None:
    release, steps, last_time, way_back = lines(ledger)
    assert release == "release: 1.1.0 -> 1.2.0 (commit aaaaaaaaaaaa)"
    assert steps.startswith(
        "steps: fetch and build, backup, rehearsal of 1 migration on a copy, 1 migration, switch (none)"
    )
    assert last_time == "last time: 1.1.0 took 74 s on 2026-11-18"
    assert way_back.startswith(
        "way back: to 1.1.0, by itself when the verdict is rollback, or by playbooks/rollback.yml"
    )
    assert "the rehearsal writes down how the database goes back" in way_back


def test_a_rehearsal_of_this_commit_says_how_the_database_goes_back(ledger: Ledger) -> None:
    certificate = Certificate("1.2.0", COMMIT, "b1", "2026-11-20T10:00:00Z", ["3"], seconds={"migrate": 2.0})
    (ledger.release_directory("1.2.0")).mkdir(mode=0o711)
    with ledger.locked():
        ledger.save_certificate(certificate)
    told = lines(ledger)
    assert told[3].endswith("as the rehearsal of 2026-11-20T10:00:00Z found:")
    assert told[4:] == certificate.plan("1.1.0")
    other = Answer([], "c" * 40, already=False)
    assert "the rehearsal writes down" in lines(ledger, other)[3]


def test_a_first_install_and_what_runs_already_have_plans_of_their_own(tmp_path: Path) -> None:
    empty = Ledger(tmp_path / "nothing")
    told = lines(empty, previous=None)
    assert told[0] == "release: nothing -> 1.2.0 (commit aaaaaaaaaaaa)"
    assert "backup" not in told[1]
    assert "3 migrations" in told[1]
    assert "last time: no deploy is on record here" in told
    assert "it is the first here" in told[3]
    assert "runs already" in lines(empty, Answer([], COMMIT, already=True))[0]
    assert "its migrations" in lines(empty, previous="1.0.0")[1]


@pytest.mark.promise("G7")
def test_what_need_not_hold_is_in_the_plan_and_in_the_run_s_record(ledger: Ledger, tmp_path: Path) -> None:
    excused = (("window", "outside: the disk fails", "ben"),)
    seen = Answer([], COMMIT, already=False, excused=excused)
    assert lines(ledger, seen)[-1] == "window need not hold, says ben: outside: the disk fails"
    with ledger.locked():
        run = ledger.open_run("r2", "deploy", "ben", "1.2.0", excused=excused)
        assert ledger.state().run == run
        ledger.close_run(run, {}, promote=False)
    record: dict[str, Any] = json.loads((tmp_path / "runs/r2.json").read_text())
    at = record["excused"][0].pop("at")
    assert at.startswith("2026-11-18T")
    assert record["excused"] == [{"gate": "window", "why": "outside: the disk fails", "by": "ben"}]


def test_what_the_journal_has_of_the_last_deploy_says_how_long_each_phase_will_take(tmp_path: Path) -> None:
    now = [1_795_000_000.0]
    ledger = Ledger(tmp_path, clock=lambda: now[0])
    site = cast("Site", SimpleNamespace(ledger=ledger, profile=Profile.parse(PROFILE)))
    assert expectation(site, "1.1.0") is None
    assert expectation(site, None) is None

    def step(plan: str, seconds: float, release: str = "1.1.0") -> None:
        for event in ("begin", "done"):
            ledger.journal({"plan": plan, "release": release, "step": f"do {plan}", "event": event})
            now[0] += seconds * (event == "begin")

    # what happened to this release before is another deploy
    step("rehearse", 500)
    now[0] += 60
    with ledger.locked():
        run = ledger.open_run("20261118T112640Z-deploy", "deploy", "anna", "1.1.0")
        now[0] += 4
        for plan, seconds in (("stage", 3), ("backup", 5), ("prune", 90), ("rehearse", 20), ("switch", 9)):
            step(plan, seconds, "backups" if plan == "prune" else "1.1.0")
        now[0] += 30
        ledger.save_release(Release("1.1.0", "b" * 40, {}, {}, ["1", "2"]))
        ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))
        ledger.close_run(run, {}, promote=True)
    assert expectation(site, "1.1.0") == {
        "release": "1.1.0",
        "seconds": 161.0,
        # from the end of one phase to the end of the next, as people wait for them
        "phases": {"stage": 3.0, "backup": 5.0, "rehearse": 110.0, "switch": 9.0},
    }
