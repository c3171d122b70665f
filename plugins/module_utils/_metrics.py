# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look of the watch saw, as Prometheus' node exporter reads it from a text file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._criteria import Verdict
    from ._observation import Observation

HELP = {
    "slipway_watch_last_look_timestamp_seconds": "When the host last looked after the release.",
    "slipway_watch_until_timestamp_seconds": "When the watch of the release ends.",
    "slipway_watch_ended_timestamp_seconds": "When the watch of the release ended, and how.",
    "slipway_watch_breach": "1 when a criterion asked to go back.",
    "slipway_criterion_breaches": "Looks in a row that breached a criterion.",
    "slipway_page_load_seconds": "How long a key page took, with its assets.",
    "slipway_probe_failures": "How many observations of a kind were not as they should be in the last look.",
    "slipway_jobs_failed": "Jobs that failed since the look before.",
    "slipway_jobs_processed": "Jobs that were worked on since the look before, failed or not.",
    "slipway_jobs_dead": "Jobs that failed for the first time since the release and are not tried again.",
    "slipway_queue_wait_seconds": "How long the oldest job of a queue has waited.",
    "slipway_slow_statements": "Statements that are slower than before the release, or new and slow.",
    "slipway_figure": "A figure that a release must not bring down.",
}
# Each of the looks in a row counts what the one before has not.
_COUNTED = frozenset({"slipway_jobs_failed", "slipway_jobs_processed"})
_Value = tuple[str, dict[str, str], float]


def render(
    labels: Mapping[str, str], times: tuple[float, float], verdict: Verdict, observations: Iterable[Observation]
) -> str:
    """Return the metrics in Prometheus' text format.

    :param labels: of every metric.
    :param times: of the look, and of the end of the watch, in seconds since the epoch.
    """
    seen = list(observations)
    values: list[_Value] = [
        ("slipway_watch_last_look_timestamp_seconds", {}, times[0]),
        ("slipway_watch_until_timestamp_seconds", {}, times[1]),
        ("slipway_watch_breach", {}, float(verdict.overall == "rollback")),
    ]
    values += [
        ("slipway_criterion_breaches", {"criterion": item.id, "mode": item.mode}, item.count)
        for item in verdict.findings
    ]
    for item in seen:
        values += _of(item)
    values += [
        ("slipway_probe_failures", {"probe": probe}, sum(item.ok is False for item in seen if item.probe == probe))
        for probe in sorted({item.probe for item in seen})
    ]
    return _text(labels, values)


def ended(labels: Mapping[str, str], outcome: str, at: float) -> str:
    """Return what is to be known when the watch is over: what was seen before is not true any more."""
    return _text(labels, [("slipway_watch_ended_timestamp_seconds", {"outcome": outcome}, at)])


def _of(item: Observation) -> list[_Value]:
    """The metrics that an observation gives."""
    value = item.value
    if value is None:
        return []
    first, _, rest = item.subject.partition(" ")
    if item.probe == "job" and item.of is not None:
        return [("slipway_jobs_failed", {}, value), ("slipway_jobs_processed", {}, item.of)]
    known: dict[tuple[str, str], _Value] = {
        ("page", first): ("slipway_page_load_seconds", {"page": item.subject}, value),
        ("job", "dead"): ("slipway_jobs_dead", {}, value),
        ("job", "latency"): ("slipway_queue_wait_seconds", {"queue": rest}, value),
        ("query", first): ("slipway_slow_statements", {"kind": first}, value),
        ("figure", first): ("slipway_figure", {"figure": item.subject}, value),
    }
    return [known[item.probe, first]] if (item.probe, first) in known else []


def _text(labels: Mapping[str, str], values: Iterable[_Value]) -> str:
    # a look may have looked several times, and what is there twice is refused whole
    series: dict[str, dict[str, float]] = {}
    for name, own, value in values:
        lines = series.setdefault(name, {})
        key = f"{name}{_labelled({**labels, **own})}"
        lines[key] = value + (lines.get(key, 0.0) if name in _COUNTED else 0.0)
    lines_of = [
        [f"# HELP {name} {text}", f"# TYPE {name} gauge", *(f"{key} {series[name][key]:.3f}" for key in series[name])]
        for name, text in HELP.items()
        if name in series
    ]
    return "".join(f"{line}\n" for lines in lines_of for line in lines)


def _labelled(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items()) + "}"


def _quoted(text: str) -> str:
    return re.sub(r'([\\"])', r"\\\1", text).replace("\n", r"\n")
