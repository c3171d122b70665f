from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._observation import (
    Observation,
    ObservationError,
    parse_timestamp,
    timestamp,
)

GOOD: dict[str, Any] = {
    "probe": "page",
    "subject": "/agents",
    "at": "2026-11-23T08:00:00.123Z",
    "value": 0.123,
    "unit": "s",
    "ok": True,
    "detail": "200, 3 assets, 45 kB",
    "of": None,
}


@pytest.mark.parametrize(
    "changes", [{}, {"value": None, "unit": None, "ok": None}, {"ok": False, "value": 3}, {"of": 40}]
)
def test_an_observation_survives_json(changes: dict[str, Any]) -> None:
    mapping = {**GOOD, **changes}
    assert Observation.from_dict(json.loads(json.dumps(mapping))).to_dict() == {"of": None, **mapping}


def test_what_the_application_says_cannot_move_the_operator_s_cursor() -> None:
    seen = Observation.from_dict(
        {**GOOD, "subject": "/a\x1b[2J", "detail": "it says \x1b]52;c;cm0gLXJm\x07up\u202e\r\n"}
    )
    assert (seen.subject, seen.detail) == ("/a [2J", "it says  ]52;c;cm0gLXJm up   ")


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"probe": "guess"}, "probe must be one of page, health,"),
        ({"probe": None}, "probe must be text"),
        ({"subject": 3}, "subject must be text"),
        ({"at": "yesterday"}, "at must be an ISO 8601 time with a zone, not 'yesterday'"),
        ({"at": "2026-11-23T08:00:00"}, "at must be an ISO 8601 time with a zone"),
        ({"value": True}, "value must be a finite number or null"),
        ({"value": float("nan")}, "value must be a finite number or null"),
        ({"value": "3"}, "value must be a finite number or null"),
        ({"of": "40"}, "of must be a number of at least 0 or null"),
        ({"unit": 1}, "unit must be text or null"),
        ({"ok": 1}, "ok must be true, false or null"),
        ({"ok": "true"}, "ok must be true, false or null"),
        ({"detail": None}, "detail must be text"),
        ({"of": -1}, "of must be a number of at least 0 or null"),
        ({"of": True}, "of must be a number of at least 0 or null"),
        ({"of": 9, "value": None}, "value must be a number of at least 0 where of is given"),
    ],
)
def test_what_is_no_observation_is_refused_in_one_line(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ObservationError) as caught:
        Observation.from_dict({**GOOD, **changes})
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_unknown_keys_are_named() -> None:
    with pytest.raises(ObservationError, match=r"^observation: lacks at, unit; has unknown colour$"):
        Observation.from_dict({**{key: GOOD[key] for key in GOOD if key not in {"at", "unit"}}, "colour": "red"})


def test_one_that_counts_no_trials_needs_not_say_so() -> None:
    item = Observation.from_dict({key: GOOD[key] for key in GOOD if key != "of"})
    assert (item.of, item.to_dict()) == (None, GOOD)


def test_something_else_is_refused() -> None:
    with pytest.raises(ObservationError, match="must be a mapping, not list"):
        Observation.from_dict([])  # type: ignore[arg-type]


def test_times_are_written_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 23, 9, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(moment) == "2026-11-23T08:00:00.123Z"
    assert parse_timestamp("2026-11-23T08:00:00Z") == datetime(2026, 11, 23, 8, tzinfo=UTC)
