"""Interleaved pairs of measurements, their medians and spread, and the result as the last line."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench._results import Line

PAIRS = 5


def compare(  # noqa: PLR0913 - what a comparison consists of
    name: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    bar: float,
    *,
    pairs: int = PAIRS,
    holds: Callable[[], bool] = lambda: True,
) -> int:
    """Measure both `pairs` times in turn and print the result; returns the exit code.

    The ratio is the median of the pairs' own ratios, so that what slows the machine down for a while counts for both.
    A spread (from the lower to the upper quartile of the ratios) that reaches over the bar is not ok.

    :param ours: does the work once and returns the seconds that it took, as `peer` does.
    :param bar: the highest ratio that is good enough.
    :param holds: asked after the last pair whether what else was promised holds; it prints what it saw.
    """
    measured = []
    for number in range(1, pairs + 1):
        # who begins changes, so that neither always finds the warmer cache
        first, second = (ours, peer) if number % 2 else (peer, ours)
        times = {first: first(), second: second()}
        measured.append((times[ours], times[peer]))
        print(f"{name}: pair {number}: ours {times[ours]:.2f} s, peer {times[peer]:.2f} s", flush=True)
    ratios = [mine / other for mine, other in measured]
    lower, ratio, upper = statistics.quantiles(ratios, n=4)
    mine, other = (statistics.median(column) for column in zip(*measured, strict=True))
    ok = holds() and upper <= bar
    print(f"{name}: ratio {ratio:.2f} ({lower:.2f} to {upper:.2f}), bar {bar}: {'ok' if ok else 'NOT OK'}")
    return 0 if Line.of(name, "s", (mine, other), bar=bar, ok=ok, ratio=ratio).tell() else 1
