# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application's containers logged, against what they did before the release."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ._errors import SlipwayError
from ._log_signatures import OTHER, Log, Signature, milliseconds, quantile
from ._observation import AGAIN, Observation, timestamp
from ._probe_compose import unseen
from ._profile import secrets as secret_values
from ._stored import piped

if TYPE_CHECKING:
    from ._clock import Clock
    from ._compose import Container
    from ._profile import Profile
    from ._site import Site

PROBE, LATENCY = "log", "latency"
# Where nobody says since when, so many seconds are read.
LATELY = 600.0
# A new signature is bad from so many lines on, and so many of them are shown for each service.
MANY, SHOWN = 3, 10
# Of the errors that a service had before a release, so many are counted one by one: the most frequent ones.
COUNTED = 5
_BLOCK = 262_144
_DAY = 86_400.0
_SHORTEST_SECRET = 6
_SUBJECT, _LAST_WORDS = 100, 400


@dataclass(frozen=True)
class Limits:
    """How much is read of one container: lines from the end, bytes, and seconds for all containers together."""

    lines: int = 150_000
    bytes: int = 50_000_000
    seconds: float = 20.0


# A deploy waits for the baseline.
_PROBE, _BASELINE = Limits(), Limits(seconds=10.0)


def read_logs(
    site: Site, since: float, until: float, limits: Limits = _PROBE, secrets: Collection[str] = ()
) -> tuple[dict[str, Log], dict[str, SlipwayError]]:
    """Read what the application's containers printed between two moments, in seconds since the epoch.

    :param secrets: texts that are hidden beside those that the profile and the containers know.
    :returns: the log of each service, and why those of others could not be read.
    """
    services = {*site.code_services, site.profile.services.proxy}
    there = [item for item in site.all_containers() if item.service in services]
    containers = [item for item in there if item.running or item.state == "restarting"]
    known = {*_secrets(site.profile, containers), *secrets}
    hidden = {value for value in known if len(value) >= _SHORTEST_SECRET}
    deadline = time.monotonic() + limits.seconds
    logs: dict[str, Log] = {}
    unread: dict[str, SlipwayError] = {}
    for item in containers:
        log = logs.get(item.service) or Log(site.profile.logs, hidden)
        try:
            for block in _printed(site, item, (since, until), limits, deadline):
                log.feed(block)
        except SlipwayError as error:
            unread[item.service] = error
        else:
            logs[item.service] = log
        log.end()
    return logs, unread


def _secrets(profile: Profile, containers: Iterable[Container]) -> Iterator[str]:
    """What the profile and the containers themselves know and nobody else may."""
    if profile.login is not None:
        yield from profile.login.form.values()
    alert = profile.watch.alert
    yield from (value for value in (alert.webhook, alert.mail and alert.mail.password) if value)
    for item in containers:
        yield from secret_values(item.environment)
        for value in item.environment.values():
            with suppress(ValueError):
                yield from _secrets_of_url(value)


def _secrets_of_url(text: str) -> Iterator[str]:
    """The secrets of a URL, as they stand there and as the application knows them; ValueError where it is none."""
    if "://" in text:
        parts = urlsplit(text)
        named = dict(item.partition("=")[::2] for item in parts.query.split("&"))
        for given in (parts.password or "", *secret_values(named)):
            yield from (given, unquote(given))


def _printed(
    site: Site, container: Container, between: tuple[float, float], limits: Limits, deadline: float
) -> Iterator[bytes]:
    """The last that a container printed, block by block; what exceeds the limits is left out."""
    since, until = (f"{moment:.3f}" for moment in between)
    argv = ["docker", "logs", "--timestamps", "--tail", str(limits.lines), "--since", since, "--until", until]
    # its own errors come with the container's, so that none of them waits for a reader
    process = site.runner.stream([*argv, container.id], subprocess.STDOUT)
    piped(process.stdin).close()
    left, last = limits.bytes, b""
    with process, piped(process.stdout) as stream:
        pipe = stream.fileno()
        while left > 0 and select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            block = os.read(pipe, min(_BLOCK, left))
            if not block:
                break
            left, last = left - len(block), block
            yield block
        else:
            process.kill()
            if not last:
                # which is something else than a container that printed nothing
                raise SlipwayError(f"docker logs {container.name}: the time was over before anything was read")
            return
    if process.returncode != 0:
        said = last[-_LAST_WORDS:].decode("utf-8", "replace").strip().rpartition("\n")[2]
        # anything else is the container's, and may hold a secret
        reason = said if said.startswith("Error") else f"it ended with code {process.returncode}"
        raise SlipwayError(f"docker logs {container.name}: {reason}")


def baseline(site: Site) -> dict[str, Any]:
    """What was logged in the day before a release touches the site, ready for JSON; empty where it cannot be read.

    `log` and `latency` hold events and trials by subject, as a whole and for each ten minutes; `signatures` the errors
    that are known.
    """
    now = time.time()
    try:
        logs, _ = read_logs(site, now - _DAY, now, _BASELINE)
    except (SlipwayError, OSError):
        # a look is no reason to stop a backup
        return {}
    return noted(logs)


def noted(logs: Mapping[str, Log]) -> dict[str, Any]:
    """What is noted of the logs of the day before a release, by service."""
    latency = {}
    for service, log in logs.items():
        durations = log.durations
        if durations:
            step = quantile(durations, 0.95)
            figures = {"p50": _rounded(quantile(durations, 0.5)), "p95": _rounded(step), "step": step}
            latency[service] = {**_counted(log.slower(step)), **figures}
    counts = {name + what: _counted(blocks) for name, log in logs.items() for what, blocks in log.counts()}
    for service, log in logs.items():
        known = [item for item in log.errors if item.text != OTHER][:COUNTED]
        counts.update((again(service, item), _counted(log.counts_of(item))) for item in known)
    return {
        PROBE: counts,
        LATENCY: latency,
        "signatures": {name: sorted(item.digest for item in log.errors) for name, log in logs.items()},
    }


def _rounded(step: int) -> float:
    return round(milliseconds(step), 1)


def _counted(blocks: Sequence[tuple[int, int]]) -> dict[str, Any]:
    events, trials = _sums(blocks)
    return {"events": events, "trials": trials, "blocks": [list(block) for block in blocks]}


def _sums(blocks: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(events for events, _ in blocks), sum(trials for _, trials in blocks)


def probe_logs(site: Site, since: float, before: Mapping[str, Any], clock: Clock) -> tuple[list[Observation], float]:
    """Read what was logged since a moment; returns also the moment up to which.

    :param before: what `baseline` noted. Where it is silent, nothing is known to be new.
    """
    now = clock.now()
    until = now.timestamp()
    logs, unread = read_logs(site, min(since, until), until)
    observations = [unseen(PROBE, service, error, clock) for service, error in unread.items()]
    return observations + told(logs, before, since, timestamp(now)), until


def told(logs: Mapping[str, Log], before: Mapping[str, Any], since: float, at: str) -> list[Observation]:
    """What logs say that were read since a moment, by service; `before` as `probe_logs` has it."""
    observations = []
    for service, log in logs.items():
        for what, blocks in log.counts():
            events, trials = _sums(blocks)
            unit = what.strip() or "lines"
            detail = f"{events} errors in {trials} {unit} since {_clock_time(since)}"
            observations.append(
                Observation(PROBE, f"{service}{what}", at, events, unit, ok=True, detail=detail, of=trials)
            )
        observations += _known(service, log, before.get(PROBE, {}), at)
        observations += _new(service, log, before.get("signatures", {}).get(service), at)
        observations += _slow(service, log, before.get(LATENCY, {}).get(service), at)
    return observations


def _clock_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%H:%M:%S UTC")


def _new(service: str, log: Log, known: Sequence[str] | None, at: str) -> Iterator[Observation]:
    """The errors that were not there before the release, the most frequent ones."""
    lines = _sums(next(iter(log.counts()))[1])[1]
    fresh = [item for item in log.errors if item.digest not in set(known or ())]
    for item in fresh[:SHOWN]:
        few = known is None or item.count < MANY
        said = f"{item.count} times, new" if known is not None else f"{item.count} times, nothing to compare with"
        yield Observation(
            PROBE, _subject(service, item), at, item.count, "lines", few, f"{said}: {item.sample or OTHER}", lines
        )


def again(service: str, item: Signature) -> str:
    """The subject of an error that was there before the release: told by its digest, whatever is cut off."""
    return f"{service}{AGAIN}{item.digest}: {item.level} {item.text}"[:_SUBJECT]


def _known(service: str, log: Log, before: Iterable[str], at: str) -> Iterator[Observation]:
    """How often each error came that is counted by itself, also where it did not come."""
    counts = {item.digest: item.count for item in log.errors}
    said = _sums(next(iter(log.counts()))[1])[1]
    begins = f"{service}{AGAIN}"
    for subject in before:
        if subject.startswith(begins):
            events = counts.get(subject[len(begins) :].partition(":")[0], 0)
            detail = f"{events} times in {said} lines"
            yield Observation(PROBE, subject, at, events, "lines", ok=True, detail=detail, of=said)


def _subject(service: str, item: Signature) -> str:
    return f"{service}: {item.level} {item.text}"[:_SUBJECT]


def _slow(service: str, log: Log, usual: Mapping[str, Any] | None, at: str) -> Iterator[Observation]:
    """How many requests took longer than 95 of 100 did before."""
    if usual is None or not log.durations:
        return
    slow, requests = _sums(log.slower(int(usual["step"])))
    detail = f"{slow} of {requests} took over {usual['p95']:g} ms, as 5 in 100 did before"
    yield Observation(LATENCY, service, at, slow, "requests", ok=True, detail=detail, of=requests)
