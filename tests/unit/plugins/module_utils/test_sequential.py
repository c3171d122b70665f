"""The test on counts: right under optional stopping, resumed from JSON, and found guilty only by evidence."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from ansible_collections.slipway.release.plugins.module_utils._sequential import (
    BLOCK,
    LEAST_BLOCKS,
    LEAST_LONG,
    Baseline,
    Tally,
    decisive,
    shares,
)
from hypothesis import given
from hypothesis import strategies as st


def poisson(dice: random.Random, mean: float) -> int:
    count, product, limit = 0, dice.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * dice.random()
    return count


def known(events: float = 6, blocks: int = 144) -> Baseline:
    """A baseline of blocks that are all alike."""
    found = Baseline.of([(events, 600)] * blocks)
    assert found is not None
    return found


BASELINE = known()
counts = st.lists(st.tuples(st.integers(0, 4 * BLOCK), st.integers(0, 30), st.integers(0, 900)), max_size=30)


def told(tally: Tally, error: float = 0.01) -> float | None:
    found = tally.evidence(error)
    return None if found is None else found.statistic - found.threshold


@given(counts, counts)
def test_a_tally_goes_on_from_json(first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]) -> None:
    whole, part = Tally(BASELINE, 2), Tally(BASELINE, 2)
    for item in first:
        whole.add(*item)
        part.add(*item)
    again = Tally(BASELINE, 2, json.loads(json.dumps(part.to_dict())))
    for item in second:
        whole.add(*item)
        again.add(*item)
    assert again.to_dict() == whole.to_dict()
    assert told(again) == told(whole)


odd = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=9)


@given(st.floats(1e-4, 1e4), odd)
def test_no_count_however_odd_breaks_the_filter(events: float, items: list[tuple[int, int, int]]) -> None:
    tally, minute = Tally(known(events), 2), 0
    for pause, count, trials in items:
        minute += pause
        tally.add(minute * 60, count, trials)
    kept = tally.to_dict()
    unchanged, *changed = ([item for drifts in bursts for item in drifts] for bursts in kept["weights"])
    assert sum(unchanged) == pytest.approx(1)
    assert all(0 <= item < math.inf for items in changed for item in items)


def wealth(tally: Tally) -> float:
    """All that is held: what is bet by now, and what is kept for the minutes to come."""
    kept = tally.to_dict()
    return float(kept["later"] + sum(item for bursts in kept["weights"][1:] for row in bursts for item in row))


@given(st.lists(st.integers(0, 600), min_size=1, max_size=3), st.lists(st.integers(0, 30), min_size=36, max_size=40))
def test_bets_are_paid_for_out_of_what_was_kept(pauses: list[int], before: list[int]) -> None:
    baseline = Baseline.of([(events, 600) for events in before])
    assert baseline is not None
    tally, minute, later = Tally(baseline, 2), 0, 1.0
    tally.add(0, 0, 0)
    assert wealth(tally) == pytest.approx(1, abs=1e-9)
    for pause in pauses:
        minute += pause
        tally.add(minute * 60, 0, 0)
        # nothing is seen, so that nothing is won or lost, whatever is bet on
        assert wealth(tally) == pytest.approx(1, abs=1e-9)
        left = tally.to_dict()["later"]
        assert left < later or not pause
        later = left


def test_what_is_seen_first_is_not_expected_to_speak_for_a_change() -> None:
    dice = random.Random(4)
    # without what the hours before tell of drift and bursts, which would be the law to weigh by
    baseline = replace(drawn(dice, 6), latest=())
    often = (3 / 1440) / (3 / 1440 + 1 / 10)
    bursts = {1: 1 - often, 2: often / 2, 4: often / 2}
    expected = 0.0
    for count in range(120):
        probability = 0.0
        for number in range(7):
            drift = math.exp(math.sqrt(baseline.drift) * (2 * number - 6) / math.sqrt(6))
            for burst, kind in bursts.items():
                mean = burst * drift * baseline.rate * 600
                log = count * math.log(mean) - mean - math.lgamma(count + 1)
                probability += kind * math.comb(6, number) / 64 * math.exp(log)
        tally = Tally(baseline, 2)
        tally.add(0, count, 600)
        expected += probability * wealth(tally)
    # that clusters are supposed where there are none takes something away
    assert 0.8 < expected <= 1


@given(st.lists(st.tuples(st.integers(0, 9 * BLOCK), st.integers(0, 900)), max_size=30))
def test_without_events_nothing_is_decided(items: list[tuple[int, int]]) -> None:
    tally = Tally(BASELINE, 2)
    for moment, trials in items:
        tally.add(moment, 0, trials)
    assert tally.evidence(0.1) is None


def decided(dice: random.Random, baseline: Baseline, mean: float, *, error: float, looks: int = 600) -> int | None:
    """After how many events a look each minute decides."""
    tally, events = Tally(baseline, 2), 0
    for minute in range(looks):
        count = poisson(dice, mean)
        events += count
        tally.add(minute * 60, count, 60)
        found = tally.evidence(error)
        if found is not None and found.decided:
            return events
    return None


def drawn(dice: random.Random, mean: float) -> Baseline:
    found = Baseline.of([(poisson(dice, mean), 600) for _ in range(144)])
    assert found is not None
    return found


@pytest.mark.promise("P1", "P2")
def test_a_rate_that_stays_is_rarely_found_to_have_grown_however_often_one_looks() -> None:
    dice = random.Random(5)
    wrong = sum(decided(dice, drawn(dice, 6), 0.6, error=0.1, looks=300) is not None for _ in range(120))
    assert wrong <= 0.1 * 120


@pytest.mark.promise("P1", "P2")
def test_a_doubled_rate_is_found_soon() -> None:
    dice = random.Random(6)
    took = sorted(decided(dice, drawn(dice, 8), 1.6, error=0.02) or 10**6 for _ in range(31))
    assert took[15] <= 60


@pytest.mark.promise("P1")
def test_bursts_are_no_changed_rate() -> None:
    tally = Tally(BASELINE, 2)
    for minute in range(600):
        # 100 times as much for five minutes, then 3 times for a quarter of an hour
        much = 60 if 61 <= minute < 66 else 1.8 if 300 <= minute < 315 else 0.6
        tally.add(minute * 60, much, 60)
        found = tally.evidence(0.01)
        assert found is None or not found.decided


def test_what_grew_less_than_is_looked_for_stands() -> None:
    baseline = known(6)
    doubled, tripled = Tally(baseline, 2), Tally(baseline, 3)
    for minute in range(300):
        doubled.add(minute * 60, 0.6 * 1.6, 60)
        tripled.add(minute * 60, 0.6 * 1.6, 60)
    assert tripled.evidence(0.1) is None
    found = doubled.evidence(0.1)
    assert found is not None
    assert found.events == pytest.approx(1.6 * found.expected, rel=0.01)


@pytest.mark.promise("P1", "P2")
def test_a_rate_that_grows_hours_later_is_found_and_since_when_is_told() -> None:
    tally = Tally(BASELINE, 2)
    for minute in range(900):
        tally.add(minute * 60, 0.6 * (3 if minute >= 600 else 1), 60)
    found = tally.evidence(0.01)
    assert found is not None
    assert found.decided
    assert 600 * 60 <= found.since < 690 * 60


def test_the_hours_before_the_release_tell_where_the_drift_stands() -> None:
    steady = known(12)
    risen = replace(steady, latest=(*steady.latest[:-12], *[(18.0, 600.0)] * 12))
    told_of = []
    for baseline in (steady, risen):
        tally = Tally(baseline, 2)
        for minute in range(60):
            tally.add(minute * 60, 1.8, 60)
        told_of.append(tally.evidence(0.1))
    before, after = told_of
    assert before is not None
    assert after is None or after.statistic < before.statistic - 0.5


def test_few_events_decide_only_when_they_say_much() -> None:
    tally, thresholds = Tally(known(60), 2), set()
    for minute in range(12):
        tally.add(minute * 60, 12, 60)
        found = tally.evidence(0.01)
        if found is not None:
            thresholds.add((found.events >= 40, round(math.exp(-found.threshold), 6)))
    assert thresholds == {(False, round(0.01 / 30, 6)), (True, 0.01)}


def test_a_baseline_that_scatters_wanders_or_is_short_makes_the_test_slower() -> None:
    dice = random.Random(7)
    calm = drawn(dice, 6)
    clustered = Baseline.of([(2 * poisson(dice, 3), 600) for _ in range(144)])
    wandering = Baseline.of([(poisson(dice, 3 if number // 12 % 2 else 9), 600) for number in range(144)])
    short = Baseline.of([(6, 600)] * LEAST_BLOCKS)
    assert clustered is not None
    assert wandering is not None
    assert short is not None
    assert clustered.clusters > 1.3 * calm.clusters
    assert wandering.drift > 3 * calm.drift
    assert short.drift > known().drift
    assert short.returns > known().returns


def test_bursts_are_left_out_of_a_baseline() -> None:
    burst = Baseline.of([*[(6, 600)] * 140, *[(600, 600)] * 4])
    assert burst is not None
    assert burst.rate == pytest.approx(0.01, rel=0.1)
    assert burst.events == 140 * 6 + 4 * 600


@pytest.mark.promise("P2")
def test_days_tell_the_rate_and_put_down_to_clusters_how_they_differ() -> None:
    dice = random.Random(7)
    days = [(poisson(dice, 40), 6000) for _ in range(14)]
    found = Baseline.of(days, 86400)
    assert found is not None
    assert found.rate == pytest.approx(40 / 6000, rel=0.1)
    assert found.daily == pytest.approx(found.events / 14)
    # nobody knows how it was in the last hours
    assert found.latest == ()
    assert found.drift >= known().drift - 0.01
    uneven = Baseline.of([(count * (1 + number % 2 * 2), trials) for number, (count, trials) in enumerate(days)], 86400)
    assert uneven is not None
    assert uneven.clusters > 2 > found.clusters
    # days that lie near each other say nothing of hours
    risen = Baseline.of([(20 + number // 7 * 60, 6000) for number in range(14)], 86400)
    assert risen is not None
    assert risen.drift < 0.03
    assert Baseline.of(days[: LEAST_LONG - 1], 86400) is None
    assert Baseline.of(days) is None, "fourteen blocks of ten minutes are too few"


def test_what_one_error_does_to_several_subjects_costs_nothing() -> None:
    dice = random.Random(8)
    for _ in range(20):
        tally, minute, alone = Tally(drawn(dice, 8), 2), 0, None
        while alone is None or not alone.decided:
            tally.add(minute * 60, poisson(dice, 1.6), 60)
            alone, third = tally.evidence(0.02), tally.evidence(0.02 / 3)
            minute += 1
            # three subjects that count the same decide when one would that has all of the error
            together = decisive({"web": third, "proxy": third, "job": third})
            assert together == (["web", "proxy", "job"] if alone is not None and alone.decided else [])


def test_of_what_decides_together_that_is_named_which_says_most_of_it() -> None:
    weak, strong = Tally(BASELINE, 2), Tally(BASELINE, 2)
    for minute in range(60):
        weak.add(minute * 60, 1.2, 60)
        strong.add(minute * 60, 3, 60)
    little, much = weak.evidence(1e-9), strong.evidence(0.01)
    assert little is not None
    assert 0 < little.weight < 0.1
    assert decisive({"weak": little, "strong": much, "silent": None}) == ["strong"]
    assert decisive({"weak": little}) == []
    assert decisive({}) == []


@pytest.mark.parametrize("blocks", [[], [(0, 0)] * 144, [(1, 100)] * (LEAST_BLOCKS - 1)])
def test_too_little_is_no_baseline(blocks: list[tuple[int, int]]) -> None:
    assert Baseline.of(blocks) is None


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_the_error_is_shared_out_whole(events: list[int]) -> None:
    found = shares([known(item / 100) for item in events])
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0.1 / len(events) - 1e-12
    assert found.index(max(found)) in [place for place, item in enumerate(events) if item == max(events)]


def test_two_weeks_of_a_subject_weigh_no_more_than_a_day_of_another() -> None:
    weeks = Baseline.of([(864, 86400)] * 14, 86400)
    assert weeks is not None
    assert shares([weeks, known(6)]) == pytest.approx([0.5, 0.5])
