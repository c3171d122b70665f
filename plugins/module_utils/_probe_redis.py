# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, Sidekiq's processes and its jobs in Redis, seen through the redis-cli of its own container.

One `docker exec` a look; commands and password go in on its input, so that no process list shows them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ._clock import Clock
from ._compose import Container
from ._errors import SlipwayError
from ._observation import Observation, timestamp
from ._process import Runner

TIMEOUT = 20
# Sidekiq beats every 10 s (before version 7 every 5 s), and its record outlives it for a minute.
BEAT_FRESH = 30.0
_PASSWORD_VARIABLES = ("REDISCLI_AUTH", "REDIS_PASSWORD")

# Lua in Redis itself: one line of JSON to read, whatever the version, instead of nested lists as text.
_TTLS = "local o={} for i,k in ipairs(KEYS) do o[i]=redis.call('PTTL',k) end return cjson.encode({ttls=o})"
_PROCESSES = (
    "local o={} for i,m in ipairs(redis.call('SMEMBERS','processes')) do "
    "local h=redis.call('HMGET',m,'beat','quiet') o[i]={m,h[1] or '',h[2] or ''} end "
    "return cjson.encode({now=redis.call('TIME')[1],processes=o})"
)
# Sidekiq writes down what a process works on with each beat.
_AT_WORK = (
    "local o={} for _,m in ipairs(redis.call('SMEMBERS','processes')) do "
    "local w=redis.call('HVALS',m..':work') if #w==0 then w=redis.call('HVALS',m..':workers') end "
    "for _,j in ipairs(w) do o[#o+1]={m,j} end end return cjson.encode({jobs=o})"
)
# Sidekiq's counters, its queues, and the classes of what failed since KEYS[1] for the first time. Arguments of jobs,
# which may be secret, stay in Redis. What failed a moment ago is tried again soonest, and so among the first retries.
# Times are seconds, and milliseconds from Sidekiq 8 on.
_JOBS = """
local since = tonumber(KEYS[1])
local function seconds(time)
  time = tonumber(time) or 0
  if time > 100000000000 then time = time / 1000 end
  return time
end
local function read(job)
  if not job or #job > 65536 then return {} end
  local ok, data = pcall(cjson.decode, job)
  if ok and type(data) == 'table' then return data end
  return {}
end
local function failed(jobs)
  local classes = {}
  for _, job in ipairs(jobs) do
    local data = read(job)
    if seconds(data['failed_at']) >= since and data['failed_at'] then
      local name = tostring(data['wrapped'] or data['class'])
      classes[name] = (classes[name] or 0) + 1
    end
  end
  return classes
end
local queues = {}
for number, name in ipairs(redis.call('SMEMBERS', 'queues')) do
  if number > 100 then break end
  local waits = seconds(read(redis.call('LINDEX', 'queue:' .. name, -1))['enqueued_at'])
  queues[number] = {name, redis.call('LLEN', 'queue:' .. name), waits}
end
return cjson.encode({
  now=redis.call('TIME')[1], queues=queues,
  processed=redis.call('GET', 'stat:processed') or '0', failed=redis.call('GET', 'stat:failed') or '0',
  retries=redis.call('ZCARD', 'retry'), retried=failed(redis.call('ZRANGE', 'retry', 0, 499)),
  dead=redis.call('ZCARD', 'dead'), died=failed(redis.call('ZREVRANGEBYSCORE', 'dead', '+inf', since, 'LIMIT', 0, 500))
})
"""
# Sidekiq counts each day for itself, too; KEYS are days.
_DAYS = (
    "local o={} for i,d in ipairs(KEYS) do "
    "o[i]={redis.call('GET','stat:failed:'..d) or '0',redis.call('GET','stat:processed:'..d) or '0'} end "
    "return cjson.encode({days=o})"
)
_DELETE = "return cjson.encode({deleted=redis.call('DEL',unpack(KEYS))})"


class RedisError(SlipwayError):
    """Redis did not answer, or not with what was asked for."""


@dataclass(frozen=True)
class SidekiqProcess:
    """A Sidekiq process by its own account.

    :param age: seconds since its last beat; None when its record is gone.
    """

    hostname: str
    age: float | None
    quiet: bool

    @property
    def live(self) -> bool:
        """Whether it works on jobs."""
        return self.age is not None and self.age <= BEAT_FRESH and not self.quiet


@dataclass(frozen=True)
class Queue:
    """A queue of Sidekiq's.

    :param waits: seconds that its oldest job has waited.
    """

    name: str
    size: int
    waits: float


@dataclass(frozen=True)
class Jobs:
    """What Redis holds of Sidekiq's jobs.

    :param processed: how many were ever worked on; `failed` of them failed.
    :param retries: how many wait to be tried again, and `dead` how many are not tried again.
    :param retried: those of `retries` that failed since a moment for the first time, by class.
    :param died: the same of `dead`.
    """

    processed: int
    failed: int
    retries: int
    dead: int
    retried: Mapping[str, int]
    died: Mapping[str, int]
    queues: tuple[Queue, ...]


@dataclass(frozen=True)
class RedisServer:
    """One database of a Redis server in a container."""

    runner: Runner
    container: str
    database: int = 0
    credentials: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def find(cls, runner: Runner, states: Sequence[Container], service: str, database: int) -> RedisServer:
        """Find the server among a project's containers, and its password in what those containers are given."""
        running = [item for item in states if item.service == service and item.state == "running"]
        if not running:
            raise RedisError(f"no container of {service} is running")
        return cls(runner, running[0].id, database, _credentials(running[0], states, service))

    def ttls(self, keys: Sequence[str]) -> list[float | None]:
        """Return seconds to live for each key: infinite when it never expires, None when there is no such key."""
        if not keys:
            return []
        found = self._ask(_TTLS, keys).get("ttls")
        if not isinstance(found, list) or len(found) != len(keys) or not all(isinstance(item, int) for item in found):
            raise _unreadable()
        return [None if item == -2 else float("inf") if item < 0 else item / 1000 for item in found]  # noqa: PLR2004 PTTL

    def delete(self, keys: Sequence[str]) -> int:
        """Delete keys by name; returns how many there were."""
        return int(self._ask(_DELETE, keys)["deleted"]) if keys else 0

    def count(self, script: str, keys: Sequence[str]) -> int:
        """Run a Lua script that works on Sidekiq's jobs; returns the number of them that it reports."""
        return int(self._ask(script, keys)["jobs"])

    def processes(self) -> list[SidekiqProcess]:
        """Return what Sidekiq's processes say of themselves; ages are by the clock of Redis."""
        return _processes(self._ask(_PROCESSES, ()))

    def processes_and_jobs(self, since: float) -> tuple[list[SidekiqProcess], Jobs | None]:
        """Return what `processes` does, and the jobs, of which some failed since a moment (seconds since the epoch).

        None stands for jobs that cannot be read.
        """
        processes, jobs = self._ask_all((_PROCESSES, ()), (_JOBS, (f"{since:.3f}",)))
        seen = _processes(processes or {})
        try:
            return seen, _jobs(jobs or {})
        except RedisError:
            # no reason not to see the processes
            return seen, None

    def failed_of_days(self, days: Sequence[str]) -> list[tuple[int, int]]:
        """Return how many jobs failed, and how many were worked on, on each day (YYYY-MM-DD, UTC)."""
        answer = self._ask(_DAYS, days)
        try:
            return [(int(failed), int(processed)) for failed, processed in answer["days"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable() from error

    def jobs_at_work(self) -> list[tuple[str, str]]:
        """What Sidekiq's processes work on: the host of each, and the job's class and id."""
        answer = self._ask(_AT_WORK, ())
        try:
            return [(identity.rsplit(":", 2)[0], _job(work)) for identity, work in answer["jobs"] or ()]
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable() from error

    def _ask(self, script: str, keys: Sequence[str]) -> dict[str, Any]:
        return self._ask_all((script, keys))[0] or {}

    def _ask_all(self, *questions: tuple[str, Sequence[str]]) -> list[dict[str, Any] | None]:
        """Run scripts, each with its keys; RedisError when the first has no answer, None for another that has none."""
        commands = [["AUTH", *self.credentials]] if self.credentials else []
        commands += [["SELECT", str(self.database)]]
        commands += [["EVAL", " ".join(script.split()), str(len(keys)), *keys] for script, keys in questions]
        text = "".join(" ".join(map(_quoted, command)) + "\n" for command in commands)
        argv = ["docker", "exec", "--interactive", self.container, "redis-cli"]
        done = self.runner.run(argv, text=text, check=False, timeout=TIMEOUT)
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        # Without its OK the database was not selected, and the answers are about another one.
        begin = len(lines) - lines[::-1].index("OK") if "OK" in lines else len(lines)
        answers = [_answer(line) for line in lines[begin : begin + len(questions)]]
        if not answers or answers[0] is None:
            raise RedisError(f"redis-cli: {_reason(lines)}")
        return [*answers, *[None] * (len(questions) - len(answers))]


def _answer(line: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        return dict(json.loads(line)) if line.startswith("{") else None
    return None


def _reason(lines: list[str]) -> str:
    refused = [line for line in lines if line != "OK"]
    if any("WRONGPASS" in line or "invalid password" in line for line in refused):
        return "Redis refuses the password that its container is given"
    if any("NOAUTH" in line for line in refused):
        return "Redis wants a password: give its container REDIS_PASSWORD"
    return refused[0][:200] if refused else "no answer"


def _unreadable() -> RedisError:
    return RedisError("redis-cli: an answer that cannot be read")


def _processes(answer: Mapping[str, Any]) -> list[SidekiqProcess]:
    try:
        now = float(answer["now"])
        # Lua's empty list is JSON's empty object.
        return [_process(now, *map(str, item)) for item in answer["processes"] or ()]
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable() from error


def _process(now: float, identity: str, beat: str, quiet: str) -> SidekiqProcess:
    hostname = identity.rsplit(":", 2)[0]
    return SidekiqProcess(hostname, max(0.0, now - float(beat)) if beat else None, quiet == "true")


def _jobs(answer: Mapping[str, Any]) -> Jobs:
    try:
        now = float(answer["now"])
        return Jobs(
            processed=int(answer["processed"]),
            failed=int(answer["failed"]),
            retries=int(answer["retries"]),
            dead=int(answer["dead"]),
            retried={str(name): int(count) for name, count in answer["retried"].items()},
            died={str(name): int(count) for name, count in answer["died"].items()},
            queues=tuple(
                Queue(str(name), int(size), max(0.0, now - float(since)) if since else 0.0)
                for name, size, since in answer["queues"] or ()
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable() from error


def _job(work: str) -> str:
    """Name a job as an operator finds it in Sidekiq's own pages; Active Job's class stands behind its wrapper's."""
    payload = json.loads(work)["payload"]
    job = json.loads(payload) if isinstance(payload, str) else payload
    return f"{job.get('wrapped') or job['class']} {job['jid']}"


def _quoted(argument: str) -> str:
    """Write an argument as redis-cli reads it, whatever bytes it has."""
    plain = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"\\x{byte:02x}"  # noqa: PLR2004 ASCII
        for byte in argument.encode()
    )
    return f'"{plain}"'


def _credentials(server: Container, states: Sequence[Container], service: str) -> tuple[str, ...]:
    """Find what AUTH needs: the server's environment or command says it, or else the REDIS_URL of a service."""
    for name in _PASSWORD_VARIABLES:
        if server.environment.get(name):
            return (server.environment[name],)
    if "--requirepass" in server.command[:-1]:
        return (server.command[server.command.index("--requirepass") + 1],)
    for state in states:
        for value in state.environment.values():
            if value.startswith(("redis://", "rediss://")):
                found = _url_credentials(value, service)
                if found:
                    return found
    return ()


def _url_credentials(url: str, service: str) -> tuple[str, ...]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ()
    if parts.hostname != service.lower() or not parts.password:
        return ()
    password = unquote(parts.password)
    return (unquote(parts.username), password) if parts.username else (password,)


def probe_workers(
    service: str, processes: Sequence[SidekiqProcess], states: Sequence[Container], clock: Clock
) -> Observation:
    """Count the live Sidekiq processes; every running container of the service must have one.

    A process counts only when its host is such a container: the record of one that was killed lives on for a minute.
    """
    hosts = {item.hostname for item in states if item.service == service and item.state == "running"}
    live = [item for item in processes if item.live and item.hostname in hosts]
    wanted = max(1, len(hosts))
    parts = [f"{len(live)} of {wanted} Sidekiq processes live"]
    gone = sum(item.hostname not in hosts for item in processes)
    quiet = sum(item.quiet and item.hostname in hosts for item in processes)
    silent = len(processes) - len(live) - gone - quiet
    for number, words in ((gone, "of containers that are gone"), (quiet, "quiet"), (silent, "without a fresh beat")):
        if number:
            parts.append(f"{number} {words}")
    ok = len({item.hostname for item in live}) >= wanted
    return Observation(
        "worker", service, timestamp(clock.now()), len(live), "processes", ok=ok, detail=", ".join(parts)
    )
