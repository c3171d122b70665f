# SPDX-License-Identifier: GPL-3.0-or-later
"""Load times as charts: coordinates for an inline SVG, nothing that draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ansible_collections.slipway.release.plugins.module_utils._observation import parse_timestamp

WIDTH, HEIGHT = 600.0, 140.0
_EDGE = 6.0
_MOST = 12
# A limit that is farther away than so many times the slowest load would press all else flat.
_FAR = 3.0

# A subject, a time, and seconds.
Load = tuple[str, str, float]


@dataclass(frozen=True)
class Chart:
    """The load times of one page.

    :param line: the points of the watch, for a polyline.
    :param dots: those of the deploy.
    :param limit: the height of the limit; None where it is above the chart.
    :param top: seconds at the upper edge.
    """

    page: str
    line: str
    dots: tuple[tuple[float, float], ...]
    limit: float | None
    top: float
    first: str
    last: str
    looks: int
    usual: float
    worst: float
    over: bool


def charts(deploy: Sequence[Load], watch: Sequence[Load], limit: float | None) -> list[Chart]:
    """A chart for each page, the slowest first."""
    pages = dict.fromkeys(item[0] for item in (*deploy, *watch))
    found = [
        _chart(page, [item for item in deploy if item[0] == page], [item for item in watch if item[0] == page], limit)
        for page in pages
    ]
    return sorted(found, key=lambda chart: -chart.worst)[:_MOST]


def _chart(page: str, deploy: Sequence[Load], watch: Sequence[Load], limit: float | None) -> Chart:
    both = sorted((*deploy, *watch), key=lambda item: item[1])
    values = [item[2] for item in both]
    worst = max(values)
    near = limit is not None and limit <= worst * _FAR
    top = max(worst, limit if near and limit is not None else 0.0, 0.001) * 1.15
    begun, ended = _epoch(both[0][1]), _epoch(both[-1][1])

    def place(item: Load) -> tuple[float, float]:
        share = (_epoch(item[1]) - begun) / (ended - begun) if ended > begun else 0.5
        return round(_EDGE + share * (WIDTH - 2 * _EDGE), 1), _height(item[2], top)

    return Chart(
        page,
        " ".join(f"{x},{y}" for x, y in map(place, watch)),
        tuple(map(place, deploy)),
        _height(limit, top) if near and limit is not None else None,
        top,
        both[0][1],
        both[-1][1],
        len(both),
        float(median(values)),
        worst,
        limit is not None and worst > limit,
    )


def _height(value: float, top: float) -> float:
    return round(HEIGHT - _EDGE - value / top * (HEIGHT - 2 * _EDGE), 1)


def _epoch(text: str) -> float:
    try:
        return parse_timestamp(text).timestamp()
    except ValueError:
        return 0.0
