# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something happens more often than before the release: one sequential test on counts, valid at every look.

Events (errors, failed jobs, slow requests) are counted out of trials (requests, jobs). The statistic is a test
martingale: a mixture of likelihood ratios that is not expected to grow where the rate is still that of the baseline,
however often and at whatever moment somebody looks. The probability that it ever reaches 1 / error is at most `error`.

- J. Ville: Etude critique de la notion de collectif, 1939: the inequality.
- H. Robbins: Statistical Methods Related to the Law of the Iterated Logarithm. Annals of Mathematical Statistics, 1970:
  mixtures over effects.
- G. Shafer, A. Shen, N. Vereshchagin, V. Vovk: Test Martingales, Bayes Factors and p-Values. Statistical Science, 2011.
- A. Ramdas, P. Grünwald, V. Vovk, G. Shafer: Game-Theoretic Statistics and Safe Anytime-Valid Inference. Statistical
  Science, 2023.

What is real is not Poisson. The baseline's blocks of ten minutes say how far from it:

- bursts: what a block holds far beyond twice what was expected is cut off, in the baseline as after the release;
- clusters and unrest: how much more than Poisson counts blocks scatter divides all counts (a quasi-likelihood): two
  errors with one cause are little more than one, and a block is at most 1 / _LEAST_UNREST, however much it holds;
- drift: how far blocks near each other move together is how far the rate wanders by itself. Under the null hypothesis
  the rate is the baseline's times a factor with that variance (a gamma distribution: the counts are negative
  binomial), to which comes what is unknown of the baseline: a rate known from 20 events is hardly known.

So the guarantee is that of a model whose parameters are estimated from a day. `bench/judge` measures what it is worth
on days that do not follow it. Trials take the time of day out of the traffic; what the rate itself does over the day is
drift. What doubles now and then by itself is not told from a doubled rate by this test: such a release stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Seconds of a block, before the release and after it. Fewer blocks are no baseline, fewer events no decision.
BLOCK, LEAST_BLOCKS, LEAST_EVENTS = 600, 36, 20
# A block counts for what was expected so many times, and so many standard deviations; or for so many events.
_TIMES, _DEVIATIONS, _FEW = 2.0, 2.0, 3.0
_LEAST_CLUSTERS, _MOST_CLUSTERS, _LEAST_UNREST, _LEAST_DRIFT = 1.1, 3.0, 0.15, 0.01
# Blocks at most so far apart say how the rate drifts.
_LAGS = 3
# How many times as often it may happen now, and how much is bet on that.
_EFFECTS = tuple((effect, math.log(effect), math.log(bet)) for effect, bet in ((2.0, 0.85), (4.0, 0.15)))
# A window begins with the release, and has most of the error; one more begins after every so many blocks.
_FIRST, _PAUSE, _MOST_WINDOWS = 0.9, 6, 48
# How much of the error is shared equally among subjects; the rest goes where most is to be seen.
_EQUALLY = 0.1


@dataclass(frozen=True)
class Baseline:
    """How often something happened before the release.

    :param rate: events for each trial, bursts cut off.
    :param usual: events to be expected in a block.
    :param clusters: how many times as much as Poisson counts blocks scatter where little is to be expected.
    :param unrest: the variance of the factor by which the rate differs from one block to the next.
    :param drift: the variance of the factor by which it wanders slowly, and of what is unknown of it.
    """

    events: float
    trials: float
    rate: float
    usual: float
    clusters: float
    unrest: float
    drift: float

    @classmethod
    def of(cls, blocks: Sequence[Sequence[float]]) -> Baseline | None:
        """Estimate from blocks of events and trials in their order; None when they are too few to tell."""
        full = [(float(events), float(trials)) for events, trials in blocks if trials > 0]
        if len(full) < LEAST_BLOCKS:
            return None
        events, trials = (sum(column) for column in zip(*full))
        rate = (events + 0.5) / trials
        kept = [count for count, _ in full]
        # without the bursts the rate is lower, and with it what counts as one
        for _ in range(5):
            kept = [_capped(count, rate * tried) for count, tried in full]
            rate = (sum(kept) + 0.5) / trials
        expected = [rate * tried for _, tried in full]
        beyond = [count - mean for count, mean in zip(kept, expected)]
        drift = max(_LEAST_DRIFT, _together(beyond, expected))
        clusters, scatter = _scatter(beyond, expected)
        unrest, usual = max(0.0, scatter - drift), sum(expected) / len(expected)
        unknown = (clusters + unrest * usual) / sum(expected)
        return cls(events, trials, rate, usual, clusters, unrest, drift + unknown)


def _together(beyond: Sequence[float], expected: Sequence[float]) -> float:
    """How far blocks near each other move together: their covariance, relative to what was expected."""
    moved = possible = 0.0
    for lag in range(1, _LAGS + 1):
        moved += sum(one * other for one, other in zip(beyond, beyond[lag:]))
        possible += sum(one * other for one, other in zip(expected, expected[lag:]))
    return moved / possible


def _scatter(beyond: Sequence[float], expected: Sequence[float]) -> tuple[float, float]:
    """The variance of blocks as clusters * expected + unrest * expected², by two moments."""
    count, total, square = len(expected), sum(expected), sum(mean * mean for mean in expected)
    seen = sum(item * item for item in beyond)
    relative = sum(item * item / mean for item, mean in zip(beyond, expected))
    apart = count * square - total * total
    # blocks that are all alike cannot tell one from the other
    clusters = (relative * square - seen * total) / apart if apart > total * total * 1e-9 else seen / total
    clusters = min(max(_LEAST_CLUSTERS, clusters), _MOST_CLUSTERS)
    unrest = (seen - clusters * total) / square
    return (clusters, unrest) if unrest > 0 else (max(_LEAST_CLUSTERS, seen / total), 0.0)


def _capped(events: float, expected: float) -> float:
    return min(events, max(_FEW, _TIMES * expected + _DEVIATIONS * math.sqrt(expected)))


def shares(baselines: Sequence[Baseline]) -> list[float]:
    """Return how much of the error each of several subjects has: together one, and decided before the release."""
    squares = [(item.events + 1) ** 2 for item in baselines]
    return [_EQUALLY / len(squares) + (1 - _EQUALLY) * square / sum(squares) for square in squares]


@dataclass(frozen=True)
class Evidence:
    """What the window that is closest to a decision says.

    :param since: when it began, in seconds since the epoch.
    :param events: how many there were in it, bursts cut off.
    :param expected: how many were to be expected at the baseline's rate.
    :param statistic: the natural logarithm of the test martingale.
    :param threshold: the natural logarithm of what it has to reach.
    """

    since: float
    events: float
    trials: float
    expected: float
    statistic: float
    threshold: float

    @property
    def decided(self) -> bool:
        """Whether the rate is no longer that of the baseline."""
        return self.statistic >= self.threshold


class Tally:
    """What was counted of one subject since the release: small, and enough to go on from.

    Counts may come in any portions; within a block their order does not matter.

    :param kept: what `to_dict` returned.
    :raises KeyError, TypeError, ValueError: it is something else.
    """

    def __init__(self, baseline: Baseline, kept: Mapping[str, Any] | None = None) -> None:
        self.baseline = baseline
        kept = kept or {"block": None, "now": [0, 0], "before": [0, 0, 0, 0], "last": 0, "blocks": 0, "windows": []}
        self._block: int | None = kept["block"]
        # events and trials of this block; of the blocks before it those, and both weighted
        self._now: list[float] = [float(kept["now"][0]), float(kept["now"][1])]
        self._before = _four(kept["before"])
        self._last, self._blocks = float(kept["last"]), int(kept["blocks"])
        self._windows = [(int(number), float(since), _four(then)) for number, since, then in kept["windows"]]

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON, from which a tally can be made again."""
        windows = [[number, since, list(then)] for number, since, then in self._windows]
        return {
            "block": self._block,
            "now": list(self._now),
            "before": list(self._before),
            "last": self._last,
            "blocks": self._blocks,
            "windows": windows,
        }

    def add(self, moment: float, events: float, trials: float) -> None:
        """Count what came since the last time; `moment` is in seconds since the epoch."""
        block = int(moment // BLOCK)
        if block != self._block:
            self._begin(block, moment)
        self._now[0] += events
        self._now[1] += trials

    def _begin(self, block: int, moment: float) -> None:
        self._before = self._total()
        self._last = self.baseline.usual if self._block is None else self.baseline.rate * self._now[1]
        self._blocks += self._block is not None
        self._block, self._now = block, [0.0, 0.0]
        if self._blocks % _PAUSE == 0:
            self._windows.append((self._blocks // _PAUSE, moment, self._before))
            # to look at fewer windows is never wrong; the first stays
            del self._windows[1:-_MOST_WINDOWS]

    def _total(self) -> tuple[float, float, float, float]:
        """Events and trials since the release, bursts cut off; events and what was expected, weighted."""
        base, (events, trials) = self.baseline, self._now
        expected = base.rate * trials
        count = _capped(events, expected)
        # how much a block will hold is known from the one before
        much = max(expected, self._last)
        weight = 1 / max(base.clusters + base.unrest * much, _LEAST_UNREST * much)
        before = self._before
        return (
            before[0] + count,
            before[1] + trials,
            before[2] + count * weight,
            before[3] + expected * weight,
        )

    def strongest(self, error: float, at_least: float) -> Evidence | None:
        """Return what the window closest to a decision says; None when none holds `at_least` times what was expected.

        :param error: the probability that this subject is ever wrongly decided on.
        """
        found: Evidence | None = None
        events, trials, weighted, mean = self._total()
        for number, since, then in self._windows:
            count, tried = events - then[0], trials - then[1]
            expected = self.baseline.rate * tried
            if count < LEAST_EVENTS or count < at_least * expected:
                continue
            statistic = _log_martingale(weighted - then[2], mean - then[3], self.baseline.drift)
            share = (1 - _FIRST) / (number * (number + 1)) if number else _FIRST
            item = Evidence(since, count, tried, expected, statistic, -math.log(error * share))
            if found is None or item.statistic - item.threshold > found.statistic - found.threshold:
                found = item
        return found


def _four(items: Sequence[Any]) -> tuple[float, float, float, float]:
    first, second, third, fourth = map(float, items)
    return first, second, third, fourth


def _log_martingale(count: float, mean: float, drift: float) -> float:
    """The logarithm of the mixture of likelihood ratios of negative binomial counts, that bet on more than `mean`."""
    shape = 1 / drift
    parts = [
        bet + count * log - (shape + count) * math.log((shape + effect * mean) / (shape + mean))
        for effect, log, bet in _EFFECTS
    ]
    most = max(parts)
    return most + math.log(sum(math.exp(part - most) for part in parts))
