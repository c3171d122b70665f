"""How far a run is, in one line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.plugin_utils._progress import Progress, span

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)
LAST = {"release": "1.1.0", "seconds": 74.0, "phases": {"rehearse": 10.4}}


class Story:
    """A run whose time is told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.progress = Progress("deploy", Clock(now=lambda: BEGIN, monotonic=lambda: self.now))

    def begin(self, name: str, phase: str | None, after: float = 0.0) -> Story:
        self.now += after
        self.progress.begin(name, phase)
        return self

    def line(self, after: float, width: int = 79) -> str:
        self.now += after
        return self.progress.line(width)


def test_a_long_step_is_told_with_what_it_took_last_time() -> None:
    story = Story()
    story.progress.expect("site1", LAST)
    story.begin("site1", "rehearse", after=20)
    assert story.line(0.5) == ""
    assert story.line(11.5) == "deploy 0:32 of about 1:14, rehearse 0:12 of about 0:10, site1"
    # the next step of the same phase
    story.progress.end("site1")
    assert story.line(5) == ""
    story.begin("site1", "rehearse")
    assert story.line(3) == "deploy 0:40 of about 1:14, rehearse 0:20 of about 0:10, site1"
    story.begin("site1", "migrate")
    assert story.line(2) == "deploy 0:42 of about 1:14, migrate 0:02, site1"


def test_of_many_sites_the_slowest_is_told_and_how_many_there_are() -> None:
    story = Story()
    for number in range(1, 6):
        story.progress.expect(f"site{number}", {**LAST, "seconds": 60.0 + number})
        story.begin(f"site{number}", "rehearse", after=1)
    assert story.line(3) == "deploy 0:08 of about 1:05, rehearse 0:07 of about 0:10, site1, site2 and 3 more"
    story.progress.end("site1")
    assert story.line(0).endswith("site2, site3 and 2 more")


def test_a_step_of_no_phase_is_told_without_one() -> None:
    assert Story().begin("site1", None).line(2) == "deploy 0:02, site1"


@pytest.mark.parametrize(
    "told", [None, "soon", {}, {"seconds": "74", "phases": []}, {"seconds": True, "phases": {"rehearse": -1}}]
)
def test_where_nobody_knows_how_long_it_takes_nothing_is_promised(told: Any) -> None:  # noqa: ANN401 - of any shape
    story = Story()
    story.progress.expect("site1", told)
    assert story.begin("site1", "rehearse").line(2) == "deploy 0:02, rehearse 0:02, site1"


def test_the_line_is_as_narrow_as_the_terminal_and_cannot_move_the_cursor() -> None:
    story = Story().begin("a-very-long-name-of-a-site\x1b[2J.customer-a.example", "rehearse")
    for width in range(110):
        line = story.line(2)[:0] or story.progress.line(width)
        assert len(line) <= width
        assert line.isprintable()
    assert story.progress.line(19) == ""
    assert story.progress.line(40).endswith(" ...")


@pytest.mark.parametrize("seconds, told", [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3661, "1:01:01")])
def test_a_span_is_told_in_minutes(seconds: float, told: str) -> None:
    assert span(seconds) == told
