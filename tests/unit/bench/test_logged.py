"""The simulated days are what the product makes of lines that containers would log."""

from __future__ import annotations

import random

import pytest
from ansible_collections.slipway.release.plugins.module_utils._criteria import baselines, counted_before

from bench._days import COUNTED_DAYS, DAY, Change, Days, days
from bench._logged import baseline, looks, noted, series


@pytest.fixture(scope="module")
def simulated() -> Days:
    return days(random.Random(3), change=Change(DAY))


def test_what_is_counted_is_what_the_probes_count_of_the_lines(simulated: Days) -> None:
    found, before = series(simulated), baseline(simulated)
    counted = counted_before(before)
    by_lines = {(probe, name): item["blocks"] for probe, items in counted.items() for name, item in items.items()}
    by_hand = noted(simulated, found)
    assert by_lines == {
        (probe, name): item["blocks"] for probe, items in by_hand.items() for name, item in items.items()
    }
    assert by_lines.keys() == found.keys()
    assert {name for probe, name in found if probe == "log"} >= {"web", "web requests", "worker", "proxy"}
    assert sum(" again " in name for _, name in found) == 11
    # all of it is compared, jobs too
    assert baselines(counted).keys() == found.keys()
    for minute, seen in zip(range(DAY, DAY + 60), looks(simulated, before), strict=False):
        counts = {(item.probe, item.subject): (item.value, item.of) for item in seen if item.of is not None}
        assert {place: counts[place] for place in found} == {place: minutes[minute] for place, minutes in found.items()}


def test_a_change_is_of_the_errors_that_it_is_about() -> None:
    plain, one = (days(random.Random(5), change=change) for change in (None, Change(DAY, 5.0, 3)))
    before = [sum(kinds[3] for kinds in item.errors[:DAY]) for item in (plain, one)]
    after = [sum(kinds[3] for kinds in item.errors[DAY:]) for item in (plain, one)]
    assert before[0] == before[1]
    assert 3.5 < after[1] / after[0] < 7
    others = [sum(sum(kinds) - kinds[3] for kinds in item.errors[DAY:]) for item in (plain, one)]
    assert 0.8 < others[1] / others[0] < 1.25


def test_the_days_before_are_like_the_one_before_the_release() -> None:
    dice = random.Random(6)
    shares = []
    for _ in range(12):
        found = days(dice)
        assert len(found.earlier) == COUNTED_DAYS - 1
        jobs = sum(done for _, done in found.earlier) / len(found.earlier)
        shares.append(sum(found.jobs[:DAY]) / jobs)
    assert 0.9 < sum(shares) / len(shares) < 1.1
