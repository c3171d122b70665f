# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidekiq's jobs: how many failed and of how many, which are tried again, which are dead, how long the oldest waits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ._errors import SlipwayError
from ._observation import Observation, timestamp
from ._probe_redis import Jobs, RedisServer

if TYPE_CHECKING:
    from ._clock import Clock
    from ._site import Site

PROBE = "job"
FAILED, DEAD, RETRIES, LATENCY = "failed", "dead", "retries", "latency"
# How many days before a release tell how often jobs fail, and their seconds. Sidekiq keeps their counters for years.
_DAYS, _DAY = 14, 86_400
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_:]{0,79}")
_QUEUE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_MOST_NAMES = 5


def baseline(site: Site) -> dict[str, Any]:
    """How often jobs failed before a release, day by day, ready for JSON; empty where nobody can be asked."""
    cache = site.profile.sidekiq_in
    if cache is None:
        return {}
    today = datetime.now(timezone.utc)
    days = [(today - timedelta(number)).strftime("%Y-%m-%d") for number in range(_DAYS)]
    try:
        redis = RedisServer.find(site.runner, site.containers(), cache, site.profile.redis.worker_database)
        counts = redis.failed_of_days(days)
    except SlipwayError:
        # no reason to stop a backup
        return {}
    return noted(list(reversed(counts)))


def noted(days: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """What is noted of the jobs that failed, of how many, on each day before a release; the latest day last."""
    blocks = [[failed, processed] for failed, processed in days if processed]
    events, trials = (sum(block[place] for block in blocks) for place in (0, 1))
    return {PROBE: {FAILED: {"events": events, "trials": trials, "blocks": blocks, "seconds": _DAY}}}


def counted(jobs: Jobs) -> dict[str, int]:
    """What the next look has to know of this one."""
    return {"processed": jobs.processed, "failed": jobs.failed}


def probe_jobs(
    jobs: Jobs, last: Mapping[str, int] | None, longest_wait: float | None, clock: Clock, *, released: bool
) -> list[Observation]:
    """Tell how it stands with the jobs.

    :param last: what `counted` said at the look before; None at the first.
    :param longest_wait: seconds that a job may wait in its queue.
    :param released: whether the moment is that of a release; else nobody knows which jobs its failures are.
    """
    at = timestamp(clock.now())
    # each look tells what came since the one before, so that none is counted twice: the first has nothing to tell
    observations = [] if last is None else [_failed(jobs, last, at)]
    for subject, size, classes in ((DEAD, jobs.dead, jobs.died), (RETRIES, jobs.retries, jobs.retried)):
        new = sum(classes.values())
        if released:
            detail = f"{new} of {size} failed for the first time since the release{_names(classes)}"
            ok = subject == RETRIES or not new
            observations.append(Observation(PROBE, subject, at, new, "jobs", ok=ok, detail=detail))
        else:
            detail = f"could not be seen: {size} there, and nobody noted when the release came in"
            observations.append(Observation(PROBE, subject, at, None, None, ok=None, detail=detail))
    for queue in jobs.queues:
        late = longest_wait is not None and queue.waits > longest_wait
        detail = f"{queue.size} jobs, the oldest waits for {queue.waits:.0f} s"
        detail += f", more than {longest_wait:g} s" if late else ""
        name = queue.name if _QUEUE.fullmatch(queue.name) else "?"
        observations.append(Observation(PROBE, f"{LATENCY} {name}", at, queue.waits, "s", ok=not late, detail=detail))
    return observations


def _failed(jobs: Jobs, last: Mapping[str, int], at: str) -> Observation:
    failed, processed = jobs.failed - last["failed"], jobs.processed - last["processed"]
    if failed < 0 or processed < 0:
        detail = "could not be seen: the counters began anew"
        return Observation(PROBE, FAILED, at, None, None, ok=None, detail=detail)
    # each process reports its counters for itself, and one may have told of its failures first
    processed = max(processed, failed)
    detail = f"{failed} of {processed} failed since the look before"
    return Observation(PROBE, FAILED, at, failed, "jobs", ok=True, detail=detail, of=processed)


def _names(classes: Mapping[str, int]) -> str:
    """The classes with the most jobs. They come out of Redis, so that nothing but a name of Ruby's is repeated."""
    most = sorted(classes, key=lambda name: (-classes[name], name))[:_MOST_NAMES]
    words = [f"{name if _CLASS.fullmatch(name) else '?'} ({classes[name]})" for name in most]
    return f": {', '.join(words)}" if words else ""
