# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing seen. Probes make observations and judge nothing; the judge reads them and looks at nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any

from ._errors import SlipwayError, printable

PROBES = (
    "page",
    "health",
    "flow",
    "service",
    "worker",
    "cache",
    "migration",
    "backup",
    "rehearsal",
    "data",
    "schema",
    "stage",
    "switch",
    "rollback",
    "gate",
    "exposure",
    "vulnerability",
    "log",
    "job",
    "latency",
    "query",
    "figure",
)
# Subjects of the kind vulnerability: how many are new, and how many going back would bring back.
VULNERABILITY, NEW, WAY_BACK = "vulnerability", "new", "way back"
# An error in the logs that was there before the release too has the subject `SERVICE again DIGEST: LEVEL TEXT`.
AGAIN = " again "


class ObservationError(SlipwayError):
    """A mapping that is no observation."""


def timestamp(moment: datetime) -> str:
    """Write the moment in UTC with milliseconds, as observations carry it."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """Read an ISO 8601 time that has a zone.

    :raises ValueError: the text is not such a time.
    """
    moment = datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in {"Z", "z"} else text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


@dataclass(frozen=True)
class Observation:
    """One thing seen.

    :param probe: one of PROBES.
    :param subject: what was looked at, such as a path or a service.
    :param at: when, ISO 8601 in UTC.
    :param value: the figure seen; None when there is none.
    :param unit: the unit of `value`.
    :param ok: whether it is as it should be; None when it could not be seen.
    :param detail: one line for people, without secrets.
    :param of: of how many trials `value` counts the events; None when it counts none.
    """

    probe: str
    subject: str
    at: str
    value: float | None
    unit: str | None
    ok: bool | None
    detail: str
    of: float | None = None

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ObservationError(f"observation of {self.probe!r} {self.subject!r}: {problem}")
        # parts of them are the application's own words
        object.__setattr__(self, "subject", printable(self.subject))
        object.__setattr__(self, "detail", printable(self.detail))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Observation:
        """Read what `to_dict` wrote; ObservationError says what is wrong with anything else."""
        if not isinstance(mapping, Mapping):
            raise ObservationError(f"observation: must be a mapping, not {type(mapping).__name__}")
        names = [item.name for item in fields(cls)]
        missing = [name for name in names if name not in mapping and name != "of"]
        unknown = sorted(str(name) for name in mapping if name not in names)
        if missing or unknown:
            parts = [
                f"{label} {', '.join(found)}"
                for label, found in (("lacks", missing), ("has unknown", unknown))
                if found
            ]
            raise ObservationError(f"observation: {'; '.join(parts)}")
        return cls(**mapping)

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return asdict(self)


def _problem(item: Observation) -> str | None:
    wrong = [name for name in ("probe", "subject", "at", "detail") if not isinstance(getattr(item, name), str)]
    if wrong:
        return f"{wrong[0]} must be text"
    checks = (
        (item.probe in PROBES, f"probe must be one of {', '.join(PROBES)}"),
        (item.value is None or _is_number(item.value), "value must be a finite number or null"),
        (item.of is None or _is_count(item.of), "of must be a number of at least 0 or null"),
        (item.of is None or _is_count(item.value), "value must be a number of at least 0 where of is given"),
        (item.unit is None or _is(item.unit, str), "unit must be text or null"),
        (item.ok is None or _is(item.ok, bool), "ok must be true, false or null"),
        (_is_timestamp(item.at), f"at must be an ISO 8601 time with a zone, not {item.at!r}"),
    )
    return next((text for good, text in checks if not good), None)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: float | None) -> bool:
    return value is not None and _is_number(value) and value >= 0


def _is_timestamp(text: str) -> bool:
    try:
        parse_timestamp(text)
    except ValueError:
        return False
    return True
