"""A release is scored by what was seen and what people wrote down; what nobody saw is no pass."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._scorecard import (
    BUGS,
    FAIL,
    FAILED,
    MIXED,
    PASS,
    SERVICES,
    SOCKETS,
    SUCCESS,
    SUPPORT,
    UNKNOWN,
    VOICES,
    Feedback,
    score,
    socket_error,
)
from hypothesis import given
from hypothesis import strategies as st

from .ledger_story import FEEDBACK

pytestmark = pytest.mark.promise("W1")

WELL = {"seen": 1440, "bad": 0, "worst": None, "ill": None}
KINDS = {"service": WELL, "worker": WELL, "health": WELL, "log": WELL}
WATCH: dict[str, Any] = {
    "looks": 1440,
    "first": "2026-11-16T20:01:00Z",
    "last": "2026-11-17T20:01:00Z",
    "breach": None,
    "short": None,
    "kinds": KINDS,
    "subjects": [],
    "sockets": None,
}


def history(watch: dict[str, Any] | None = WATCH, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 plain data
    return {"version": "1.1.0", "gone": None, "runs": [], "watch": copy.deepcopy(watch), **changes}


def feedback(**changes: Any) -> Feedback:  # noqa: ANN401 plain data
    """The feedback of a good week, with changes; a value None takes a key away."""
    return Feedback.parse({key: value for key, value in {**FEEDBACK, **changes}.items() if value is not None})


def results(history_: dict[str, Any], feedback_: Feedback | None) -> dict[str, str]:
    return {item.name: item.result for item in score(history_, feedback_).measures}


def log(detail: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 plain data
    return {"probe": "log", "subject": "web", "value": 1, "ok": True, "detail": detail, **changes}


def test_a_good_week_is_a_success() -> None:
    card = score(history(), feedback())
    assert (card.outcome, card.reasons) == (SUCCESS, ())
    assert {item.result for item in card.measures} == {PASS}
    assert [item.reason for item in card.measures] == [
        "none reported; 0 high, 1 medium, 1 low",
        "well in 1440 of 1440 looks from 2026-11-16 to 2026-11-17",
        "none in the logs of 1440 looks",
        "+0.5 on average of 2: 0 bad, 1 neutral, 1 good",
        "4 tickets, 9 in the week before",
    ]


def test_without_any_evidence_nothing_is_a_pass() -> None:
    card = score(history(None), None)
    assert card.outcome == UNKNOWN
    assert {item.result for item in card.measures} == {UNKNOWN}
    assert len(card.reasons) == 5


@pytest.mark.parametrize(
    "missing, measure", [("bugs", BUGS), ("feedback", VOICES), ("support", SUPPORT)], ids=lambda name: name
)
def test_what_nobody_wrote_down_is_unknown_and_so_is_the_outcome(missing: str, measure: str) -> None:
    card = score(history(), feedback(**{missing: None}))
    assert [item.name for item in card.measures if item.result == UNKNOWN] == [measure]
    assert card.outcome == UNKNOWN


def test_an_empty_list_of_bugs_says_that_somebody_looked_and_an_empty_one_of_voices_that_nobody_spoke() -> None:
    found = results(history(), feedback(bugs=[], feedback=[]))
    assert (found[BUGS], found[VOICES]) == (PASS, UNKNOWN)


def test_a_critical_bug_fails_the_release_even_when_it_was_fixed() -> None:
    bug = {"severity": "critical", "date": "2026-11-18", "text": "Campaigns start twice", "fixed": "2026-11-19"}
    card = score(history(), feedback(bugs=[bug]))
    assert (card.outcome, card.reasons) == (
        FAILED,
        ("No critical bugs: 1 reported, 1 of them fixed: Campaigns start twice",),
    )


@pytest.mark.parametrize(
    "scores, result", [((1, -1), PASS), ((0,), PASS), ((-1, 0), FAIL), ((1, -1, -1), FAIL)], ids=str
)
def test_feedback_is_neutral_or_better_on_average(scores: tuple[int, ...], result: str) -> None:
    card = score(history(), feedback(feedback=[{"score": value} for value in scores]))
    assert {item.name: item.result for item in card.measures}[VOICES] == result
    assert card.outcome == (SUCCESS if result == PASS else MIXED)


@pytest.mark.parametrize(
    "this_week, before, result", [(4, 9, PASS), (0, 0, PASS), (9, 9, FAIL), (10, 9, FAIL), (1, 0, FAIL)], ids=str
)
def test_the_support_burden_must_be_less_than_before(this_week: int, before: int, result: str) -> None:
    given_ = feedback(support={"this_week": this_week, "week_before": before})
    assert results(history(), given_)[SUPPORT] == result


@pytest.mark.parametrize(
    "changes, result, said",
    [
        ({"breach": "R2 broken: worker: no process beats"}, FAIL, "R2 broken"),
        (
            {"kinds": {**KINDS, "worker": {**WELL, "ill": "sidekiq: no process beats"}}},
            FAIL,
            "at the last look: sidekiq",
        ),
        ({"kinds": {**KINDS, "worker": {**WELL, "bad": 14, "worst": "sidekiq: gone"}}}, PASS, "well in 1426 of 1440"),
        (
            {"kinds": {**KINDS, "worker": {**WELL, "bad": 15, "worst": "sidekiq: gone"}}},
            FAIL,
            "in 15 of 1440 looks: sidekiq: gone",
        ),
        ({"short": "12 looks saw all that is required, 1440 were to be"}, UNKNOWN, "12 looks saw"),
        ({"kinds": {**KINDS, "health": {**WELL, "seen": 1295}}}, UNKNOWN, "seen in 1295 of 1440 looks"),
        ({"kinds": {"log": WELL}}, UNKNOWN, "seen in 0 of 1440 looks"),
        ({"looks": 0}, UNKNOWN, "did not look"),
    ],
    ids=["breach", "ill", "restarts", "flapping", "short", "blind", "others", "never"],
)
def test_services_are_healthy_when_the_looks_say_so(changes: dict[str, Any], result: str, said: str) -> None:
    card = score(history({**WATCH, **changes}), feedback())
    found = next(item for item in card.measures if item.name == SERVICES)
    assert found.result == result
    assert said in found.reason
    assert card.outcome == {PASS: SUCCESS, FAIL: FAILED, UNKNOWN: UNKNOWN}[result]


@pytest.mark.parametrize(
    "line", ["WebSocket error occurred: Broken pipe", "ActionCable: subscription rejected", "GET /cable 500"]
)
@pytest.mark.parametrize("ok", [True, False, None])
def test_a_websocket_error_in_the_logs_of_the_deploy_is_found_however_rare(line: str, ok: bool | None) -> None:
    run = {"release": "1.1.0", "verb": "deploy", "observations": [log(line, ok=ok)]}
    assert results(history(runs=[run]), feedback())[SOCKETS] == FAIL
    other = {**run, "release": "1.0.0"}
    assert results(history(runs=[other]), feedback())[SOCKETS] == PASS


def test_one_that_the_watch_found_is_told() -> None:
    sockets = {"looks": 3, "last": "web: error WebSocket error occurred"}
    card = score(history({**WATCH, "sockets": sockets}), feedback())
    found = next(item for item in card.measures if item.name == SOCKETS)
    assert (found.result, found.reason) == (FAIL, "in 3 looks: web: error WebSocket error occurred")
    assert card.outcome == MIXED


@pytest.mark.parametrize(
    "changes",
    [{"detail": "PG::ConnectionBad"}, {"detail": "0 errors of /cable in 200 lines", "value": 0}, {"probe": "page"}],
    ids=["other", "none", "kind"],
)
def test_whatever_else_is_logged_is_no_websocket_error(changes: dict[str, Any]) -> None:
    assert not socket_error(log(**{"detail": "WebSocket error", **changes}))
    assert socket_error(log("WebSocket error"))


def test_one_that_was_there_before_the_release_is_none_of_it() -> None:
    again = "web again 0123456789ab: error WebSocket error occurred"
    assert not socket_error({**log("3 times in 90 lines"), "subject": again})


def test_logs_that_nobody_read_prove_nothing() -> None:
    kinds = {name: item for name, item in KINDS.items() if name != "log"}
    assert results(history({**WATCH, "kinds": kinds}), feedback())[SOCKETS] == UNKNOWN
    few = {**KINDS, "log": {**WELL, "seen": 1295}}
    assert results(history({**WATCH, "kinds": few}), feedback())[SOCKETS] == UNKNOWN


def test_a_release_that_was_taken_back_failed_whatever_else_is_well() -> None:
    card = score(history(gone="taken back: R2 broken"), feedback())
    assert (card.outcome, card.reasons) == (FAILED, ("taken back: R2 broken",))


def test_feedback_is_as_people_write_it() -> None:
    """YAML makes dates of days; people write paragraphs."""
    given_ = {**FEEDBACK, "bugs": [{"severity": "low", "date": date(2026, 11, 18), "text": "one\n  two\n"}]}
    (bug,) = Feedback.parse(given_).bugs or ()
    assert (bug.date, bug.text) == ("2026-11-18", "one two")


@pytest.mark.parametrize(
    "wrong, said",
    [
        (
            {"bugs": [{"severity": "fatal", "date": "2026-11-18", "text": "x"}]},
            "bugs[0].severity: must be one of critical",
        ),
        (
            {"bugs": [{"severity": "low", "date": "18.11.2026", "text": "x"}]},
            "bugs[0].date: must be a day as 2026-12-31",
        ),
        ({"issues": [{"date": "20261118", "text": "x"}]}, "issues[0].date: must be a day as 2026-12-31"),
        ({"bugs": {"severity": "low"}}, "bugs: must be a list, not a mapping"),
        ({"feedback": [{"score": 2}]}, "feedback[0].score: must be a number from -1 to 1"),
        ({"feedback": [{"score": 0.5}]}, "feedback[0].score: must be a whole number, not 0.5"),
        ({"feedback": [{"score": True}]}, "feedback[0].score: must be a number from -1 to 1"),
        ({"support": {"this_week": -1, "week_before": 2}}, "support.this_week: must be a number from 0"),
        ({"support": {"this_week": 1}}, "support.week_before: is required"),
        ({"issues": [{"text": "x"}]}, "issues[0].date: is required"),
        ({"tickets": 3}, "tickets: is unknown"),
        ({"release": "../../etc"}, "release: must be a release version"),
        ({"release": None}, "release: is required"),
        ({"feedback": [{"score": 1}] * 501}, "feedback: must have at most 500 entries"),
    ],
)
def test_what_is_wrong_with_feedback_is_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        Feedback.parse({**FEEDBACK, **wrong})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SlipwayError) as caught:
        Feedback.parse({"bugs": 1, "support": 2})
    assert str(caught.value).count(";") == 2


def problem(content: object) -> str:
    """What is wrong with feedback; empty where nothing is."""
    try:
        Feedback.parse(content)
    except SlipwayError as error:
        return str(error)
    return ""


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_a_file_holds_is_feedback_or_one_line(value: object) -> None:
    for content in (
        value,
        {**FEEDBACK, "bugs": value},
        {**FEEDBACK, "feedback": [value]},
        {**FEEDBACK, "support": value},
    ):
        assert "\n" not in problem(content)


def test_feedback_is_the_same_after_it_was_kept() -> None:
    assert Feedback.parse(feedback().to_dict()) == feedback()
