"""What the product makes of a simulated day: what containers would log of it, and what is counted of that.

`lines` writes a minute as lograge, Sidekiq and nginx would; `baseline` and `looks` are what the shipped library makes
of those lines. To read them takes seconds a day, so that most days are counted by `series`, which comes to the same:
the benchmark asks for both on some days.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils import _probe_jobs as job_probe
from ansible_collections.slipway.release.plugins.module_utils import _probe_logs as log_probe
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._log_signatures import Log, Signature
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation, timestamp
from ansible_collections.slipway.release.plugins.module_utils._probe_redis import Jobs
from ansible_collections.slipway.release.plugins.module_utils._profile import Logs

from bench._days import DAY, MIDDLING, Days

# A series of events and trials, one for each minute of both days, by kind and subject of the observations.
Series = dict[tuple[str, str], list[tuple[int, int]]]
BEGINS = datetime(2026, 11, 29, tzinfo=UTC)
SERVICES = ("web", "worker", "proxy")
FAST, BETWEEN, SLOWED = 40, 200, 900  # milliseconds
# By kind of error: what is raised, and what was asked for.
RAISED = (
    "NoMethodError (undefined method `eta' for nil)",
    "Redis::CannotConnectError (no answer)",
    "ActiveRecord::StatementInvalid (no such column)",
    "KeyError (key not found)",
    "Timeout::Error (execution expired)",
    "ArgumentError (wrong number)",
)
ASKED = ("agents#index", "agents#show", "campaigns#index", "campaigns#show", "tasks#edit", "tasks#update")
FAILED = "Net::ReadTimeout: no answer"
_BLOCK = 10  # minutes


def lines(days: Days, service: str, minute: int) -> Iterator[str]:
    """What a container prints in a minute."""
    stamp = (BEGINS + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:07.5Z")
    kinds = [kind for kind, count in enumerate(days.errors[minute]) for _ in range(count)]
    requests = days.requests[minute]
    if service == "worker":
        jobs, failed = days.jobs[minute], days.failed[minute]
        said = [("INFO", "start")] * jobs + [("INFO", "done")] * (jobs - failed)
        said += [("INFO", "fail"), ("WARN", FAILED)] * failed
        yield from (f'{stamp} {{"pid":1,"tid":"2mq","lvl":"{level}","msg":"{text}"}}' for level, text in said)
    elif service == "proxy":
        for number in range(max(requests, len(kinds))):
            path, status = (ASKED[kinds[number]], 500) if number < len(kinds) else ("agents", 200)
            yield f'{stamp} 192.0.2.7 - - [29/Nov/2026:00:00:00 +0000] "GET /{path} HTTP/1.1" {status} 17 "-" "-"'
    else:
        slow, between = days.slow[minute], int(requests * MIDDLING)
        for number in range(max(requests, len(kinds))):
            action, status = (ASKED[kinds[number]], 500) if number < len(kinds) else ("agents#all", 200)
            duration = SLOWED if number < slow else BETWEEN if number < slow + between else FAST
            told = {"method": "GET", "controller": "C", "action": action, "status": status, "duration": duration}
            yield f"{stamp} {json.dumps(told)}"
        yield from (f"{stamp} E, [2026-11-29T00:00:00.123456 #1] ERROR -- : {RAISED[kind]}" for kind in kinds)


def read(days: Days, minutes: range) -> dict[str, Log]:
    """What the shipped library reads of some minutes."""
    found = {}
    for service in SERVICES:
        log = Log(Logs())
        for minute in minutes:
            log.feed("".join(f"{line}\n" for line in lines(days, service, minute)).encode())
        log.end()
        found[service] = log
    return found


def baseline(days: Days) -> dict[str, Any]:
    """What is noted before the release."""
    return {**log_probe.noted(read(days, range(DAY))), **job_probe.noted(_counted_days(days))}


def _counted_days(days: Days) -> list[tuple[int, int]]:
    return [*days.earlier, (sum(days.failed[:DAY]), sum(days.jobs[:DAY]))]


def looks(days: Days, before: dict[str, Any]) -> Iterator[list[Observation]]:
    """What the watch sees each minute after the release, of what is counted."""
    last = Jobs(0, 0, 0, 0, {}, {}, ())
    for minute in range(DAY, 2 * DAY):
        now = BEGINS + timedelta(minutes=minute)
        found = log_probe.told(read(days, range(minute, minute + 1)), before, now.timestamp(), timestamp(now))
        done, failed = last.processed + days.jobs[minute], last.failed + days.failed[minute]
        jobs = Jobs(done, failed, 0, 0, {}, {}, ())
        clock = Clock(now=lambda now=now: now)  # type: ignore[misc]
        found += job_probe.probe_jobs(jobs, job_probe.counted(last), None, clock, released=True)
        last = jobs
        yield found


def series(days: Days) -> Series:
    """The same by arithmetic, without the lines."""
    errors = [sum(kinds) for kinds in days.errors]
    requests = [max(one, other) for one, other in zip(days.requests, errors, strict=True)]
    said = {
        "web": [one + other for one, other in zip(requests, errors, strict=True)],
        "worker": [2 * jobs + failed for jobs, failed in zip(days.jobs, days.failed, strict=True)],
        "proxy": requests,
    }
    found: Series = {
        ("log", "web"): _zipped(errors, said["web"]),
        ("log", "web requests"): _zipped(errors, requests),
        ("log", "worker"): _zipped(days.failed, said["worker"]),
        ("log", "proxy"): _zipped([0] * len(requests), said["proxy"]),
        ("log", "proxy requests"): _zipped(errors, requests),
        ("job", "failed"): _zipped(days.failed, days.jobs),
        ("latency", "web"): _zipped(_over(days), requests),
    }
    for service in SERVICES:
        known = _known(days, service)
        known = {item: counts for item, counts in known.items() if sum(counts[:DAY])}
        for item in sorted(known, key=lambda item: (-sum(known[item][:DAY]), item[1]))[: log_probe.COUNTED]:
            subject = log_probe.again(service, Signature(*item, error=True, first="", sample=""))
            found["log", subject] = _zipped(known[item], said[service])
    return found


def _known(days: Days, service: str) -> dict[tuple[str, str], list[int]]:
    """How often each error comes in each minute, by level and text."""
    if service == "worker":
        return {("warn", FAILED): days.failed}
    counts = [[kinds[kind] for kinds in days.errors] for kind in range(len(ASKED))]
    if service == "proxy":
        return {("500", f"GET /{name}"): counts[kind] for kind, name in enumerate(ASKED)}
    found = {("500", f"GET C#{name}"): counts[kind] for kind, name in enumerate(ASKED)}
    return {**found, **{("error", text): counts[kind] for kind, text in enumerate(RAISED)}}


def _zipped(events: list[int], trials: list[int]) -> list[tuple[int, int]]:
    return list(zip(events, trials, strict=True))


def _over(days: Days) -> list[int]:
    """The requests that took longer than 95 of 100 did on the day before, which is a step of the product's."""
    before = sum(days.slow[:DAY])
    return days.slow if before <= 0.05 * sum(days.requests[:DAY]) else [0] * len(days.slow)


def noted(days: Days, found: Series) -> dict[str, Any]:
    """The baseline that `series` gives."""
    before: dict[str, Any] = {}
    for (probe, subject), minutes in found.items():
        blocks = [_sums(minutes[begin : begin + _BLOCK]) for begin in range(0, DAY, _BLOCK)]
        before.setdefault(probe, {})[subject] = {"blocks": [block for block in blocks if block[1]]}
    before.update(job_probe.noted(_counted_days(days)))
    return before


def _sums(minutes: list[tuple[int, int]]) -> list[int]:
    return [sum(events for events, _ in minutes), sum(trials for _, trials in minutes)]
