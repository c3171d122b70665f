# SPDX-License-Identifier: GPL-3.0-or-later
"""A health document, read strictly: what it does not say clearly and freshly does not count as healthy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ._clock import Clock
from ._http import HttpError, Response
from ._observation import Observation, parse_timestamp, timestamp
from ._profile import Health, HealthMinimum, HealthServices
from ._session import LoginError, Session, Visitor

SKEW_WORTH_SAYING = 2.0
SKEW_ALLOWED = timedelta(seconds=60)
_MISSING = object()


@dataclass(frozen=True)
class _Part:
    subject: str
    problem: str | None
    said: str
    value: float | None = None
    unit: str | None = None

    def observation(self, at: str) -> Observation:
        detail = self.problem or self.said
        return Observation("health", self.subject, at, self.value, self.unit, ok=not self.problem, detail=detail)


def probe_health(session: Session, health: Health, clock: Clock, since: datetime | None) -> list[Observation]:
    """Read the health document: one observation for each service it lists, then one for the whole.

    :param since: a document made before this moment says nothing about the release that runs now.
    """
    seconds: float | None = None
    parts: list[_Part] = []
    try:
        visitor = session.visitor()
        answer = visitor.get(health.path)
        seconds = round(answer.seconds, 3)
        document = _document(visitor, answer)
    except (LoginError, HttpError, _UnreadableError) as error:
        problems = [str(error)]
    else:
        parts, problems = _read(health, document, answer, clock, since)
    at = timestamp(clock.now())
    whole = [*problems, *(f"{part.subject}: {part.problem}" for part in parts if part.problem)]
    observations = [
        Observation(
            "health", part.subject, at, part.value, part.unit, ok=not part.problem, detail=part.problem or part.said
        )
        for part in parts
    ]
    detail = "; ".join(whole) or f"healthy, {len(parts)} services"
    unit = None if seconds is None else "s"
    return [*observations, Observation("health", health.path, at, seconds, unit, ok=not whole, detail=detail)]


class _UnreadableError(Exception):
    pass


def _document(visitor: Visitor, answer: Response) -> dict[str, Any]:
    wrong = visitor.wrong(answer, (200,))
    if wrong:
        raise _UnreadableError(wrong)
    try:
        document = json.loads(answer.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        kind = (answer.header("content-type") or "without content type").partition(";")[0]
        raise _UnreadableError(f"not JSON ({kind[:60]})") from error
    if not isinstance(document, dict):
        raise _UnreadableError(f"JSON, but {type(document).__name__} instead of an object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _read(
    health: Health, document: dict[str, Any], answer: Response, clock: Clock, since: datetime | None
) -> tuple[list[_Part], list[str]]:
    problems = []
    status = _at(document, health.status.pointer)
    if not _among(status, health.status.healthy):
        problems.append(f"{health.status.pointer} is {_shown(status)}, expected {_either(health.status.healthy)}")
    if health.checked_at is not None:
        problem = _age(_at(document, health.checked_at.pointer), health.checked_at.pointer, answer, clock, since)
        problems += [problem] if problem else []
    minimums = list(health.minimums)
    parts: list[_Part] = []
    if health.services is not None:
        parts = _services(health.services, document, minimums)
        if not parts:
            problems.append(f"{health.services.pointer} lists no services")
    for minimum in minimums:
        _value, problem = _minimum(document, minimum)
        problems += [problem] if problem else []
    return parts, problems


def _services(rules: HealthServices, document: dict[str, Any], minimums: list[HealthMinimum]) -> list[_Part]:
    """Read each service; takes the minimums that concern one of them out of the list."""
    services = _at(document, rules.pointer)
    parts = []
    for name, service in services.items() if isinstance(services, dict) else ():
        status = service.get(rules.status, _MISSING) if isinstance(service, dict) else service
        said = _shown(status)
        wrong = [] if _among(status, rules.healthy) else [f"{said}, expected {_either(rules.healthy)}"]
        value = unit = None
        prefix = f"{rules.pointer}/{_escaped(name)}/"
        for minimum in [item for item in minimums if item.pointer.startswith(prefix)]:
            minimums.remove(minimum)
            value, problem = _minimum(document, minimum)
            unit = None if value is None else minimum.pointer.rpartition("/")[2]
            wrong += [problem] if problem else []
        parts.append(_Part(str(name)[:80], ", ".join(wrong) or None, said, value, unit))
    return parts


def _minimum(document: dict[str, Any], minimum: HealthMinimum) -> tuple[float | None, str | None]:
    value = _at(document, minimum.pointer)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None, f"{minimum.pointer} is {_shown(value)}, expected a number"
    if value < minimum.at_least:
        return value, f"{minimum.pointer} is {value:g}, expected at least {minimum.at_least:g}"
    return value, None


def _age(value: object, pointer: str, answer: Response, clock: Clock, since: datetime | None) -> str | None:
    try:
        checked_at = parse_timestamp(value if isinstance(value, str) else "")
    except ValueError:
        return f"{pointer} is {_shown(value)}, expected an ISO 8601 time with a zone"
    now = clock.now()
    skew = _skew(answer, now)
    if checked_at - now > SKEW_ALLOWED:
        return f"checked {(checked_at - now).total_seconds():.0f} s in the future{skew}"
    # A time in whole seconds was cut off, so it is compared with a moment that is cut off alike.
    least = since if since is None or checked_at.microsecond else since.replace(microsecond=0)
    if least is not None and checked_at < least:
        return (
            f"checked at {timestamp(checked_at)}, {(least - checked_at).total_seconds():.1f} s "
            f"before {timestamp(least)}: it says nothing about the release that runs now{skew}"
        )
    return None


def _skew(answer: Response, now: datetime) -> str:
    try:
        date = parsedate_to_datetime(answer.header("date") or "")
    except (TypeError, ValueError, IndexError):
        return ""
    skew = (date.replace(tzinfo=date.tzinfo or timezone.utc) - now).total_seconds()
    if abs(skew) < SKEW_WORTH_SAYING:
        return ""
    return f" (the application's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this one)"


def _at(document: object, pointer: str) -> object:
    found = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key[:9]) < len(found):
            found = found[int(key[:9])]
        else:
            return _MISSING
    return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _among(value: object, healthy: tuple[str | int | bool, ...]) -> bool:
    return any(type(value) is type(item) and value == item for item in healthy)


def _either(healthy: tuple[str | int | bool, ...]) -> str:
    return " or ".join(_shown(item) for item in healthy)


def _shown(value: object) -> str:
    if value is _MISSING:
        return "missing"
    if isinstance(value, (dict, list)):
        return "a list" if isinstance(value, list) else "an object"
    return (value if isinstance(value, str) else json.dumps(value))[:80] or "empty"
