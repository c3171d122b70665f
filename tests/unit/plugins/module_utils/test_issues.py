"""What went wrong with earlier releases is shown before the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_preflight
from ansible_collections.slipway.release.plugins.module_utils._gates import Answer
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.module_utils._issues import lines, met_before, runs_of
from ansible_collections.slipway.release.plugins.module_utils._ledger import WATCHED

from .ledger_story import DAY, Story, months

pytestmark = pytest.mark.promise("W2")

BROKEN = "R2 Critical functionality broken: create a test campaign: POST /campaigns: 500, expected 302 or 303"


def texts(story: Story) -> list[tuple[str, str]]:
    return [(item["release"], item["text"]) for item in met_before(story.ledger, 20)]


def watched(story: Story, outcome: str, reason: str) -> None:
    with story.ledger.locked():
        release = story.ledger.state().current
        history = story.ledger.event(release, WATCHED, by="the host itself", outcome=outcome, reason=reason)
        story.ledger.update(history=history)


def test_a_site_without_trouble_has_none_to_show(tmp_path: Path) -> None:
    story = Story(tmp_path)
    assert texts(story) == []
    story.deploy("1.1.0")
    story.watch("1.1.0", looks=2)
    assert texts(story) == []
    assert lines(met_before(story.ledger, 20), 5) == []


def test_a_deploy_that_was_taken_back_is_there_with_its_reason(tmp_path: Path) -> None:
    assert texts(months(tmp_path)) == [
        ("1.2.0", f"taken back: {BROKEN}"),
        ("1.1.0", "blind: no evidence of page in 5 looks"),
    ]


def test_of_several_runs_the_one_in_which_it_happened_tells_the_reason(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.deploy("1.1.0", broken="the first reason")
    story.now += DAY
    story.deploy("1.1.0", broken="the second reason")
    assert [text.rpartition(": ")[2] for _, text in texts(story)] == ["the second reason", "the first reason"]


@pytest.mark.parametrize(
    "owner, said",
    [("ben@controller", "asked for by ben@controller"), ("the host itself", "nobody was heard of any more")],
    ids=["people", "host"],
)
def test_one_that_people_or_an_armed_host_took_back_says_so(tmp_path: Path, owner: str, said: str) -> None:
    story = Story(tmp_path)
    story.deploy("1.1.0")
    story.now += DAY
    with story.ledger.locked():
        run = story.ledger.open_run("20261118T200000Z-rollback", "rollback", owner, "1.1.0")
        story.ledger.update(current="1.0.0", history=story.ledger.event("1.1.0", "taken back", to="1.0.0"))
        story.ledger.close_run(run, {}, promote=False)
    assert texts(story) == [("1.1.0", f"taken back: {said}")]


def test_a_breach_is_told_once_however_many_files_know_of_it(tmp_path: Path) -> None:
    """The alert, the engine's event and the watch's event are about the same."""
    story = Story(tmp_path)
    story.deploy("1.1.0")
    story.alert("1.1.0", "breach", "R2 broken", "the host goes back by itself")
    story.now += 60
    with story.ledger.locked():
        story.ledger.update(history=story.ledger.event("1.1.0", "taken back", to="1.0.0"))
    watched(story, "taken back", "R2 broken")
    with story.ledger.locked():
        story.ledger.update(current="1.0.0")
    assert [text for _, text in texts(story)] == ["taken back in its first hours: R2 broken"]


def test_a_release_that_did_not_prove_itself_is_there(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.deploy("1.1.0")
    watched(story, "unproven", "12 looks saw all that is required, 1440 were to be")
    watched(story, "proven", "1440 looks")
    assert [text for _, text in texts(story)] == [
        "unproven in its first hours: 12 looks saw all that is required, 1440 were to be"
    ]


def test_what_people_wrote_down_is_there(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.deploy("1.1.0")
    bugs = [
        {"severity": "critical", "date": "2026-11-19", "text": "Campaigns start twice"},
        {"severity": "low", "date": "2026-11-20", "text": "a typo"},
    ]
    issues = [{"date": "2026-11-18", "text": "The window was too short"}]
    kept = {"at": "2026-11-23T08:00:00Z", "outcome": "mixed", "reasons": ["Support burden down: 9 tickets, 4 before"]}
    with story.ledger.locked():
        story.ledger.save_assessment("1.1.0", {**kept, "feedback": {"bugs": bugs, "issues": issues}})
    assert [text for _, text in texts(story)] == [
        "assessed as mixed: Support burden down: 9 tickets, 4 before",
        "critical bug: Campaigns start twice",
        "The window was too short",
    ]


def test_people_see_a_few_lines_however_much_there_was(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for number in range(9):
        story.now += DAY
        story.deploy("1.1.0", broken=f"reason {number}\n\x1b[31m{'x' * 500}")
    told = lines(met_before(story.ledger, 20), 5)
    assert len(told) == 6
    assert "reason 8 [31mxxx" in told[0]
    assert told[5] == "met before: 4 more, playbooks/report.yml shows them"
    assert all(line.isprintable() and len(line) <= 240 for line in told)


def test_files_that_cannot_be_read_keep_nobody_from_deploying(tmp_path: Path) -> None:
    story = months(tmp_path)
    (story.ledger.root / "runs" / "20991231T000000Z-deploy.json").write_text('{"release": "1.2.0", cut')
    (story.ledger.root / "releases" / "1.1.0" / "assessment.json").write_text("[]")
    with (story.ledger.root / "watch" / "alerts.jsonl").open("a") as stream:
        stream.write('{"at": "2026\n[1]\n')
    assert texts(story)[0] == ("1.2.0", f"taken back: {BROKEN}")


def test_runs_of_other_releases_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = months(tmp_path)
    parsed: list[str] = []
    loads = json.loads

    def counted(text: str) -> object:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr("json.loads", counted)
    assert [run["release"] for run in runs_of(story.ledger, "1.2.0")] == ["1.2.0"]
    assert len(parsed) == 1


@pytest.mark.parametrize("verb, count", [("deploy", 2), ("rollback", 0)])
def test_preflight_shows_them_without_a_further_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, count: int
) -> None:
    story = months(tmp_path)
    monkeypatch.setattr(_call_preflight, "look", lambda *_: Answer([], "c0ffee", already=False))
    monkeypatch.setattr(_call_preflight, "adoptable", lambda _site: False)
    given = {"verb": verb, "run_id": "r1", "version": "1.3.0", "ref": None, "backup": None, "uploads": False}
    module = Module({**given, "owner": "anna", "security": None, "evidence": None, "open": False})
    with monkeypatch.context() as patched:
        patched.setattr(_call_preflight, "release_to_take_back", lambda *_: "1.1.0")
        told = _call_preflight.answer(module, story.site)
    assert len(told["met_before"]) == count
    assert not told["changed"]
