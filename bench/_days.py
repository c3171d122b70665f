"""Simulated days of an application, minute by minute: doubly stochastic, and nothing that the judge supposes of them.

One customer's host: 60 to 300 requests a minute at the busiest time of the day, a tenth of that at night, 0.2 to 1 % of
them errors of five signatures and some more, one job for each three requests, eight queries for each. On top of it:

- traffic and each rate wander by an AR(1) process of their logarithm with a correlation time of an hour: traffic by
  30 %, the rate of errors and of failed jobs by 10 %, the share of slow requests and queries by 15 %;
- the rate of errors also follows the clock, 10 % up at night (what runs then is batches and robots), 10 % down by day;
- bursts: traffic 1.5 to 4 times as high four times a day, errors and failed jobs 2 to 5 times twice a day, slow
  requests 1.5 to 4 times twice a day, for 1 to about 20 minutes each (a crawler, a backup, somebody else's deploy);
- errors come in clusters of one signature, geometric with a mean of 1.2: who gets an error tries again;
- more traffic makes more requests slow.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

DAY = 1440
METRICS = ("errors", *(f"signature {number}" for number in range(1, 6)), "jobs", "requests", "queries")
_SHARES = (0.35, 0.25, 0.15, 0.10, 0.05)
_CLUSTER = 1.2
_MANY = 30  # a Poisson count of a higher mean is as good as normal


@dataclass(frozen=True)
class Restlessness:
    """How far rates wander by themselves: the deviation of their logarithm."""

    errors: float = 0.1
    slow: float = 0.15


def days(
    dice: random.Random, *, doubled: int | None = None, restless: Restlessness = Restlessness()
) -> list[list[tuple[int, int]]]:
    """Two days: for each metric, events and trials of every minute.

    :param doubled: the minute from which there are twice as many errors.
    """
    minutes = range(2 * DAY)
    start, busiest, level = dice.uniform(0, DAY), 60 * 5 ** dice.random(), 0.002 * 5 ** dice.random()
    traffic, traffic_bursts = _wander(dice, 0.3), _bursts(dice, 4, 1.5, 4)
    errors, error_bursts = _wander(dice, restless.errors), _bursts(dice, 2, 2, 5)
    failing, job_bursts = _wander(dice, restless.errors), _bursts(dice, 2, 2, 5)
    slow, slow_bursts, querying = _wander(dice, restless.slow), _bursts(dice, 2, 1.5, 4), _wander(dice, restless.slow)
    found: list[list[tuple[int, int]]] = [[] for _ in METRICS]
    for minute in minutes:
        clock = math.sin(2 * math.pi * (start + minute) / DAY)
        requests = _poisson(dice, busiest * 10 ** ((clock - 1) / 2) * traffic[minute] * traffic_bursts[minute])
        rate = level * errors[minute] * error_bursts[minute] * math.exp(-0.1 * clock)
        if doubled is not None and minute >= doubled:
            rate *= 2
        for column, count in zip(found, _errors(dice, requests * rate), strict=False):
            column.append((count, requests))
        jobs, queries = _poisson(dice, requests * 0.3), 8 * requests
        failed = _poisson(dice, jobs * 0.01 * failing[minute] * job_bursts[minute])
        slowed = 0.05 * slow[minute] * slow_bursts[minute] * traffic[minute] ** 0.2
        found[-3].append((min(failed, jobs), jobs))
        found[-2].append((min(_poisson(dice, requests * slowed), requests), requests))
        found[-1].append((min(_poisson(dice, queries * 0.0005 * querying[minute]), queries), queries))
    return found


def blocks(minutes: list[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Sum a metric's minutes up."""
    for begin in range(0, len(minutes), length):
        part = minutes[begin : begin + length]
        yield sum(events for events, _ in part), sum(trials for _, trials in part)


def _errors(dice: random.Random, mean: float) -> list[int]:
    """Errors of a minute: all, then those of each signature."""
    counts = [0] * (1 + len(_SHARES))
    for _ in range(_poisson(dice, mean / _CLUSTER)):
        size = 1 + int(math.log(1 - dice.random()) / math.log(1 - 1 / _CLUSTER))
        counts[0] += size
        point = dice.random()
        for place, share in enumerate(_SHARES, 1):
            point -= share
            if point < 0:
                counts[place] += size
                break
    return counts


def _poisson(dice: random.Random, mean: float) -> int:
    if mean > _MANY:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, dice.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= dice.random()
    return count


def _wander(dice: random.Random, deviation: float) -> list[float]:
    """Factors of mean one that move slowly, for each minute of two days."""
    kept = math.exp(-1 / 60)
    push, value, found = deviation * math.sqrt(1 - kept * kept), dice.gauss(0, deviation), []
    for _ in range(2 * DAY):
        value = kept * value + dice.gauss(0, push)
        found.append(math.exp(value - deviation * deviation / 2))
    return found


def _bursts(dice: random.Random, a_day: float, low: float, high: float) -> list[float]:
    """Factors that are one but for so many bursts a day."""
    found, minute = [1.0] * (2 * DAY), dice.expovariate(a_day / DAY)
    while minute < len(found):
        factor, begin = dice.uniform(low, high), int(minute)
        for place in range(begin, min(len(found), begin + 1 + int(dice.expovariate(1 / 5)))):
            found[place] = max(found[place], factor)
        minute += dice.expovariate(a_day / DAY)
    return found
