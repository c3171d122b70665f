# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of the application that a release must not bring down, such as how many agents are online."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._errors import CommandError, SlipwayError
from ._integrity import ask, inner, why_not
from ._observation import Observation, timestamp

if TYPE_CHECKING:
    from ._clock import Clock
    from ._postgres import Database
    from ._profile import Figure
    from ._site import Site

PROBE = "figure"


def baseline(site: Site) -> dict[str, float]:
    """What the figures are before a release, ready for JSON; SlipwayError when one cannot be asked."""
    # an empty database, before a first install, has not the tables that a figure is about
    figures = site.profile.figures if site.database.tables() else ()
    try:
        return {item.name: value(site.database, item) for item in figures}
    except SlipwayError as error:
        raise SlipwayError(f"{error}: mend application.figures") from error


def value(database: Database, figure: Figure) -> float:
    """What a figure is now; SlipwayError says why it cannot be asked."""
    try:
        rows = ask(database, f"SELECT * FROM {inner(figure.sql)} AS figure LIMIT 2")  # noqa: S608 - the profile's own
    except CommandError as error:
        raise SlipwayError(f"figure '{figure.name}' cannot be asked ({why_not(error)})") from error
    try:
        ((text,),) = rows
        found = float(text)
    except ValueError as error:
        raise SlipwayError(f"figure '{figure.name}' is not one number") from error
    if not math.isfinite(found):
        raise SlipwayError(f"figure '{figure.name}' is not one number")
    return found


def probe_figures(
    database: Database, figures: tuple[Figure, ...], before: Mapping[str, float], clock: Clock
) -> list[Observation]:
    """Look at each figure; one of which too little is left is not ok.

    :param before: what `baseline` saw. Where it is silent there is nothing to compare with, and so no evidence.
    """
    observations = []
    for item in figures:
        at = timestamp(clock.now())
        try:
            now = value(database, item)
        except SlipwayError as error:
            detail = f"could not be seen: {error}"
            observations.append(Observation(PROBE, item.name, at, None, None, ok=None, detail=detail))
            continue
        known = before.get(item.name)
        ok = None if known is None else now >= known - abs(known) * (1 - item.at_least)
        detail = f"{now:g}, nobody noted it before the release"
        if known is not None:
            detail = f"{now:g}, {known:g} before the release"
            detail += "" if ok else f": less than {item.at_least:.0%} of it are left"
        observations.append(Observation(PROBE, item.name, at, now, None, ok=ok, detail=detail))
    return observations
