# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something happens more often than before the release: one sequential test on counts, valid at every look.

Events (errors, failed jobs, slow requests) are counted out of trials (requests, jobs). The statistic is a test
martingale: how much more likely the counts are where the rate has grown than where it is still that of the baseline. It
is not expected to grow where nothing has changed, however often and at whatever moment somebody looks: the probability
that it ever reaches 1 / error is at most `error`.

- J. Ville: Etude critique de la notion de collectif, 1939: the inequality.
- H. Robbins: Statistical Methods Related to the Law of the Iterated Logarithm. Annals of Mathematical Statistics, 1970:
  mixtures over effects.
- G. Shafer, A. Shen, N. Vereshchagin, V. Vovk: Test Martingales, Bayes Factors and p-Values. Statistical Science, 2011.
- A. Ramdas, P. Grünwald, V. Vovk, G. Shafer: Game-Theoretic Statistics and Safe Anytime-Valid Inference. Statistical
  Science, 2023.

What is real is no Poisson process, so that both likelihoods are those of one hidden Markov model. What is hidden is
summed out by its forward filter, which leaves their ratio a martingale (L. E. Baum, T. Petrie, G. Soules, N. Weiss: A
Maximization Technique Occurring in the Statistical Analysis of Probabilistic Functions of Markov Chains. Annals of
Mathematical Statistics, 1970). Hidden are:

- drift: the logarithm of the rate wanders around that of the baseline and returns, as an Ornstein-Uhlenbeck process.
  How far, blocks of ten minutes say that lie near each other; to it comes what a day cannot tell of its own mean. On a
  grid it is Ehrenfest's urn, whose law is binomial (K. A. Kopecky, R. M. H. Suen: Finite State Markov-Chain
  Approximations to Highly Persistent Processes. Review of Economic Dynamics, 2010). Where it stands at the release, the
  same filter finds in the last hours of the baseline. The bets are made after it: a martingale, given all before;
- bursts: now and then the rate is 2 or 4 times as high for some minutes, under a good release as under a bad one;
- the change: with the release or, less likely, in any minute after it (A. N. Shiryaev: On Optimum Methods in Quickest
  Detection Problems. Theory of Probability and Its Applications, 1963).

Several subjects are tried at once, and what one error does is seen in more than one of them: a request that fails is a
line of the proxy's as well. The mean of martingales is one whatever they have in common, so that what they say adds up,
each as much as was bet on it before the release (V. Vovk, R. Wang: E-values: Calibration, Combination and Applications.
Annals of Statistics, 2021).

Errors come in clusters. How many times as much as Poisson counts blocks scatter divides the logarithm of a likelihood:
two errors with one cause are little more than one (R. W. M. Wedderburn: Quasi-Likelihood Functions, Generalized Linear
Models, and the Gauss-Newton Method. Biometrika, 1974).

The guarantee is that of this model, some of whose parameters are estimated from a day. `bench/judge` measures what it
is worth on days that do not follow it. Trials take the time of day out of the traffic; what the rate itself does over
the day is drift. What doubles now and then for an hour by itself is not told from a doubled rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

# Seconds of a block of the baseline. Fewer blocks are no baseline, fewer events no decision. Of blocks that are longer,
# such as days, a week is enough.
BLOCK, LEAST_BLOCKS, LEAST_EVENTS = 600, 36, 20
LEAST_LONG = 7
_MINUTE, _DAY = 60, 1440
# A block of the baseline counts for so many times what was expected and so many deviations, or for so many events.
_TIMES, _DEVIATIONS, _FEW = 2.0, 3.0, 5.0
# How many times as much as Poisson counts scatter, at least and at most. Looks also differ by a tenth by themselves.
_LEAST_CLUSTERS, _MOST_CLUSTERS, _ROUGH = 1.4, 3.0, 0.1**2
# The variance of the logarithm of the rate as it is supposed to be where the baseline is silent; it is never less.
_DRIFT = 0.15**2
# Blocks at most so far apart say how the rate drifts. It returns within so many minutes.
_LAGS, _RETURN = 3, 60.0
# The urn: values of a standardized drift, how probable each is, and how many balls of one kind there are.
_BALLS = 6
_GRID = tuple((2 * number - _BALLS) / math.sqrt(_BALLS) for number in range(_BALLS + 1))
_URN = tuple(math.comb(_BALLS, number) / 2**_BALLS for number in range(_BALLS + 1))
# How many times as high a rate is in no burst, in a low one and in a high one. One comes each eight hours and lasts ten
# minutes on average, half of them are high. Of a look no more counts than the highest one explains, or so many events.
_BURSTS, _COME, _GO, _LOW = (1.0, 2.0, 4.0), 3 / _DAY, 1 / 10, 0.5
_HIGHEST, _ALWAYS = _BURSTS[-1], 4.0
# What is bet on a rate that grew as much as is looked for, and on one that grew by its square. So much of it is bet on
# the release itself, the rest on the minutes of the day after it.
_BETS, _AT_ONCE = (0.85, 0.15), 0.99
# A look that follows after more minutes than this one finds hardly anything of what was hidden.
_LONGEST = 600
# Evidence beyond it is not told apart.
_MOST = 1e100
# So many blocks before the release tell where drift and bursts stand: six times the return of a drift.
_LATEST = 36
# Fewer events than these decide only where the error is so many times smaller: their clusters and bursts weigh most.
_MANY, _STRICTER = 40, 30
# How much of the error is shared equally among subjects; the rest goes where most is to be seen.
_EQUALLY = 0.1


_T = TypeVar("_T")


@dataclass(frozen=True)
class Baseline:
    """How often something happened before the release.

    :param events: how many there were, `trials` of how many; both as they were counted.
    :param daily: how many there were on a day.
    :param rate: events for each trial, bursts cut off.
    :param clusters: how many times as much as Poisson counts its counts scatter.
    :param drift: the variance of the logarithm of the rate after the release, around that of `rate`.
    :param returns: the minutes after which a drift is down to 1 / e of itself.
    :param latest: events and trials of the last blocks.
    """

    events: float
    trials: float
    daily: float
    rate: float
    clusters: float
    drift: float
    returns: float
    latest: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, blocks: Sequence[Sequence[float]], seconds: float = BLOCK) -> Baseline | None:
        """Estimate from blocks of events and trials in their order; None when they are too few to tell.

        :param seconds: how long each of them is. Those of a day say nothing of drift that returns within an hour, nor
            where it stands: how they scatter is all put down to clusters.
        """
        counted = tuple((float(events), float(trials)) for events, trials in blocks)
        full = [(events, trials) for events, trials in counted if trials > 0]
        short = seconds <= BLOCK
        if len(full) < (LEAST_BLOCKS if short else LEAST_LONG):
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
        together, possible = _together(beyond, expected) if short else (0.0, 0.0)
        scatter = sum(item * item for item in beyond) - max(0.0, together) * sum(mean * mean for mean in expected)
        clusters = min(max(_LEAST_CLUSTERS, scatter / sum(expected)), _MOST_CLUSTERS)
        # the mean of what was supposed and of what was seen, each as much as it is worth
        supposed, seen = 1 / _DRIFT**2, possible / clusters**2
        wanders = max(_DRIFT, (supposed * _DRIFT + seen * together) / (supposed + seen))
        unknown = clusters / (events + 1)
        drift = wanders + unknown
        returns = (wanders * _RETURN + unknown * _DAY) / drift
        daily = events / max(1.0, len(counted) * seconds / (_DAY * _MINUTE))
        return cls(events, trials, daily, rate, clusters, drift, returns, counted[-_LATEST:] if short else ())


def _together(beyond: Sequence[float], expected: Sequence[float]) -> tuple[float, float]:
    """How far blocks near each other move together: their covariance, relative to what was expected, and that."""
    moved = possible = 0.0
    for lag in range(1, _LAGS + 1):
        moved += sum(one * other for one, other in zip(beyond, beyond[lag:]))
        possible += sum(one * other for one, other in zip(expected, expected[lag:]))
    return moved / possible, possible


def _capped(events: float, expected: float) -> float:
    return min(events, max(_FEW, _TIMES * expected + _DEVIATIONS * math.sqrt(expected)))


def decisive(evidence: Mapping[_T, Evidence | None]) -> list[_T]:
    """Return of which subjects the rate is no longer that of the baseline, by what all of one criterion say together.

    Those that say most of it: each that has a tenth of the weight of the first one.
    """
    weights = {key: item.weight for key, item in evidence.items() if item is not None}
    if sum(weights.values()) < 1:
        return []
    most = max(weights.values())
    return [key for key, weight in weights.items() if weight >= most / 10]


def shares(baselines: Sequence[Baseline]) -> list[float]:
    """Return how much of the error each of several subjects has: together one, and decided before the release."""
    cubes = [(item.daily + 1) ** 3 for item in baselines]
    return [_EQUALLY / len(cubes) + (1 - _EQUALLY) * cube / sum(cubes) for cube in cubes]


@dataclass(frozen=True)
class Evidence:
    """What speaks for a rate that has grown.

    :param since: the last moment at which nothing spoke for it, in seconds since the epoch.
    :param events: how many there were since then, bursts cut off.
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
    def weight(self) -> float:
        """How much of what it takes there is: 1 of all subjects together is enough."""
        return math.exp(min(0.0, self.statistic - self.threshold))

    @property
    def decided(self) -> bool:
        """Whether it is enough by itself: the rate is no longer that of the baseline."""
        return self.statistic >= self.threshold


class Tally:
    """What was counted of one subject since the release: small, and enough to go on from.

    It holds how likely each state is of what is hidden, together with all that was counted, relative to all states in
    which nothing changed: for each of no change, a growth and its square, each kind of burst, and each drift.

    :param growth: how many times as frequent is looked for.
    :param kept: what `to_dict` returned.
    :raises KeyError, OverflowError, TypeError, ValueError: it is something else.
    """

    def __init__(self, baseline: Baseline, growth: float, kept: Mapping[str, Any] | None = None) -> None:
        self.baseline = baseline
        growths = (1.0, growth, growth * growth)
        deviation = math.sqrt(baseline.drift)
        logs = [
            [[math.log(times * burst) + deviation * value for value in _GRID] for burst in _BURSTS] for times in growths
        ]
        # how many times as high the rate is in each state, with its logarithm
        self._times = [[[(log, math.exp(log)) for log in drifts] for drifts in bursts] for bursts in logs]
        # how probable it is in a minute that a drift stays, came from the one below it, or from the one above it
        turn = 1 / (2 * baseline.returns)
        self._stay = [1 - turn * _BALLS] * (_BALLS + 1)
        self._from_below = [turn * (_BALLS + 1 - number) for number in range(_BALLS + 1)]
        self._from_above = [turn * (number + 1) for number in range(_BALLS + 1)]
        if kept is None:
            often = _COME / (_COME + _GO)
            kinds = (1 - often, often * _LOW, often * (1 - _LOW))
            weights = [[[bet * kind * drift for drift in _URN] for kind in kinds] for bet in (1.0, 0.0, 0.0)]
            kept = {
                "minute": None,
                "since": 0,
                "events": 0,
                "trials": 0,
                "later": 1 - _AT_ONCE,
                "weights": weights,
            }
        self._minute = None if kept["minute"] is None else int(kept["minute"])
        self._since, self._events, self._trials = (float(kept[name]) for name in ("since", "events", "trials"))
        # what is bet on the minutes to come
        self._later = float(kept["later"])
        self._weights = [[[float(item) for item in drifts] for drifts in bursts] for bursts in kept["weights"]]
        if [len(drifts) for bursts in self._weights for drifts in bursts] != [len(_URN)] * 9:
            raise ValueError("weights of another shape")
        # all is told relative to them
        if not sum(map(sum, self._weights[0])) > 0:
            raise ValueError("no weight without change")

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON, from which a tally can be made again."""
        return {
            "minute": self._minute,
            "since": self._since,
            "events": self._events,
            "trials": self._trials,
            "later": self._later,
            "weights": [[list(drifts) for drifts in bursts] for bursts in self._weights],
        }

    def add(self, moment: float, events: float, trials: float) -> None:
        """Count what came since the last time; `moment` is in seconds since the epoch."""
        minute = int(moment // _MINUTE)
        if self._minute is None:
            self._since = moment
            self._begin()
        else:
            for _ in range(min(minute - self._minute, _LONGEST)):
                self._pass()
        self._minute = minute
        if trials <= 0:
            return
        self._events += self._see(events, trials)
        self._trials += trials
        if self._statistic() <= 0:
            self._since, self._events, self._trials = moment, 0.0, 0.0

    def _begin(self) -> None:
        """Let the hours before the release tell where drift and bursts stand, then bet."""
        later, self._later = self._later, 0.0
        for events, trials in self.baseline.latest:
            for _ in range(BLOCK // _MINUTE):
                self._pass()
            if trials > 0:
                self._see(events, trials)
        # a block is seen as in its middle
        for _ in range(BLOCK // _MINUTE // 2):
            self._pass()
        bets = (1.0, *(_AT_ONCE * bet for bet in _BETS))
        self._weights = [[[bet * item for item in drifts] for drifts in self._weights[0]] for bet in bets]
        self._later = later

    def _pass(self) -> None:
        """Let a minute pass: rates drift, bursts come and go, and the change may be there."""
        for number, bursts in enumerate(self._weights):
            none, low, high = (self._drifted(drifts) for drifts in bursts)
            over = [_GO * (one + other) for one, other in zip(low, high)]
            self._weights[number] = [
                [(1 - _COME) * item + ended for item, ended in zip(none, over)],
                [(1 - _GO) * item + _COME * _LOW * calm for item, calm in zip(low, none)],
                [(1 - _GO) * item + _COME * (1 - _LOW) * calm for item, calm in zip(high, none)],
            ]
        now = self._later / _DAY
        self._later -= now
        unchanged, *changed = self._weights
        for bet, bursts in zip(_BETS, changed):
            for kind, (drifts, before) in enumerate(zip(bursts, unchanged)):
                bursts[kind] = [item + now * bet * other for item, other in zip(drifts, before)]

    def _drifted(self, drifts: Sequence[float]) -> list[float]:
        """Let balls be taken out of the urn at some rate, and one of the other kind be put back for each."""
        moves = zip(self._stay, drifts, self._from_below, (0.0, *drifts), self._from_above, (*drifts[1:], 0.0))
        return [stay * item + rises * below + falls * above for stay, item, rises, below, falls, above in moves]

    def _see(self, events: float, trials: float) -> float:
        """Weigh each state by how likely it makes the events; returns how many of them count."""
        mean = self.baseline.rate * trials
        count = min(events, max(_ALWAYS, _HIGHEST * mean + _DEVIATIONS * math.sqrt(mean)))
        scatter = self.baseline.clusters + _ROUGH * mean
        more, mean_then = count / scatter, mean / scatter
        # of a Poisson count, relative to that of the rate that explains it best: nothing overflows
        best = min(max(more / mean_then, self._times[0][0][0][1]), self._times[-1][-1][-1][1])
        most = more * math.log(best) - mean_then * best
        weights = [
            [
                [item * math.exp(more * log - mean_then * times - most) for item, (log, times) in zip(drifts, states)]
                for drifts, states in zip(bursts, kinds)
            ]
            for bursts, kinds in zip(self._weights, self._times)
        ]
        unchanged = sum(map(sum, weights[0]))
        changed = sum(map(sum, weights[1])) + sum(map(sum, weights[2]))
        less = 1 / unchanged
        scales = (less, *[less * min(1.0, _MOST * unchanged / changed) if changed else less] * 2)
        self._weights = [
            [[item * scale for item in drifts] for drifts in bursts] for bursts, scale in zip(weights, scales)
        ]
        return count

    def _statistic(self) -> float:
        return math.log(self._later + sum(map(sum, self._weights[1])) + sum(map(sum, self._weights[2])))

    def evidence(self, error: float) -> Evidence | None:
        """Return what speaks for a rate that has grown; None when nothing does, or too little was counted.

        :param error: the probability that this subject is ever wrongly decided on.
        """
        statistic = self._statistic()
        if statistic <= 0 or self._events < LEAST_EVENTS:
            return None
        expected = self.baseline.rate * self._trials
        threshold = -math.log(error if self._events >= _MANY else error / _STRICTER)
        return Evidence(self._since, self._events, self._trials, expected, statistic, threshold)
