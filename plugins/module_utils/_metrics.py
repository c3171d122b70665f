# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look of the watch saw, as Prometheus' node exporter reads it from a text file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._criteria import Verdict
    from ._observation import Observation

_HELP = {
    "slipway_watch_last_look_timestamp_seconds": "When the host last looked after the release.",
    "slipway_watch_until_timestamp_seconds": "When the watch of the release ends.",
    "slipway_watch_breach": "1 when a criterion asked to go back.",
    "slipway_criterion_breaches": "Looks in a row that breached a criterion.",
    "slipway_page_load_seconds": "How long a key page took, with its assets.",
    "slipway_probe_failures": "How many observations of a kind were not as they should be in the last look.",
}


def render(
    labels: Mapping[str, str], times: tuple[float, float], verdict: Verdict, observations: Iterable[Observation]
) -> str:
    """Return the metrics in Prometheus' text format.

    :param labels: of every metric.
    :param times: of the look, and of the end of the watch, in seconds since the epoch.
    """
    seen = list(observations)
    values: list[tuple[str, dict[str, str], float]] = [
        ("slipway_watch_last_look_timestamp_seconds", {}, times[0]),
        ("slipway_watch_until_timestamp_seconds", {}, times[1]),
        ("slipway_watch_breach", {}, float(verdict.overall == "rollback")),
    ]
    values += [
        ("slipway_criterion_breaches", {"criterion": item.id, "mode": item.mode}, item.count)
        for item in verdict.findings
    ]
    values += [
        ("slipway_page_load_seconds", {"page": item.subject}, item.value)
        for item in seen
        if item.probe == "page" and item.value is not None
    ]
    values += [
        ("slipway_probe_failures", {"probe": probe}, sum(item.ok is False for item in seen if item.probe == probe))
        for probe in sorted({item.probe for item in seen})
    ]
    lines = []
    for name, text in _HELP.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        lines += [_line(name, {**labels, **own}, value) for found, own, value in values if found == name]
    return "\n".join(lines) + "\n"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value:.3f}"


def _quoted(text: str) -> str:
    return re.sub(r'([\\"])', r"\\\1", text).replace("\n", r"\n")
