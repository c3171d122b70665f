"""What customers read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._changelog import CustomerNotes
from ansible_collections.slipway.release.plugins.module_utils._reader import Reader
from ansible_collections.slipway.release.plugins.plugin_utils._announcement import (
    EVENTS,
    AnnounceError,
    Announcement,
    Text,
    read_announcement,
    render,
    with_notes,
)

from tests.unit.plugins.plugin_utils.announcing import SUPPORT, TEMPLATES, WINDOW

NOTES = CustomerNotes(
    "1.2.0",
    "2026-11-20",
    new=("Campaigns have a **priority**. " + "word " * 30,),
    breaking=("`/api/v1` is gone.",),
    action_required=("Allow port 8443.",),
)


def problems_of(**given: object) -> list[str]:
    problems: list[str] = []
    plain = {"event": "notes", "site": "customer-a", "application": "swarm", "release": "1.2.0", **given}
    reader = Reader("announce", plain, problems)
    read_announcement(reader)
    reader.refuse_unknown()
    return problems


def announcement(event: str, **changes: Any) -> Announcement:  # noqa: ANN401 - any field
    plain = {"event": event, "site": "customer-a", "application": "swarm", "product": "Swarm", "release": "1.2.0"}
    made = read_announcement(Reader("announce", {**plain, "window": WINDOW, "support": SUPPORT}, []))
    return replace(made, **{"notes": NOTES, **changes})


def said(event: str, **changes: Any) -> Text:  # noqa: ANN401 - the same
    return render(announcement(event, **changes), TEMPLATES, date(2026, 11, 24))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        # nothing is loaded from anywhere, and nothing is clicked
        assert {name for name, _ in attrs} <= {"style", "lang", "charset"}

    def handle_data(self, data: str) -> None:
        self.words += data.split()


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    "event, subject, line",
    [
        (
            "window",
            "Swarm 1.2.0: update on Tuesday 1 December 2026, 22:00 to 23:30 (UTC+01:00)",
            "Tuesday 1 December 2026, 22:00 to 23:30 (UTC+01:00).",
        ),
        ("start", "Swarm: the update to 1.2.0 has begun", "We are updating Swarm to 1.2.0 now."),
        ("success", "Swarm 1.2.0 is in service", "Swarm 1.2.0 is in service. The update is done."),
        (
            "rollback",
            "Swarm: the update to 1.2.0 was taken back",
            "1.1.0 is in service, as before. You do not have to do anything.",
        ),
        ("notes", "Swarm 1.2.0: release notes", "Swarm 1.2.0 is of 2026-11-20."),
    ],
)
def test_each_event_has_its_words_and_the_html_says_the_same(event: str, subject: str, line: str) -> None:
    text = said(event, standing="1.1.0")
    assert text.subject == subject
    assert line in text.text.splitlines()
    assert max(map(len, text.text.splitlines())) <= 75
    assert "\n\n\n" not in text.text
    html = _Words()
    html.feed(text.html)
    # but for its title, for the dashes of the text's lists, and for where a mark touches a word
    assert _run_together(html.words[2:]) == _run_together(word for word in text.text.split() if word != "-")


def _run_together(words: Iterable[str]) -> str:
    return "".join(words).replace(":", "")


@pytest.mark.promise("A1")
@pytest.mark.parametrize("event", ["window", "success", "notes"])
def test_what_is_new_what_broke_and_what_to_do_is_told(event: str) -> None:
    notes = CustomerNotes("1.2.0", "2026-11-20", new=("a",), breaking=("b",), action_required=("c",))
    told = said(event, notes=with_notes(announcement(event), notes).notes).text
    # what has to be done comes first
    order = [told.index(words) for words in ("What you have to do:\n- c", "as before:\n- b", "What is new:\n- a")]
    assert order == sorted(order)


@pytest.mark.parametrize("event", ["start", "rollback"])
def test_a_start_and_a_rollback_need_no_notes(event: str) -> None:
    assert with_notes(announcement(event), NOTES).notes is None
    assert "What is new" not in said(event, notes=None).text


def test_notes_alone_need_notes() -> None:
    with pytest.raises(AnnounceError, match=r"there are no notes of 1\.2\.0: announce_changelog"):
        with_notes(announcement("notes"), None)
    assert with_notes(announcement("success"), None).notes is None


@pytest.mark.promise("A3")
def test_a_success_says_what_is_known_not_to_work_who_helps_and_where_to_say_what_one_thinks() -> None:
    told = said("success", notes=replace(NOTES, known_issues=("Exports are `slow`.",))).text
    assert "What is known not to work yet:\n- Exports are slow.\n" in told
    assert "Until Tuesday 1 December 2026 we look after this release with priority." in told
    assert f"question:\n{SUPPORT['contact']}\nWe answer {SUPPORT['hours']}.\n" in told
    assert told.endswith(f"Tell us what you think of it:\n{SUPPORT['feedback']}\n")
    assert "feedback" not in said("start").text


def test_a_release_before_which_nothing_stood_is_not_said_to_be_in_service() -> None:
    told = said("rollback", standing=None, notes=None).text
    assert "1.2.0 was stopped. Nothing is in service yet." in told
    assert "as before" not in told


def test_html_is_escaped_wherever_text_comes_from_others() -> None:
    evil = '<script>alert("x")</script>'
    notes = replace(NOTES, new=(evil,), breaking=(evil,), action_required=(evil,), fixed=(evil,), known_issues=(evil,))
    html = said("success", product=evil, notes=notes, release=evil).html
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&#34;x&#34;)") >= 6
    parsed = _Words()
    parsed.feed(html)
    assert "script" not in parsed.tags


@pytest.mark.parametrize("name", ["site", "application", "product", "release"])
@pytest.mark.parametrize("evil", ["a\r\nBcc: all@customer.example", "a\nb", "a\u2028b", "a\x00b"])
def test_a_name_that_would_begin_a_header_of_its_own_is_refused(name: str, evil: str) -> None:
    assert problems_of(**{name: evil}) == [f"announce.{name}: must not contain control characters"]


@pytest.mark.parametrize(
    "given, problem",
    [
        ({"event": "party"}, "announce.event: must be one of window, start, success, rollback, notes, not 'party'"),
        ({"event": "window"}, "announce.window: is required for the event window"),
        ({"release": "../1.0"}, "announce.release: must be a release version"),
        (
            {"window": {"from": "tomorrow", "until": WINDOW["until"]}},
            "announce.window.from: must be a time with a zone",
        ),
        (
            {"window": {"from": "2026-12-01T22:00", "until": WINDOW["until"]}},
            "announce.window.from: must name its zone",
        ),
        (
            {"window": {"from": WINDOW["until"], "until": WINDOW["from"]}},
            "announce.window.until: must come after from",
        ),
        ({"support": {"feedback": "x"}}, "announce.support.contact: is required"),
        ({"support": {"contact": "x", "days": 0}}, "announce.support.days: must be a number from 1 to 365"),
        ({"wait": 1}, "announce.wait: is unknown"),
    ],
)
def test_what_makes_no_sense_is_said(given: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(**given)
    assert found.startswith(problem)


def test_a_window_over_midnight_names_both_days() -> None:
    window = {"from": "2026-11-30 23:00:00+01:00", "until": "2026-12-01T01:00:00Z"}
    read = read_announcement(Reader("announce", {"event": "window", "window": window}, []))
    assert str(read.window) == "Monday 30 November 2026, 23:00 to Tuesday 1 December 2026, 01:00 (UTC+01:00)"


def test_the_same_announcement_has_the_same_id_and_another_has_another() -> None:
    one = announcement("start", about="r1")
    assert one.id == announcement("start", about="r1", notes=None, product="Other").id
    names = ("site", "application", "release", "event", "about")
    others = [replace(one, **{name: "x"}) for name in names]  # type: ignore[arg-type]  # they are all texts
    assert len({one.id, *(item.id for item in others)}) == 6


@pytest.mark.parametrize(
    "files, problem",
    [
        ({}, "TemplateNotFound"),
        ({"announcement.txt.j2": "{{ it.nothing }}", "announcement.html.j2": ""}, "UndefinedError"),
        ({"announcement.txt.j2": "{% if %}", "announcement.html.j2": ""}, "TemplateSyntaxError"),
    ],
)
def test_templates_that_are_wrong_are_one_line(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(AnnounceError, match=problem) as caught:
        render(announcement("start"), tmp_path, date(2026, 11, 24))
    assert "\n" not in str(caught.value)


def test_every_event_is_rendered_with_nothing_but_what_it_needs() -> None:
    bare = {"window": None, "support": None, "notes": None}
    for event in EVENTS:
        needed: dict[str, Any] = {"window": announcement("window").window} if event == "window" else {}
        needed |= {"notes": NOTES} if event == "notes" else {}
        assert said(event, **{**bare, **needed}).subject
