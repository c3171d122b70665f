"""The page of a release: whole in itself, whatever others wrote is text, and it says what happened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_assess
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Release, Watch
from ansible_collections.slipway.release.plugins.plugin_utils._report_page import (
    Report,
    brief,
    moment,
    render,
    size,
    span,
    view,
)

from tests.unit.plugins.module_utils.ledger_story import DAY, FEEDBACK, Story, months

pytestmark = pytest.mark.promise("W1")

TEMPLATE = (Path(__file__).parents[4] / "roles/report/templates/report.html.j2").read_text()
HOSTILE = """<script src="https://evil.example/x.js">alert(1)</script>"><img src=x onerror=alert(1)>{{ 7 * 7 }}'"""

# What decides what a page shows, and is written by nobody but our own code.
STEERING = {"at", "verdict", "mode", "result", "outcome", "event", "verb", "probe", "version", "current", "unit"}
STEERING |= {"started", "ended", "begun", "first", "last", "overall", "plan", "road", "release", "gone"}


def report(story: Story, version: str | None = None, feedback: dict[str, Any] | None = None) -> Report:
    given = {"version": version, "feedback": feedback, "owner": "anna@controller", "keep": 5, "keep_days": 30.0}
    told = _call_assess.answer(Module(given), story.site)
    plain = json.loads(json.dumps(told))
    return Report("customer-a", plain["history"], plain["scorecard"], plain["assessed"])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return months(tmp_path_factory.mktemp("months"))


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page(story: Story, version: str | None = None, feedback: dict[str, Any] | None = None) -> Page:
    return Page(render(TEMPLATE, report(story, version, feedback)))


@pytest.mark.promise("X3")
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.0"])
def test_a_page_refers_to_nothing_outside_itself(story: Story, version: str) -> None:
    seen = page(story, version, FEEDBACK if version == "1.1.0" else None)
    loading = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background", "ping", "formaction"}
    assert not loading & {name for name, _ in seen.attributes}
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "use", "image"} & set(seen.tags)
    assert "url(" not in seen.style
    assert "@import" not in seen.style
    policy = next(value for name, value in seen.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


@pytest.mark.promise("X3")
@pytest.mark.parametrize("version", ["1.1.0", "1.2.0"])
def test_whatever_others_wrote_is_text(tmp_path: Path, version: str) -> None:
    """Every text of the data holds markup; the page has the same elements as one without, and the text is readable."""
    story = months(tmp_path)
    feedback = FEEDBACK if version == "1.1.0" else None
    plain, clean = report(story, version, feedback), page(story, version, feedback)

    def spoilt(value: Any, key: str = "") -> Any:  # noqa: ANN401 plain data
        if isinstance(value, dict):
            return {name + HOSTILE * (key == "pages"): spoilt(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoilt(item) for item in value]
        return value + HOSTILE if isinstance(value, str) and key not in STEERING else value

    history = spoilt(plain.history)
    history["gone"] = history["gone"] and history["gone"] + HOSTILE
    spoilt_report = Report("customer-a" + HOSTILE, history, spoilt(plain.scorecard), spoilt(plain.assessed))
    text = render(TEMPLATE, spoilt_report)
    seen = Page(text)
    assert seen.tags == clean.tags
    assert "<script" not in text
    assert "onerror" not in {name for name, _ in seen.attributes}
    assert seen.text.count("alert(1)") > 20
    assert "{{ 7 * 7 }}" in seen.text


def test_a_release_that_proved_itself_and_its_week(story: Story) -> None:
    seen = page(story, "1.1.0", FEEDBACK)
    assert (
        "swarm 1.1.0 took the place of 1.0.0 on 16 Nov 2026, 20:00:52 UTC, 52 s after its gates were passed, was "
        "watched for 24 h and has proven itself." in seen.text
    )
    for text in (
        "Priorities save us an hour a day.",
        "well in 1438 of 1440 looks",
        "no logs were read after the deploy",
        "restored into a PostgreSQL of its own and compared",
        "target: 1.0.0, as it was when backup 20261116T200000Z-deploy was taken",
        "mail to ops@example.test",
        "no evidence of page in 5 looks",
        "R3 A page takes over 5 seconds",
        "0 of 3 breaches in a row",
    ):
        assert text in seen.text, text
    assert "hooks.example.test" not in seen.text


def test_a_release_that_was_taken_back(story: Story) -> None:
    seen = page(story, "1.2.0")
    assert "swarm 1.2.0 was taken back on 26 Nov 2026, 20:01:02 UTC, 1.1.0 runs. R2 Critical functionality" in seen.text
    assert "1 of 1 breaches in a row" in seen.text
    assert "Nobody gave any feedback yet" in seen.text


def test_the_timeline_lies_along_the_deploy(story: Story) -> None:
    phases = view(report(story, "1.2.0"))["phases"]
    assert [(phase.name, phase.seconds) for phase in phases] == [
        ("Stage", 7.0),
        ("Back up", 3.0),
        ("Rehearse", 13.0),
        ("Migrate", 4.0),
        ("Switch", 11.0),
        ("Prove", 14.0),
        ("Go back", 10.0),
    ]
    for before, after in pairwise(phases):
        assert after.left == pytest.approx(before.left + before.width, abs=2.5)
    assert phases[-1].left + phases[-1].width == pytest.approx(100, abs=1)


def test_a_run_that_came_to_nothing_does_not_hide_the_deploy(story: Story) -> None:
    plain = report(story, "1.1.0")
    judged = plain.history["runs"][0]
    nothing = {**judged, "id": "20261201T080000Z-deploy", "verdict": {}, "observations": []}
    history = {**plain.history, "runs": [nothing, *plain.history["runs"]]}
    assert Report("customer-a", history, plain.scorecard).run == judged
    assert Report("customer-a", {**history, "phase": "migrating"}, plain.scorecard).run == nothing


def test_a_step_that_failed_or_did_not_end_is_told(tmp_path: Path) -> None:
    story = Story(tmp_path)
    with story.ledger.locked():
        run = story.ledger.open_run("20261116T200000Z-deploy", "deploy", "anna", "1.1.0")
        story.step("1.1.0", "stage", "build the images", 9.0, reason="no space left")
        story.ledger.journal({"plan": "rollback", "release": "1.1.0", "step": "stop the new code", "event": "begin"})
        story.ledger.close_run(run, {}, promote=False)
    stage, back = view(report(story, "1.1.0"))["phases"]
    assert (stage.tone, stage.steps) == ("bad", ("build the images: no space left",))
    assert (back.tone, back.steps) == ("bad", ("stop the new code: did not end",))


def test_a_kind_that_nobody_thought_of_is_shown_under_its_own_name(story: Story) -> None:
    plain = report(story, "1.1.0")
    history = json.loads(json.dumps(plain.history))
    new = {"probe": "slow_query", "subject": "SELECT 1", "at": "2026-11-16T20:00:41Z", "value": 3, "unit": "calls"}
    history["runs"][0]["observations"].append({**new, "ok": False, "detail": "twice as slow as before"})
    kinds = view(Report("a", history, plain.scorecard))["kinds"]
    assert (kinds[-1]["title"], kinds[-1]["rows"][0]["detail"]) == ("Slow_query", "twice as slow as before")


def test_whatever_the_judge_comes_to_say_of_a_criterion_is_shown(story: Story) -> None:
    plain = report(story, "1.1.0")
    history = json.loads(json.dumps(plain.history))
    history["runs"][0]["verdict"]["criteria"][0]["statistic"] = {"e_value": 12.5, "events": 3}
    assert "e_value 12.5, events 3" in Page(render(TEMPLATE, Report("a", history, plain.scorecard))).text


def stands(story: Story) -> None:
    story.deploy("1.1.0")


def watched(story: Story) -> None:
    story.deploy("1.1.0")
    begun = story.now
    story.watch("1.1.0", looks=3, outcome=None)
    with story.ledger.locked():
        story.ledger.update(watch=Watch("1.1.0", begun, begun + DAY))


def in_breach(story: Story) -> None:
    watched(story)
    story.alert("1.1.0", "breach", "R2 broken", "a person decides")


def unproven(story: Story) -> None:
    story.deploy("1.1.0")
    story.watch("1.1.0", looks=3, outcome="unproven")


def half_done(story: Story) -> None:
    story.deploy("1.1.0")
    with story.ledger.locked():
        story.ledger.save_release(Release("1.2.0", "a" * 40, {}, {}, []))
        story.ledger.update(candidate=Candidate("1.2.0", "migrating", Before("1.1.0", [], None)))


def replaced(story: Story) -> None:
    story.deploy("1.1.0")
    story.now += DAY
    story.deploy("1.2.0")


def not_in(story: Story) -> None:
    with story.ledger.locked():
        run = story.ledger.open_run("20261116T200000Z-deploy", "deploy", "anna", "1.1.0")
        story.ledger.close_run(run, {}, promote=False)


@pytest.mark.parametrize(
    "happened, version, word, said",
    [
        (lambda _story: None, None, "adopted", "ran here before Slipway came"),
        (stands, None, "stands", "; the host did not look after it."),
        (watched, None, "watched", "; the host looks after it until 17 Nov 2026, 20:00:52 UTC."),
        (in_breach, None, "in breach", ", and went wrong since: R2 broken"),
        (unproven, None, "unproven", ", and did not prove itself: 3 looks"),
        (half_done, "1.2.0", "half done", "it has reached the phase migrating."),
        (replaced, "1.1.0", "replaced", "until another release took its place; 1.2.0 runs."),
        (not_in, "1.1.0", "not in", "was tried and did not come in; 1.0.0 runs."),
    ],
    ids=["adopted", "stands", "watched", "in_breach", "unproven", "half_done", "replaced", "not_in"],
)
def test_one_sentence_says_what_happened(
    tmp_path: Path, happened: Callable[[Story], None], version: str | None, word: str, said: str
) -> None:
    story = Story(tmp_path)
    happened(story)
    told = report(story, version)
    assert (told.status[0], said in told.sentence) == (word, True), told.sentence
    assert told.sentence in Page(render(TEMPLATE, told)).text


def test_headings_and_tables_can_be_heard(story: Story) -> None:
    seen = page(story, "1.1.0", FEEDBACK)
    assert seen.tags.count("h1") == 1
    levels = [int(tag[1]) for tag in seen.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert seen.tags.count("table") == seen.tags.count("caption") == seen.tags.count("thead")
    assert seen.tags.count("th") == [name for name, _ in seen.attributes].count("scope")
    assert seen.tags.count("svg") == [name for name, _ in seen.attributes].count("viewbox")
    assert [value for name, value in seen.attributes if name == "lang"] == ["en"]


def test_colours_can_be_read_in_light_in_dark_and_on_paper() -> None:
    palettes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", TEMPLATE, re.DOTALL)
    ]
    assert len(palettes) == 3
    pairs = [("text", "card"), ("text", "page"), ("soft", "card"), ("soft", "page")]
    pairs += [(tone, f"{tone}-back") for tone in ("good", "bad", "unsure", "plain")]
    for palette in palettes:
        for front, back in pairs:
            assert contrast(palette[front], palette[back]) >= 4.5, (front, back, palette)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(char * 2 for char in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    "seconds, said",
    [(0.4, "under 1 s"), (47, "47 s"), (119, "119 s"), (600, "10 min"), (86400, "24 h"), (7 * 86400, "7 days")],
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_sizes_and_times_are_for_people() -> None:
    assert [size(value) for value in (None, 12, 83_400_000, 4.2e9)] == ["not known", "12 bytes", "83.4 MB", "4.2 GB"]
    assert (moment("2026-11-16T20:00:05Z"), moment("<b>"), moment(None)) == (
        "16 Nov 2026, 20:00:05 UTC",
        "<b>",
        "not known",
    )
    assert (brief("2026-11-16T20:00:05Z"), brief("<b>")) == ("16 Nov, 20:00", "<b>")


@pytest.mark.promise("D4")
def test_jobs_that_were_pushed_back_are_listed(tmp_path: Path) -> None:
    story = months(tmp_path)
    assert "Jobs that were pushed back" not in page(story, "1.1.0").text
    jobs = {"pushed_back": 1, "at_work": ["LaunchCampaignJob 1f6c0a"]}
    story.ledger.journal(
        {"plan": "switch", "release": "1.1.0", "step": "let the workers take over", "event": "done", **jobs}
    )
    assert "Switch 1 LaunchCampaignJob 1f6c0a" in page(story, "1.1.0").text
