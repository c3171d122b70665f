# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidekiq's workers: they take no more jobs, finish those they have, and what runs longer goes back to its queue.

Signals, exit and the record of what a process works on: Sidekiq's wiki, pages Signals, Deployment and API.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._errors import SlipwayError
from ._files import read_record, write_record
from ._probe_redis import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from ._compose import Container
    from ._site import Site

SIDEKIQ_TIMEOUT = 25.0
LIVE_WITHIN = 60.0
STOPPING = 5.0  # seconds that it needs besides
_QUIET = "TSTP"
_PAUSE = 0.5
_TIMEOUT_OPTION = re.compile(r"(?:^|\s)(?:-t\s*|--timeout[\s=])(\d+)")
_FILE_OPTION = re.compile(r"(?:^|\s)(?:-C\s*|--config[\s=])(\S+)")
_TIMEOUT_SETTING = re.compile(r"^[ \t]*:?timeout:\s*(\d+)", re.MULTILINE)
_DURATION = re.compile(r"([0-9.]+)(ms|us|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_PUSHED = re.compile(r"Pushed (\d+) jobs back to Redis")


def sidekiq_timeout(service: Mapping[str, Any], source: Path) -> float:
    """Seconds that Sidekiq gives its jobs once it is told to end: its option, its file, or its own default."""
    command = service.get("command") or []
    words = command if isinstance(command, str) else " ".join(command)
    option, named = _TIMEOUT_OPTION.search(words), _FILE_OPTION.search(words)
    if option:
        return float(option[1])
    file = source / (named[1] if named else "config/sidekiq.yml")
    settings = file.read_text("utf-8", errors="replace") if file.is_file() else ""
    # it may stand there for each environment: the longest is what Docker must wait for
    return max(map(float, _TIMEOUT_SETTING.findall(settings)), default=SIDEKIQ_TIMEOUT)


def seconds(duration: str) -> float:
    """A duration of Compose's, such as 1m30s, in seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))


def quiet(site: Site, workers: Sequence[Container]) -> None:
    """Let workers take no more jobs. There is no way back from that but to stop them: so it is noted first."""
    if workers and site.profile.jobs.sidekiq:
        told = {**_told(site), **{item.id: item.started for item in workers}}
        write_record(_note(site), told)
        site.docker.kill([item.id for item in workers], _QUIET)


def quieted(site: Site, workers: Sequence[Container]) -> list[Container]:
    """Those that run, and will take no job until they are stopped and started: they were told so since they started."""
    told = _told(site)
    return [item for item in workers if item.running and told.get(item.id) == item.started]


def _note(site: Site) -> Path:
    return site.ledger.root / "quiet.json"


def _told(site: Site) -> dict[str, float]:
    """When each container that is there, and was told to take no more jobs, had started."""
    there = {item.id for item in site.all_containers()}
    told: dict[str, float] = read_record(_note(site), dict, "remove it, and restart the workers") or {}
    return {key: value for key, value in told.items() if key in there}


def are_live(site: Site, workers: Sequence[Container]) -> bool:
    """Whether each worker has said that it is ready for jobs; where nobody can be asked, it is judged elsewhere."""
    try:
        return not workers or _are_live(_server(site), workers)
    except SlipwayError:
        return True


def _are_live(server: RedisServer, workers: Sequence[Container]) -> bool:
    return {item.hostname for item in workers} <= {item.hostname for item in server.processes() if item.live}


def await_live(site: Site, workers: Sequence[Container]) -> None:
    """Return when each worker is ready for jobs, or has had its time to be; at once where nobody can be asked."""
    deadline = time.monotonic() + LIVE_WITHIN
    with suppress(SlipwayError):
        server = _server(site)
        while time.monotonic() < deadline and not _are_live(server, workers):
            time.sleep(_PAUSE)


def stop_workers(site: Site, workers: Sequence[Container], patience: float) -> dict[str, Any]:
    """Quiet workers, wait `patience` seconds for jobs that need longer than Sidekiq itself waits, then stop them.

    :returns: how many jobs Sidekiq pushed back to their queues, and which were at work; nothing when there were none.
    """
    if not workers:
        return {}
    begun = time.time()
    # one that crashes again and again says nothing
    running = [item for item in workers if item.running]
    quiet(site, running)
    jobs = _jobs(site, running)
    # what a process works on is written down with each of its beats; one that is quiet says so with the next
    while time.time() - begun < patience and not _idle(site, running):
        time.sleep(_PAUSE)
        jobs = _jobs(site, running)
    site.docker.stop(workers)
    logs = "".join(site.docker.logs(item.id, since=begun) for item in workers)
    pushed = sum(int(number) for number in _PUSHED.findall(logs))
    return {"pushed_back": pushed, "at_work": jobs} if pushed else {}


def _server(site: Site) -> RedisServer:
    redis = site.profile.redis.worker_database
    return RedisServer.find(site.runner, site.containers(), site.profile.sidekiq_in or "", redis)


def _idle(site: Site, workers: Sequence[Container]) -> bool:
    """Whether each has said since it was quiet that it has nothing to do; where nobody can be asked, it has."""
    hosts = {item.hostname for item in workers}
    try:
        said = {item.hostname for item in _server(site).processes() if item.quiet}
    except SlipwayError:
        return True
    return hosts <= said and not _jobs(site, workers)


def _jobs(site: Site, workers: Sequence[Container]) -> list[str]:
    hosts = {item.hostname for item in workers}
    try:
        return sorted(job for host, job in _server(site).jobs_at_work() if host in hosts)
    except SlipwayError:
        return []
