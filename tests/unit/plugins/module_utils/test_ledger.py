from __future__ import annotations

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import (
    LockedError,
    OutOfOrderError,
    SlipwayError,
)
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    Armed,
    Before,
    Candidate,
    Ledger,
    Release,
    write_file,
)

RELEASE = Release("1.1.0", "a" * 40, {"web": "sha256:1"}, {"web": "swarm:1.1.0"}, ["20260101000000"])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "swarm")


def test_an_untouched_site_has_an_empty_state_and_reading_makes_nothing(ledger: Ledger) -> None:
    assert ledger.state().current is None
    assert not ledger.busy()
    assert not ledger.root.exists()


def test_state_survives_being_written_and_read(ledger: Ledger) -> None:
    before = Before("1.0.0", ["1"], "f" * 64, "b1")
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller")
        ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "migrated", before))
    state = ledger.state()
    assert state.run == run
    assert state.candidate == Candidate("1.1.0", "migrated", before)


def test_writing_needs_the_lock(ledger: Ledger) -> None:
    with ledger.locked():
        pass
    with pytest.raises(OutOfOrderError, match="under its lock"):
        ledger.update(current="1.0.0")


def _hold(root: str, held: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with Ledger(Path(root)).locked():
        held.set()
        done.wait(20)


def test_a_second_process_is_kept_out_and_told_who_works(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.open_run("r1", "deploy", "anna@controller")
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(ledger.root), held, done))
    other.start()
    try:
        assert held.wait(20)
        assert ledger.busy()
        with pytest.raises(LockedError, match="deploy by anna@controller"), ledger.locked(wait=0.2):
            pass
    finally:
        done.set()
        other.join(20)
    assert not ledger.busy()


@pytest.mark.promise("G8")
def test_a_second_run_is_refused_and_a_run_that_lost_the_site_too(ledger: Ledger) -> None:
    with ledger.locked():
        first = ledger.open_run("r1", "deploy", "anna@controller")
        # two may begin in the same second, by which runs are named
        for name in ("r2", "r1"):
            with pytest.raises(LockedError, match=r"unlock\.yml"):
                ledger.open_run(name, "deploy", "ben@controller")
        ledger.update(run=None)
        with pytest.raises(OutOfOrderError, match="no run is open"):
            ledger.check_run(first.token)
        second = ledger.open_run("r2", "rollback", "ben@controller")
        assert second.token > first.token
        with pytest.raises(LockedError, match="has lost the site"):
            ledger.check_run(first.token)


class Clock:
    now = 1_795_421_000.0

    def __call__(self) -> float:
        return self.now


def test_a_dead_run_is_taken_over_its_token_is_worth_nothing_and_a_record_says_so(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "swarm", clock, lambda: ("", 0.0))
    with ledger.locked():
        dead = ledger.open_run("r1", "deploy", "anna@controller", "1.1.0", 60)
        ledger.update(candidate=Candidate("1.1.0", "migrating", Before("1.0.0", [], None)))
        ledger.journal({"step": "run db:migrate", "event": "begin"})
        clock.now += 60
        with pytest.raises(LockedError, match=r"deploy of 1\.1\.0 by anna@controller"):
            ledger.open_run("r2", "deploy", "ben@controller")
        clock.now += 1
        heir = ledger.open_run("r2", "deploy", "ben@controller")
        with pytest.raises(LockedError, match="has lost the site"):
            ledger.check_run(dead.token)
        assert ledger.check_run(heir.token).id == "r2"
    record = json.loads((ledger.root / "runs" / "r1.json").read_text())
    assert record["interrupted"]["by"] == "ben@controller"
    assert record["interrupted"]["candidate"] == {"version": "1.1.0", "phase": "migrating"}
    assert record["interrupted"]["journal"]["step"] == "run db:migrate"


def test_whoever_began_a_run_goes_on_at_once(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.open_run("r1", "deploy", "anna@controller")
        assert ledger.open_run("r2", "rollback", "anna@controller").token == 2


def test_each_call_is_a_sign_of_life(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "swarm", clock, lambda: ("", 0.0))
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller", "1.1.0", 60)
        clock.now += 50
        ledger.check_run(run.token)
    clock.now += 50
    assert ledger.silence() == 50
    assert not ledger.may_take_over("ben@controller")


@pytest.mark.parametrize("jump", [3600, -86400])
def test_a_clock_that_is_set_makes_nobody_silent_and_nobody_alive(tmp_path: Path, jump: float) -> None:
    clock, up = Clock(), [1000.0]
    ledger = Ledger(tmp_path / "swarm", clock, lambda: ("this boot", up[0]))
    with ledger.locked():
        ledger.open_run("r1", "deploy", "anna@controller", "1.1.0", 60)
    clock.now += jump
    up[0] += 5
    assert ledger.silence() == 5
    assert not ledger.may_take_over("ben@controller")
    up[0] += 60
    assert ledger.may_take_over("ben@controller")


def test_after_a_reboot_the_clock_alone_tells(tmp_path: Path) -> None:
    clock, boot = Clock(), ["one"]
    ledger = Ledger(tmp_path / "swarm", clock, lambda: (boot[0], 7.0))
    with ledger.locked():
        ledger.open_run("r1", "deploy", "anna@controller", "1.1.0", 60)
    boot[0] = "another"
    clock.now += 50
    assert ledger.silence() == 50


def test_what_a_run_recorded_itself_when_killed_at_its_end_stays(ledger: Ledger) -> None:
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller")
        ledger.close_run(run, {"verdict": {"overall": "hold"}}, promote=False)
        ledger.update(run=run)
        ledger.open_run("r2", "deploy", "anna@controller")
    record = json.loads((ledger.root / "runs" / "r1.json").read_text())
    assert record["verdict"] == {"overall": "hold"}
    assert "interrupted" in record


@pytest.mark.parametrize(
    "phase, after", [("rehearsed", "staged"), ("migrating", "migrating"), ("switched", "switched")]
)
def test_only_what_the_site_has_not_felt_begins_afresh(ledger: Ledger, phase: str, after: str) -> None:
    with ledger.locked():
        ledger.update(candidate=Candidate("1.1.0", phase, Before("1.0.0", [], None, "b1")))
        ledger.start_afresh()
    assert ledger.state().candidate == Candidate("1.1.0", after, Before("1.0.0", [], None, "b1"))


def test_an_armed_host_waits_from_the_last_sign_of_life_and_only_for_a_candidate(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "swarm", clock, lambda: ("", 0.0))
    assert not ledger.abandoned()
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller", "1.1.0", 60)
        ledger.update(candidate=Candidate("1.1.0", "migrating", Before("1.0.0", [], None)))
        ledger.update(armed=Armed("1.1.0", 60, clock.now))
        clock.now += 50
        ledger.check_run(run.token)
        clock.now += 50
        assert not ledger.abandoned()
        clock.now += 11
        assert ledger.abandoned()
        ledger.end_run("ben@controller")
        assert ledger.state().run is None
        assert not ledger.abandoned()
        clock.now += 61
        assert ledger.abandoned()
        ledger.update(candidate=None)
        assert ledger.state().armed is None


def test_accepting_is_recorded_and_ends_with_the_next_deploy(ledger: Ledger) -> None:
    with ledger.locked():
        with pytest.raises(SlipwayError, match="no release stands"):
            ledger.accept("anna@controller")
        ledger.update(current="1.1.0")
        assert ledger.accepted() is None
        event = ledger.accept("anna@controller")
        assert (event["release"], event["event"], event["by"]) == ("1.1.0", "accepted", "anna@controller")
        assert ledger.accepted() == event
        run = ledger.open_run("r1", "deploy", "ben@controller", "1.1.0")
        with pytest.raises(LockedError, match="wait for it"):
            ledger.acceptable()
        ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))
        ledger.close_run(run, {}, promote=True)
        assert ledger.accepted() is None
        assert ledger.state().history[-1]["by"] == "ben@controller"


def test_a_release_never_changes_its_commit(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.save_release(RELEASE)
        ledger.save_release(RELEASE)
        with pytest.raises(SlipwayError, match="releases never change"):
            ledger.save_release(Release("1.1.0", "b" * 40, {}, {}, []))
    assert ledger.known_release("1.1.0") == RELEASE


def test_a_phase_is_never_left_backwards(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.save_release(RELEASE)
        ledger.update(candidate=Candidate("1.1.0", "staged", Before("1.0.0", [], None)))
        ledger.enter("switching")
        assert ledger.enter("migrating", backup="b1").phase == "switching"
    assert ledger.before("1.1.0") == Before("1.0.0", [], None, "b1")


def test_closing_a_run_with_promotion_lets_the_candidate_stand(ledger: Ledger) -> None:
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller")
        ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))
        state = ledger.close_run(run, {"verdict": {"overall": "hold"}}, promote=True)
    assert (state.current, state.candidate, state.run) == ("1.1.0", None, None)
    record = json.loads((ledger.root / "runs" / "r1.json").read_text())
    assert record["verdict"] == {"overall": "hold"}


def test_closing_a_run_without_promotion_keeps_a_half_done_release_in_sight(ledger: Ledger) -> None:
    candidate = Candidate("1.1.0", "switched", Before("1.0.0", [], None))
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller")
        ledger.update(current="1.0.0", candidate=candidate)
        state = ledger.close_run(run, {}, promote=False)
    assert (state.current, state.candidate, state.run) == ("1.0.0", candidate, None)


def test_the_journal_survives_a_line_cut_short(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.journal({"step": "one"})
        with (ledger.root / "journal.jsonl").open("a") as stream:
            stream.write('{"step": "cut')
        ledger.journal({"step": "two"})
    assert [entry["step"] for entry in ledger.journal_tail(5)] == ["one", "two"]


def test_nothing_in_the_ledger_is_world_readable(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.save_release(RELEASE)
        ledger.journal({"step": "one"})
        ledger.update(current="1.0.0")
    files = [path for path in ledger.root.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert (ledger.root / "backups").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["{", '{"format": 99}'])
def test_a_damaged_ledger_is_said_in_one_line(ledger: Ledger, content: str) -> None:
    ledger.root.mkdir(parents=True)
    (ledger.root / "ledger.json").write_text(content)
    with pytest.raises(SlipwayError) as caught:
        ledger.state()
    assert str(ledger.root / "ledger.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_file(path, b"new", mode=0o640)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_for_which_there_is_no_room_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_file(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
