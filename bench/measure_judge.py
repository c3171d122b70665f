"""The judge's test on counts beside failureLimit 3 as Argo Rollouts has it and Mann-Whitney as Kayenta uses it.

Each looks once a minute at what the watch counts of simulated days (bench/_days.py) that have a day before them for a
baseline: which series there are, and of what, the shipped probes say (bench/_logged.py). What counts is the first
minute in which any of them says to go back: on healthy days, a false rollback; after a release that doubled the rate of
errors, how many errors that took. Ours is the shipped code with the shipped criteria; that the whole way from the lines
of logs to the judge decides in the same minute is asked on some of the days. Our criteria also want a probe of our own
to agree with the log before they go back; here none is asked, and every decision counts.

Argo: a measurement a minute for each metric, failed when its rate is over twice the baseline's; more than three failed
ones stop the release. Kayenta: the last 30 minutes beside the same minutes of the day before, at its judge's defaults:
high where the lower end of the 98 % confidence interval of the shift is over a quarter of its Hodges-Lehmann estimate.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import yaml
from ansible_collections.slipway.release.plugins.module_utils._criteria import (
    Criterion,
    State,
    baselines,
    counted_before,
    judge,
    more_frequent,
    parse,
)
from ansible_collections.slipway.release.plugins.module_utils._sequential import Evidence, Tally, shares

from bench._days import DAY, Change, Days, Restlessness, days
from bench._logged import Series, baseline, looks, noted, series
from bench._results import OURS, Line
from lab._common import ROOT

SEEDS = 5
HEALTHY = int(os.environ.get("SLIPWAY_BENCH_DAYS", "2000"))  # fewer are for trying it out
BAR_FALSE, BAR_ERRORS = 12 / 2000, 60
WINDOW = 30  # minutes that Kayenta compares
Z = 2.326  # of a two-sided 98 %
DOUBLED = Change(DAY)
# One error in ten is of this kind: all together become 1.4 times as frequent.
ONE_KIND = Change(DAY, 5.0, 3)


def counting() -> tuple[Criterion, ...]:
    """The shipped criteria that count."""
    given = yaml.safe_load((ROOT / "roles/verdict/defaults/main.yml").read_text())["verdict_criteria"]
    return tuple(item for item in parse(given) if item.counts)


CRITERIA = counting()


class Day:
    """A day after a release, and the day before it."""

    def __init__(self, simulated: Days) -> None:
        self.simulated = simulated

    @cached_property
    def series(self) -> Series:
        """Events and trials of each minute of both days, of all that is counted."""
        return series(self.simulated)

    def errors(self, first: int, last: int, kind: int | None = None) -> int:
        """How many errors there were from one minute after the release to another."""
        minutes = self.simulated.errors[DAY + first : DAY + last + 1]
        return sum(sum(kinds) if kind is None else kinds[kind] for kinds in minutes)


def ours(day: Day) -> int | None:
    """The minute after the release in which the shipped test decides."""
    known = baselines(noted(day.simulated, day.series))
    first = DAY
    for criterion, counts in ((item, item.counts) for item in CRITERIA if item.counts):
        mine = [(place, item) for place, item in known.items() if place[0] in criterion.probes]
        evidence: list[list[Evidence | None]] = [[] for _ in mine]
        for found, (place, estimated), share in zip(evidence, mine, shares([item for _, item in mine]), strict=True):
            error, tally = counts.error * share, Tally(estimated, counts.growth)
            for minute in range(first):
                events, trials = day.series[place][DAY + minute]
                tally.add(minute * 60, events, trials)
                seen = tally.evidence(error)
                found.append(seen)
                if seen is not None and seen.decided:
                    # together they decide no later
                    first = minute + 1
                    break
        places = [place for place, _ in mine]
        looked = (dict(zip(places, (item[minute] for item in evidence), strict=True)) for minute in range(first))
        first = next((minute for minute, said in enumerate(looked) if more_frequent(said)), first)
    return first if first < DAY else None


def whole_way(day: Day, until: int) -> int | None:
    """The minute in which the whole judge decides by what is read of the logs, its state through JSON at each look."""
    before = baseline(day.simulated)
    compared = counted_before(before)
    kept: dict[str, object] = {}
    for minute, seen in zip(range(until + 1), looks(day.simulated, before), strict=False):
        state, verdict = judge(CRITERIA, State.from_dict(json.loads(json.dumps(kept))), seen, baseline=compared)
        kept = state.to_dict()
        if any(item["decided"] for finding in verdict.findings for item in finding.compared):
            return minute
    return None


def argo(day: Day) -> int | None:
    """The minute of the fourth failed measurement of a metric."""
    first = DAY
    for metric in day.series.values():
        rate = sum(events for events, _ in metric[:DAY]) / max(1, sum(trials for _, trials in metric[:DAY]))
        failed = 0
        for minute in range(first):
            events, trials = metric[DAY + minute]
            failed += events > 2 * rate * trials
            if failed > 3:  # noqa: PLR2004 - failureLimit: 3
                first = minute
                break
    return first if first < DAY else None


def kayenta(day: Day) -> int | None:
    """The minute in which Mann-Whitney finds a metric high."""
    rates = [[events / trials if trials else 0.0 for events, trials in metric] for metric in day.series.values()]
    for minute in range(WINDOW - 1, DAY):
        begin = minute - WINDOW + 1
        for rate in rates:
            if high(rate[DAY + begin : DAY + minute + 1], rate[begin : minute + 1]):
                return minute
    return None


def high(experiment: Sequence[float], control: Sequence[float]) -> bool:
    """Whether Kayenta's judge calls a metric high."""
    sizes = len(experiment) * len(control)
    ordered = sorted(control)
    above = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in experiment) / 2
    spread = math.sqrt(sizes * (len(experiment) + len(control) + 1) / 12)
    if (above - sizes / 2) / spread < Z:
        return False
    shifts = sorted(one - other for one in experiment for other in control)
    return shifts[max(0, int(sizes / 2 - Z * spread))] > 0.25 * abs(statistics.median(shifts))


@dataclass
class Tries:
    """What one way of judging made of all days, seed by seed."""

    judge: Callable[[Day], int | None]
    false: list[float] = field(default_factory=list)
    errors: list[list[float]] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    restless: list[bool] = field(default_factory=list)
    one_kind: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __call__(self, day: Day) -> int | None:
        """Judge a day."""
        begun = time.process_time()
        minute = self.judge(day)
        self.seconds += time.process_time() - begun
        return minute

    def add(self, other: Tries) -> None:
        """Take over what was made of other days."""
        self.false += other.false
        self.errors += other.errors
        self.late += other.late
        self.restless += other.restless
        self.one_kind += other.one_kind
        self.seconds += other.seconds


def errors_until(tries: Tries, day: Day, change: Change) -> float:
    """How many errors of the kind there were from a change on until it was found; infinitely many where it was not."""
    minute, begun = tries(day), change.minute - DAY
    if minute is None or minute < begun:
        return math.inf
    return day.errors(begun, minute, change.kind)


def started() -> dict[str, Tries]:
    """Each way of judging, before its first day."""
    return {"ours": Tries(ours), "Argo": Tries(argo), "Kayenta": Tries(kayenta)}


def play(seed: int) -> tuple[bool, dict[str, Tries]]:
    """Judge the days of one seed; returns whether the whole way agreed with its test, and what came."""
    ways = started()
    dice, healthy = random.Random(seed), HEALTHY // SEEDS  # noqa: S311 - a simulation
    false = dict.fromkeys(ways, 0)
    agreed = True
    for number in range(healthy):
        day = Day(days(dice))
        for name, tries in ways.items():
            minute = tries(day)
            false[name] += minute is not None
            # a day in which nothing is decided, and each one in which something is
            if name == "ours" and (number == 0 or minute is not None):
                agreed &= whole_way(day, DAY - 1 if minute is None else minute) == minute
    for name, tries in ways.items():
        tries.false.append(false[name] / healthy)
        tries.errors.append([])
    for number in range(healthy // 2):
        day = Day(days(dice, change=DOUBLED))
        for tries in ways.values():
            tries.errors[-1].append(errors_until(tries, day, DOUBLED))
        if number == 0 and (minute := ways["ours"](day)) is not None:
            agreed &= whole_way(day, minute) == minute
    for _ in range(healthy // 8):
        later = Change(DAY + dice.randrange(60, DAY // 2))
        day, restless = Day(days(dice, change=later)), Day(days(dice, restless=Restlessness(0.2, 0.3)))
        kind = Day(days(dice, change=ONE_KIND))
        for tries in ways.values():
            tries.late.append(errors_until(tries, day, later))
            tries.restless.append(tries(restless) is not None)
            tries.one_kind.append(errors_until(tries, kind, ONE_KIND))
    told = [
        f"{name} {1e2 * tries.false[-1]:.1f} % false, {statistics.median(tries.errors[-1]):.0f} errors"
        for name, tries in ways.items()
    ]
    print(f"judge: seed {seed}: {'; '.join(told)}", flush=True)
    return agreed, ways


def tell(name: str, tries: Tries) -> tuple[float, float]:
    """Print what came of one way of judging; returns false rollbacks in 2,000 days, and the errors that it took."""
    false, errors = 2000 * statistics.mean(tries.false), [item for seed in tries.errors for item in seed]
    lower, median, upper = statistics.quantiles(errors, n=4)
    seeds = sorted(statistics.median(seed) for seed in tries.errors)
    share = sum(map(math.isfinite, errors)) / len(errors)
    later = sum(map(math.isfinite, tries.late)) / len(tries.late)
    least, most = 2000 * min(tries.false), 2000 * max(tries.false)
    print(f"{name}:")
    print(f"  false rollbacks in 2,000 healthy days: {false:.0f} (seeds: {least:.0f} to {most:.0f})")
    print(f"  false rollbacks where rates wander twice as far: {1e2 * statistics.mean(tries.restless):.1f} %")
    print(f"  errors until a doubled rate was found: {median:.0f} ({lower:.0f} to {upper:.0f})", end="")
    print(f", seeds {seeds[0]:.0f} to {seeds[-1]:.0f}; found within the day: {1e2 * share:.0f} %")
    print(f"  doubled hours after the release: {statistics.median(tries.late):.0f} errors, found: {1e2 * later:.0f} %")
    kind = sum(map(math.isfinite, tries.one_kind)) / len(tries.one_kind)
    print(f"  one kind of ten five times as frequent: {statistics.median(tries.one_kind):.0f} of it", end="")
    print(f", found: {1e2 * kind:.0f} %")
    print(f"  {tries.seconds:.0f} s", flush=True)
    return false, median


def main() -> int:
    """Run the benchmark."""
    ways, agreed = started(), True
    with ProcessPoolExecutor() as pool:
        for holds, played in pool.map(play, range(1, SEEDS + 1)):
            agreed &= holds
            for name, tries in played.items():
                ways[name].add(tries)
    print(f"judge: the whole way decides in the same minute as its test: {agreed}")
    told = {name: tell(name, tries) for name, tries in ways.items()}
    false, errors = told["ours"]
    best = min(("Argo", "Kayenta"), key=lambda name: told[name][0])
    quick = errors <= BAR_ERRORS
    unit, figures = f"errors until found; the peer is {best}", (errors, told[best][1])
    Line.of("judge errors", unit, figures, bar=BAR_ERRORS, ok=quick, bar_of=OURS).tell()
    ok = quick and agreed and false <= 2000 * BAR_FALSE
    unit, figures = f"false rollbacks in 2,000 days; the peer is {best}", (false, told[best][0])
    return 0 if Line.of("judge", unit, figures, bar=2000 * BAR_FALSE, ok=ok, bar_of=OURS).tell() else 1


if __name__ == "__main__":
    sys.exit(main())
