"""How a release did is kept where people wrote something down, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_assess
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module

from .ledger_story import DAY, FEEDBACK, Story

pytestmark = pytest.mark.promise("W1")


@pytest.fixture
def story(tmp_path: Path) -> Story:
    told = Story(tmp_path)
    told.deploy("1.1.0")
    told.watch("1.1.0", kinds=("log",))
    told.now += 7 * DAY
    return told


def assess(story: Story, feedback: dict[str, Any] | None, *, check: bool = False, version: str | None = None) -> Any:  # noqa: ANN401 a module's result
    given = {"version": version, "feedback": feedback, "owner": "anna@controller", "keep": 5, "keep_days": 30.0}
    return _call_assess.answer(Module(given, check_mode=check), story.site)


def test_looking_changes_nothing(story: Story) -> None:
    before = sorted(story.ledger.root.rglob("*"))
    seen = assess(story, None)
    assert (seen["changed"], seen["assessed"], seen["scorecard"]["outcome"]) == (False, None, "unknown")
    assert sorted(story.ledger.root.rglob("*")) == before


def test_feedback_is_kept_and_kept_once(story: Story) -> None:
    first, second = assess(story, FEEDBACK), assess(story, FEEDBACK)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["scorecard"]["outcome"] == "success"
    # the page is the same too
    assert {**first, "changed": False} == second
    assert [item["text"] for item in second["history"]["met_before"]] == [FEEDBACK["issues"][0]["text"]]
    kept = story.ledger.assessment("1.1.0")
    assert kept is not None
    assert (kept["outcome"], kept["by"]) == ("success", "anna@controller")
    path = story.ledger.release_directory("1.1.0") / "assessment.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_kept_is_shown_later_without_the_file(story: Story) -> None:
    assess(story, FEEDBACK)
    story.now += DAY
    later = assess(story, None)
    assert (later["changed"], later["scorecard"]["outcome"]) == (False, "success")
    assert later["scorecard"]["feedback"]["support"] == FEEDBACK["support"]
    assert later["assessed"] == {"at": story.at(-DAY), "by": "anna@controller"}


def test_another_file_takes_its_place(story: Story) -> None:
    assess(story, FEEDBACK)
    other = {**FEEDBACK, "support": {"this_week": 12, "week_before": 9}}
    assert assess(story, other)["changed"]
    assert (story.ledger.assessment("1.1.0") or {})["outcome"] == "mixed"


def test_check_mode_says_so_and_keeps_nothing(story: Story) -> None:
    assert assess(story, FEEDBACK, check=True)["changed"]
    assert story.ledger.assessment("1.1.0") is None


def test_feedback_on_another_release_is_refused(story: Story) -> None:
    with pytest.raises(SlipwayError, match=r"about release 1.1.0 and the report about 1.0.0"):
        assess(story, FEEDBACK, version="1.0.0")
    assert story.ledger.assessment("1.0.0") is None
