# SPDX-License-Identifier: GPL-3.0-or-later
"""Caches: a visit to a page must fill the Redis key that the profile names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ._clock import Clock
from ._http import HttpError
from ._observation import Observation, timestamp
from ._probe_redis import RedisServer
from ._profile import Cache
from ._session import LoginError, Session

CONNECTIONS = 4


def probe_caches(
    session: Session, redis: RedisServer, caches: Sequence[Cache], clock: Clock, *, refresh: bool
) -> tuple[list[Observation], bool]:
    """Visit each page and look for its key; the value is the key's time to live.

    :param refresh: delete the keys marked so first, each by its name and nothing else.
    :return: the observations, and whether a key was deleted.
    """
    doomed = [cache.key for cache in caches if cache.refresh] if refresh else []
    deleted = redis.delete(doomed)
    pages = list(dict.fromkeys(cache.page for cache in caches))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        visits = dict(zip(pages, pool.map(lambda page: _visit(session, page), pages)))
    ttls = redis.ttls([cache.key for cache in caches])
    at = timestamp(clock.now())
    observations = []
    for cache, ttl in zip(caches, ttls):
        problem = visits[cache.page]
        if problem is None and ttl is None:
            problem = f"no such key after a visit to {cache.page}"
        known = ttl is not None and math.isfinite(ttl)
        lasts = f"expires in {ttl:.0f} s" if known else "never expires"
        renewed = "renewed" if cache.key in doomed else "present"
        detail = problem or f"{renewed}, {lasts}"
        value, unit = (round(ttl or 0, 3), "s") if known else (None, None)
        observations.append(Observation("cache", cache.key, at, value, unit, ok=problem is None, detail=detail))
    return observations, deleted > 0


def _visit(session: Session, page: str) -> str | None:
    try:
        visitor = session.visitor()
        wrong = visitor.wrong(visitor.get(page), (200,))
    except LoginError as error:
        return str(error)
    except HttpError as error:
        wrong = str(error)
    return f"GET {page}: {wrong}" if wrong else None
