# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidekiq jobs that only a newer release knows: parked while an older one runs, put back when the newer one returns.

A worker that does not know a job's class fails it again and again until it is dead. What is parked lies in Redis beside
the queues, in a list of its own, so that nothing is lost however a move ends: each is one script, which Redis carries
out whole or not at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ._probe_redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._site import Site

PARKED = "slipway:parked"
_CLASS = re.compile(r"^\s*class\s+([A-Z]\w*(?:::[A-Z]\w*)*)", re.MULTILINE)
# Where Rails looks for code.
_CODE = ("app", "lib")

# KEYS[1] is the list, the other keys are names of classes. A job of Active Job names its own class as "wrapped".
# The newest is at the head of the list, as in a queue of Sidekiq's, which works from the end.
_PARK = """
local list, known, moved = KEYS[1], {}, 0
for i = 2, #KEYS do known[KEYS[i]] = true end
local function foreign(job)
  local ok, data = pcall(cjson.decode, job)
  if not ok or type(data) ~= 'table' then return false end
  local name = tostring(data['wrapped'] or data['class'] or '')
  return known[string.match(name, '[^:]*$')] or false
end
for _, queue in ipairs(redis.call('SMEMBERS', 'queues')) do
  local key = 'queue:' .. queue
  local jobs = redis.call('LRANGE', key, 0, -1)
  for i = #jobs, 1, -1 do
    if foreign(jobs[i]) then
      redis.call('LPUSH', list, cjson.encode({key, jobs[i]}))
      redis.call('LREM', key, -1, jobs[i])
      moved = moved + 1
    end
  end
end
for _, key in ipairs({'schedule', 'retry'}) do
  for _, job in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    if foreign(job) then
      redis.call('LPUSH', list, cjson.encode({key, job, redis.call('ZSCORE', key, job)}))
      redis.call('ZREM', key, job)
      moved = moved + 1
    end
  end
end
return cjson.encode({jobs=moved})
"""
# Those that were parked have waited longest, so that they come first: at the end of their queue.
_REPLAY = """
local list, known, moved = KEYS[1], {}, 0
for i = 2, #KEYS do known[KEYS[i]] = true end
for _, entry in ipairs(redis.call('LRANGE', list, 0, -1)) do
  local item = cjson.decode(entry)
  local data = cjson.decode(item[2])
  if known[string.match(tostring(data['wrapped'] or data['class'] or ''), '[^:]*$')] then
    if item[3] then redis.call('ZADD', item[1], item[3], item[2])
    else redis.call('SADD', 'queues', string.sub(item[1], 7)); redis.call('RPUSH', item[1], item[2]) end
    redis.call('LREM', list, 1, entry)
    moved = moved + 1
  end
end
return cjson.encode({jobs=moved})
"""


def classes(source: Iterable[str]) -> set[str]:
    """The classes that Ruby source defines, each by the last part of its name."""
    return {name.rpartition("::")[2] for text in source for name in _CLASS.findall(text)}


def _known(site: Site, commit: str) -> set[str]:
    return classes([site.checkout.class_lines(commit, *_CODE)])


def _redis(site: Site) -> RedisServer | None:
    """Where Sidekiq keeps its jobs; None where the application has none."""
    cache = site.profile.sidekiq_in
    if cache is None:
        return None
    containers = site.docker.containers(site.profile.name)
    return RedisServer.find(site.runner, containers, cache, site.profile.redis.worker_database)


def park(site: Site, newer: str, older: str) -> int:
    """Park the jobs whose class only the commit `newer` has; returns how many there were."""
    redis = _redis(site)
    foreign = _known(site, newer) - _known(site, older) if redis else set()
    return redis.count(_PARK, [PARKED, *sorted(foreign)]) if redis and foreign else 0


def parked(site: Site) -> int:
    """How many jobs are parked."""
    redis = _redis(site)
    return redis.count("return cjson.encode({jobs=redis.call('LLEN', KEYS[1])})", [PARKED]) if redis else 0


def replay(site: Site, commit: str) -> int:
    """Put parked jobs back whose class `commit` has; returns how many there were."""
    redis = _redis(site)
    return redis.count(_REPLAY, [PARKED, *sorted(_known(site, commit))]) if redis else 0
