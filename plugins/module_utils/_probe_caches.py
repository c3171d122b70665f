# SPDX-License-Identifier: GPL-3.0-or-later
"""Caches: a visit to a page must fill the Redis key that the profile names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from ._clock import Clock
from ._http import HttpError
from ._observation import Observation, timestamp
from ._probe_redis import RedisServer
from ._profile import Cache
from ._session import LoginError, Session

CONNECTIONS = 4
# A page that took so many seconds without its keys is asked again without them, so many times in all: the first page
# after a boot may be slow, one that is slow each time it has to fill its cache is slow for somebody every day.
SLOW, TIMES = 1.0, 3


def probe_caches(
    session: Session, redis: RedisServer, caches: Sequence[Cache], clock: Clock, *, refresh: bool
) -> tuple[list[Observation], bool]:
    """Visit each page and look for its key; the value is the key's time to live.

    :param refresh: delete the keys marked so first, each by its name and nothing else. What such a page took without
        them is an observation of a page.
    :return: the observations, and whether a key was deleted.
    """
    doomed = [cache.key for cache in caches if cache.refresh] if refresh else []
    # whoever logs in may be led to one of the pages: not between the deletion and the visit
    with suppress(LoginError, HttpError):
        session.visitor()
    deleted = redis.delete(doomed)
    pages = list(dict.fromkeys(cache.page for cache in caches))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        visits = dict(zip(pages, pool.map(lambda page: _visit(session, page, clock), pages)))
    cold = {page: [visits[page]] for page in dict.fromkeys(cache.page for cache in caches if cache.key in doomed)}
    for page, taken in cold.items():
        while taken[-1].problem is None and taken[-1].seconds > SLOW and len(taken) < TIMES:
            redis.delete([cache.key for cache in caches if cache.page == page and cache.key in doomed])
            taken.append(_visit(session, page, clock))
        visits[page] = taken[-1]
    ttls = redis.ttls([cache.key for cache in caches])
    at = timestamp(clock.now())
    observations = []
    for cache, ttl in zip(caches, ttls):
        problem = visits[cache.page].problem
        if problem is None and ttl is None:
            problem = f"no such key after a visit to {cache.page}"
        known = ttl is not None and math.isfinite(ttl)
        lasts = f"expires in {ttl:.0f} s" if known else "never expires"
        renewed = "renewed" if cache.key in doomed else "present"
        detail = problem or f"{renewed}, {lasts}"
        value, unit = (round(ttl or 0, 3), "s") if known else (None, None)
        observations.append(Observation("cache", cache.key, at, value, unit, ok=problem is None, detail=detail))
    observations += [
        Observation(
            "page", f"{page}, not cached", visit.at, visit.seconds, "s", ok=True, detail="its keys were deleted"
        )
        for page, taken in cold.items()
        for visit in taken
        if visit.problem is None
    ]
    return observations, deleted > 0


class _Visit(NamedTuple):
    """A visit to a page: how many seconds it took, what was wrong with it, and when it ended."""

    seconds: float
    problem: str | None
    at: str


def _visit(session: Session, page: str, clock: Clock) -> _Visit:
    begun = clock.monotonic()
    try:
        visitor = session.visitor()
        wrong = visitor.wrong(visitor.get(page), (200,))
        problem = f"GET {page}: {wrong}" if wrong else None
    except LoginError as error:
        problem = str(error)
    except HttpError as error:
        problem = f"GET {page}: {error}"
    return _Visit(round(clock.monotonic() - begun, 3), problem, timestamp(clock.now()))
