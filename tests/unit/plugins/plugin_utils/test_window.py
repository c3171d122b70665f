"""The agreed window, over midnight and through the changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.slipway.release.plugins.module_utils._reader import Reader
from ansible_collections.slipway.release.plugins.plugin_utils._window import DAYS, Window, read_window
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("G7")

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = Window(("sat", "sun"), time(22), time(5), BERLIN)


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    "moment, inside",
    [
        ("2026-11-28 21:59:59", False),
        ("2026-11-28 22:00", True),
        ("2026-11-29 04:59:59", True),
        ("2026-11-29 05:00", False),
        ("2026-11-29 12:00", False),
        ("2026-11-30 04:00", True),  # the night that began on Sunday
        ("2026-11-30 22:00", False),
        ("2026-11-28 04:00", False),  # the night that began on Friday
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, inside: bool) -> None:
    assert NIGHTS.contains(berlin(moment)) is inside


def test_within_a_day_and_around_the_clock() -> None:
    morning = Window(("tue",), time(2), time(4), BERLIN)
    assert [morning.contains(berlin(f"2026-11-24 0{hour}:00")) for hour in (1, 2, 3, 4)] == [False, True, True, False]
    assert not morning.contains(berlin("2026-11-25 03:00"))
    whole = Window(DAYS, time(0), time(0), BERLIN)
    assert whole.contains(berlin("2026-11-24 00:00"))
    assert whole.contains(berlin("2026-11-24 23:59"))


def test_the_clock_on_the_wall_counts_where_clocks_change() -> None:
    window = Window(("sun",), time(2), time(3), BERLIN)
    # 2026-10-25: 02:00 to 03:00 comes twice
    assert window.contains(berlin("2026-10-25 02:30", fold=0))
    assert window.contains(berlin("2026-10-25 02:30", fold=1))
    assert not window.contains(datetime(2026, 10, 25, 2, 0, tzinfo=UTC))
    # 2026-03-29: 02:00 to 03:00 does not come at all
    begin = datetime(2026, 3, 29, 0, tzinfo=UTC)
    assert not any(window.contains(begin + timedelta(minutes=minute)) for minute in range(180))
    assert f"{window.opens(begin):%H:%M}" == "03:00"
    # the same hour of the wall is another one in UTC before and after
    assert NIGHTS.opens(berlin("2026-10-24 12:00")).astimezone(UTC).hour == 20
    assert NIGHTS.opens(berlin("2026-10-25 12:00")).astimezone(UTC).hour == 21


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis takes naive limits
WINDOWS = st.builds(
    Window,
    st.sets(st.sampled_from(DAYS), min_size=1).map(tuple),
    st.times().map(lambda item: item.replace(second=0, microsecond=0)),
    st.times().map(lambda item: item.replace(second=0, microsecond=0)),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Auckland", "UTC"]).map(ZoneInfo),
)


@given(WINDOWS, MOMENTS)
def test_the_next_opening_comes_within_eight_days_on_one_of_its_days(window: Window, moment: datetime) -> None:
    opens = window.opens(moment)
    assert moment < opens <= moment + timedelta(days=8)
    assert DAYS[opens.weekday()] in window.days


@given(WINDOWS, MOMENTS)
def test_it_is_open_only_on_its_days_and_in_the_night_after(window: Window, moment: datetime) -> None:
    if window.contains(moment):
        there = moment.astimezone(window.zone)
        assert {DAYS[there.weekday()], DAYS[there.weekday() - 1]} & set(window.days)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"from": 1320}, "window.from: must be text, not a number"),
        ({"from": "22"}, 'window.from: must be a time as "22:00"'),
        ({"to": "24:00"}, 'window.to: must be a time as "22:00"'),
        ({"time_zone": "Europe/Bonn"}, "window.time_zone: must be a time zone that this controller knows"),
        ({"time_zone": "../../etc/passwd"}, "window.time_zone: must be a time zone"),
        ({"time_zone": None}, "window.time_zone: is required"),
        ({"days": ["saturday"]}, "window.days[0]: must be one of mon"),
        ({"days": []}, "window.days: must name a day"),
    ],
)
def test_a_window_that_makes_no_sense_is_said(given: dict[str, Any], said: str) -> None:
    problems: list[str] = []
    good = {"days": ["sat"], "from": "22:00", "to": "05:00", "time_zone": "Europe/Berlin"}
    assert read_window(Reader("window", good, problems)) == Window(("sat",), time(22), time(5), BERLIN)
    assert problems == []
    assert read_window(Reader("window", {**good, **given}, problems)) is None
    assert problems[0].startswith(said)
