"""Simulated days of an application, minute by minute: doubly stochastic, and nothing that the judge supposes of them.

One customer's host: 60 to 300 requests a minute at the busiest time of the day, a tenth of that at night, 0.2 to 1 % of
them errors of five kinds and some more, one job for each three requests. On top of it:

- traffic and each rate wander by an AR(1) process of their logarithm with a correlation time of an hour: traffic by
  30 %, the rate of errors and of failed jobs by 10 %, the share of slow requests by 15 %;
- the rate of errors also follows the clock, 10 % up at night (what runs then is batches and robots), 10 % down by day;
- bursts: traffic 1.5 to 4 times as high four times a day, errors and failed jobs 2 to 5 times twice a day, slow
  requests 1.5 to 4 times twice a day, for 1 to about 20 minutes each (a crawler, a backup, somebody else's deploy);
- errors come in clusters of one kind, geometric with a mean of 1.2: who gets an error tries again;
- more traffic makes more requests slow.

What its containers would log of a minute is in bench/_logged.py.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

DAY = 1440
# Days of which Sidekiq's counters tell, the one before the release among them.
COUNTED_DAYS = 14
# How many of all errors are of each kind; the last one stands for some more, which are rare.
SHARES = (0.35, 0.25, 0.15, 0.10, 0.05, 0.10)
# Of a request: slow, and neither slow nor fast. The 95th percentile lies among the latter.
_SLOW, MIDDLING = 0.04, 0.15
_CLUSTER = 1.2
_MANY = 30  # a Poisson count of a higher mean is as good as normal
_TEN = 10


@dataclass(frozen=True)
class Restlessness:
    """How far rates wander by themselves: the deviation of their logarithm."""

    errors: float = 0.1
    slow: float = 0.15


@dataclass(frozen=True)
class Change:
    """What becomes more frequent.

    :param minute: from which on.
    :param times: how many times as frequent.
    :param kind: of the errors; all of them when None.
    """

    minute: int
    times: float = 2.0
    kind: int | None = None


@dataclass
class Days:
    """The day before a release and the day after it: a count for each minute.

    :param errors: by kind; each is a request that failed, and an error that was raised.
    :param slow: of the requests.
    :param failed: of the jobs.
    :param earlier: failed jobs and jobs of the days before.
    """

    requests: list[int] = field(default_factory=list)
    errors: list[list[int]] = field(default_factory=list)
    slow: list[int] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    earlier: list[tuple[int, int]] = field(default_factory=list)


class _Jobs:
    """How many jobs fail."""

    def __init__(self, dice: random.Random, length: int, pause: int, restless: Restlessness) -> None:
        self._dice, self._pause = dice, pause
        self._failing = _wander(dice, restless.errors, length, pause)
        self._bursts = _bursts(dice, 2, (2, 5), length, pause)

    def of(self, place: int, requests: int) -> tuple[int, int]:
        """Of the jobs of so many requests, how many failed."""
        jobs = _poisson(self._dice, requests * 0.3)
        return min(jobs, _poisson(self._dice, jobs * 0.01 * self._failing[place] * self._bursts[place])), jobs


class _Traffic:
    """How many requests come."""

    def __init__(self, dice: random.Random, length: int, pause: int, start: float, busiest: float) -> None:
        self._dice, self._pause, self._start, self._busiest = dice, pause, start, busiest
        self._wander, self._bursts = _wander(dice, 0.3, length, pause), _bursts(dice, 4, (1.5, 4), length, pause)

    def clock(self, place: int) -> float:
        """1 at the busiest time of the day, -1 at the quietest."""
        return math.sin(2 * math.pi * (self._start + place * self._pause) / DAY)

    def of(self, place: int) -> tuple[int, float]:
        """The requests, and how many times as many they are as at other days."""
        wander = self._wander[place]
        mean = self._busiest * 10 ** ((self.clock(place) - 1) / 2) * wander * self._bursts[place]
        return _poisson(self._dice, mean * self._pause), wander


def days(dice: random.Random, *, change: Change | None = None, restless: Restlessness = Restlessness()) -> Days:
    """Two days, and how many jobs failed in the days before them."""
    start, busiest, level = dice.uniform(0, DAY), 60 * 5 ** dice.random(), 0.002 * 5 ** dice.random()
    found, length = Days(), 2 * DAY
    found.earlier = _earlier(dice, start, busiest, restless)
    traffic, jobs = _Traffic(dice, length, 1, start, busiest), _Jobs(dice, length, 1, restless)
    errors, error_bursts = _wander(dice, restless.errors, length), _bursts(dice, 2, (2, 5), length)
    slow, slow_bursts = _wander(dice, restless.slow, length), _bursts(dice, 2, (1.5, 4), length)
    for minute in range(length):
        requests, wander = traffic.of(minute)
        rate = level * errors[minute] * error_bursts[minute] * math.exp(-0.1 * traffic.clock(minute))
        failed, done = jobs.of(minute, requests)
        slowed = _SLOW * slow[minute] * slow_bursts[minute] * wander**0.2
        found.requests.append(requests)
        found.errors.append(_errors(dice, requests * rate, change if change and minute >= change.minute else None))
        found.slow.append(min(_poisson(dice, requests * slowed), int(requests * (1 - MIDDLING))))
        found.jobs.append(done)
        found.failed.append(failed)
    return found


def _earlier(dice: random.Random, start: float, busiest: float, restless: Restlessness) -> list[tuple[int, int]]:
    """Jobs of the days before, which only their sums tell of: ten minutes at once."""
    a_day = DAY // _TEN
    length = (COUNTED_DAYS - 1) * a_day
    traffic, jobs = _Traffic(dice, length, _TEN, start, busiest), _Jobs(dice, length, _TEN, restless)
    blocks = [jobs.of(place, traffic.of(place)[0]) for place in range(length)]
    whole = (blocks[begin : begin + a_day] for begin in range(0, length, a_day))
    return [(sum(failed for failed, _ in day), sum(done for _, done in day)) for day in whole]


def _errors(dice: random.Random, mean: float, change: Change | None) -> list[int]:
    """Errors of a minute, by kind."""
    more = [change.times if change is not None and change.kind in {None, kind} else 1.0 for kind in range(len(SHARES))]
    weights = [share * times for share, times in zip(SHARES, more, strict=True)]
    counts = [0] * len(SHARES)
    for _ in range(_poisson(dice, mean * sum(weights) / _CLUSTER)):
        size = 1 + int(math.log(1 - dice.random()) / math.log(1 - 1 / _CLUSTER))
        counts[dice.choices(range(len(SHARES)), weights)[0]] += size
    return counts


def _poisson(dice: random.Random, mean: float) -> int:
    if mean > _MANY:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, dice.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= dice.random()
    return count


def _wander(dice: random.Random, deviation: float, length: int, pause: int = 1) -> list[float]:
    """Factors of mean one that move slowly, one for each `pause` minutes."""
    kept = math.exp(-pause / 60)
    push, value, found = deviation * math.sqrt(1 - kept * kept), dice.gauss(0, deviation), []
    for _ in range(length):
        value = kept * value + dice.gauss(0, push)
        found.append(math.exp(value - deviation * deviation / 2))
    return found


def _bursts(
    dice: random.Random, a_day: float, between: tuple[float, float], length: int, pause: int = 1
) -> list[float]:
    """Factors that are one but for so many bursts a day, one for each `pause` minutes: what a burst is on average."""
    found, minute = [1.0] * length, dice.expovariate(a_day / DAY)
    while minute < length * pause:
        factor, begin = dice.uniform(*between), int(minute)
        for place in range(begin, min(length * pause, begin + 1 + int(dice.expovariate(1 / 5)))):
            at = place // pause
            found[at] = max(found[at], factor) if pause == 1 else found[at] + (factor - 1) / pause
        minute += dice.expovariate(a_day / DAY)
    return found
