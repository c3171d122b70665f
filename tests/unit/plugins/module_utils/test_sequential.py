"""The test on counts: right under optional stopping, resumed from JSON, and found guilty only by evidence."""

from __future__ import annotations

import json
import math
import random

import pytest
from ansible_collections.slipway.release.plugins.module_utils._sequential import (
    BLOCK,
    LEAST_BLOCKS,
    Baseline,
    Tally,
    shares,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("P1", "P2", "P4")


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


def told(tally: Tally, error: float = 0.01, at_least: float = 1.0) -> float | None:
    found = tally.strongest(error, at_least)
    return None if found is None else found.statistic - found.threshold


@given(counts, counts)
def test_a_tally_goes_on_from_json(first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]) -> None:
    whole, part = Tally(BASELINE), Tally(BASELINE)
    for item in first:
        whole.add(*item)
        part.add(*item)
    again = Tally(BASELINE, json.loads(json.dumps(part.to_dict())))
    for item in second:
        whole.add(*item)
        again.add(*item)
    assert again.to_dict() == whole.to_dict()
    assert told(again) == told(whole)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 900)), max_size=20), st.randoms(use_true_random=False))
def test_within_a_block_neither_order_nor_portions_matter(items: list[tuple[int, int]], dice: random.Random) -> None:
    one, many = Tally(BASELINE), Tally(BASELINE)
    one.add(0, 0, 0)
    one.add(1, sum(item[0] for item in items), sum(item[1] for item in items))
    many.add(0, 0, 0)
    for events, trials in dice.sample(items, len(items)):
        many.add(2, events, trials)
    assert many.to_dict() == one.to_dict()


@given(counts, st.integers(1, 20))
def test_more_events_are_never_less_evidence(items: list[tuple[int, int, int]], more: int) -> None:
    usual, higher = Tally(BASELINE), Tally(BASELINE)
    for moment, events, trials in items:
        usual.add(moment, events, trials)
        higher.add(moment, events + more, trials)
    was, becomes = (-math.inf if found is None else found for found in map(told, (usual, higher)))
    assert becomes >= was - 1e-9


@given(st.lists(st.tuples(st.integers(0, 9 * BLOCK), st.integers(0, 900)), max_size=30))
def test_without_events_nothing_is_decided(items: list[tuple[int, int]]) -> None:
    tally = Tally(BASELINE)
    for moment, trials in items:
        tally.add(moment, 0, trials)
    assert tally.strongest(0.1, 1.0) is None


def decided(dice: random.Random, baseline: Baseline, mean: float, *, error: float, looks: int = 600) -> int | None:
    """After how many events a look each minute decides."""
    tally, events = Tally(baseline), 0
    for minute in range(looks):
        count = poisson(dice, mean)
        events += count
        tally.add(minute * 60, count, 60)
        found = tally.strongest(error, 1.5) if count else None
        if found is not None and found.decided:
            return events
    return None


def drawn(dice: random.Random, mean: float) -> Baseline:
    found = Baseline.of([(poisson(dice, mean), 600) for _ in range(144)])
    assert found is not None
    return found


def test_a_rate_that_stays_is_rarely_found_to_have_grown_however_often_one_looks() -> None:
    dice = random.Random(5)  # noqa: S311 - a simulation
    wrong = sum(decided(dice, drawn(dice, 6), 0.6, error=0.1, looks=300) is not None for _ in range(120))
    assert wrong <= 0.1 * 120


def test_a_doubled_rate_is_found_soon() -> None:
    dice = random.Random(6)  # noqa: S311 - a simulation
    took = sorted(decided(dice, drawn(dice, 8), 1.6, error=0.01) or 10**6 for _ in range(31))
    assert took[15] <= 60


def test_one_burst_is_no_changed_rate() -> None:
    tally = Tally(BASELINE)
    for minute in range(240):
        # 100 times as much for five minutes
        tally.add(minute * 60, 60 if 61 <= minute < 66 else 0.6, 60)
    found = tally.strongest(0.01, 1.0)
    assert found is None or not found.decided


def test_what_is_more_frequent_but_not_enough_to_matter_stands() -> None:
    tally = Tally(known(60))
    for minute in range(600):
        tally.add(minute * 60, 6 * 1.4, 60)
    assert tally.strongest(0.1, 1.5) is None
    found = tally.strongest(0.1, 1.2)
    assert found is not None
    assert found.events == pytest.approx(1.4 * found.expected, rel=0.01)


def test_a_rate_that_grows_hours_later_is_found_by_a_later_window() -> None:
    tally = Tally(BASELINE)
    for minute in range(900):
        tally.add(minute * 60, 0.6 * (3 if minute >= 600 else 1), 60)
    found = tally.strongest(0.01, 1.5)
    assert found is not None
    assert found.decided
    assert found.since >= 500 * 60


def test_a_baseline_that_scatters_wanders_or_is_short_makes_the_test_slower() -> None:
    dice = random.Random(7)  # noqa: S311 - a simulation
    calm = drawn(dice, 6)
    restless = Baseline.of([(poisson(dice, 6) * dice.choice((0, 2)), 600) for _ in range(144)])
    wandering = Baseline.of([(poisson(dice, 3 if number // 12 % 2 else 9), 600) for number in range(144)])
    short = Baseline.of([(6, 600)] * LEAST_BLOCKS)
    assert restless is not None
    assert wandering is not None
    assert short is not None
    assert restless.clusters + 6 * restless.unrest > 1.5 * (calm.clusters + 6 * calm.unrest)
    assert wandering.drift > 5 * calm.drift
    assert short.drift > known().drift


def test_bursts_are_left_out_of_a_baseline() -> None:
    burst = Baseline.of([*[(6, 600)] * 140, *[(600, 600)] * 4])
    assert burst is not None
    assert burst.rate == pytest.approx(0.01, rel=0.1)
    assert burst.events == 140 * 6 + 4 * 600


@pytest.mark.parametrize("blocks", [[], [(0, 0)] * 144, [(1, 100)] * (LEAST_BLOCKS - 1)])
def test_too_little_is_no_baseline(blocks: list[tuple[int, int]]) -> None:
    assert Baseline.of(blocks) is None


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_the_error_is_shared_out_whole(events: list[int]) -> None:
    found = shares([known(item / 100) for item in events])
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0.1 / len(events) - 1e-12
    assert found.index(max(found)) in [place for place, item in enumerate(events) if item == max(events)]
