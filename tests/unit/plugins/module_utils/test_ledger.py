from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._bundle_take import brought_images
from ansible_collections.slipway.release.plugins.module_utils._errors import (
    LockedError,
    OutOfOrderError,
    SlipwayError,
)
from ansible_collections.slipway.release.plugins.module_utils._guard import settings_of
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    Armed,
    Before,
    Candidate,
    Ledger,
    Release,
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


RECORDS: dict[str, Callable[[Ledger], object]] = {
    "ledger.json": Ledger.state,
    "releases/1.1.0/release.json": lambda ledger: ledger.known_release("1.1.0"),
    "releases/1.1.0/before.json": lambda ledger: ledger.before("1.1.0"),
    "releases/1.1.0/certificate.json": lambda ledger: ledger.certificate("1.1.0"),
    "releases/1.1.0/baseline.json": lambda ledger: ledger.baseline("1.1.0"),
    "releases/1.1.0/bundle.json": lambda ledger: brought_images(ledger, "1.1.0", "a" * 40),
    "agent/watch.json": lambda ledger: settings_of(ledger.root / "agent", "watch"),
    "runs/r1.json": lambda ledger: ledger.end_run("anna@controller"),
}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_is_said_in_one_line(ledger: Ledger, name: str, content: bytes) -> None:
    with ledger.locked():
        ledger.open_run("r1", "deploy", "anna@controller")
        (ledger.root / name).parent.mkdir(parents=True, exist_ok=True)
        (ledger.root / name).write_bytes(content)
        with pytest.raises(SlipwayError) as caught:
            RECORDS[name](ledger)
    said = str(caught.value)
    assert said.startswith(f"{ledger.root / name} is damaged (")
    assert "): " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("ledger.json", {"format": 1, "token": 3}, "it lacks 'candidate'"),
        (
            "ledger.json",
            {"format": 1, "token": 3, "current": None, "candidate": {"version": "1"}, "run": None},
            "it lacks 'before'",
        ),
        ("releases/1.1.0/release.json", {"version": "1.1.0"}, "missing .* 'commit'"),
        ("releases/1.1.0/before.json", {}, "missing .* 'version'"),
        ("releases/1.1.0/certificate.json", {"version": "1.1.0"}, "missing .* 'commit'"),
        ("releases/1.1.0/bundle.json", {"images": {}}, "it lacks 'commit'"),
    ],
)
def test_a_record_that_lacks_something_is_damaged(
    ledger: Ledger, name: str, content: dict[str, object], reason: str
) -> None:
    (ledger.root / name).parent.mkdir(parents=True)
    (ledger.root / name).write_text(json.dumps(content))
    with pytest.raises(SlipwayError, match=rf"is damaged \(.*{reason}.*\): "):
        RECORDS[name](ledger)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"\xff", b'{"release": "1.1.0", "ended": "soon"}', b'{"release": "1.1.0", "ended": 1}']
)
def test_a_damaged_record_of_a_run_keeps_nobody_from_knowing_what_the_others_took(
    ledger: Ledger, content: bytes
) -> None:
    (ledger.root / "runs").mkdir(parents=True)
    whole = {"release": "1.1.0", "started": "2026-11-23T08:00:00Z", "ended": "2026-11-23T08:01:30Z"}
    (ledger.root / "runs/1-deploy.json").write_text(json.dumps(whole))
    (ledger.root / "runs/2-deploy.json").write_bytes(content)
    assert ledger.duration("1.1.0") == ("2026-11-23T08:00:00Z", 90.0)


def test_what_is_no_text_in_a_journal_or_an_assessment_is_left_out(ledger: Ledger) -> None:
    with ledger.locked():
        ledger.save_release(RELEASE)
        (ledger.root / "journal.jsonl").write_bytes(b'{"step": "\xff')
        ledger.journal({"step": "one"})
        (ledger.release_directory("1.1.0") / "assessment.json").write_bytes(b"\xff")
    assert [item["step"] for item in ledger.journal_tail(5)] == ["one"]
    assert ledger.assessment("1.1.0") is None
