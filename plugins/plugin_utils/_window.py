# SPDX-License-Identifier: GPL-3.0-or-later
"""The agreed low-usage window, by the clock on the wall of the place where its customers are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from ansible_collections.slipway.release.plugins.module_utils._reader import Reader, like, one_of

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_WEEK = 8


@dataclass(frozen=True)
class Window:
    """When a release may come in.

    :param days: the days on which it opens, some of DAYS.
    :param begins: when it opens.
    :param ends: when it closes; on the next day where that is earlier than `begins`, or the same.
    :param zone: whose clock is meant.
    """

    days: tuple[str, ...]
    begins: time
    ends: time
    zone: ZoneInfo

    @property
    def description(self) -> str:
        """When it is open, in words."""
        days = "every day" if set(self.days) == set(DAYS) else ", ".join(self.days)
        return f"{days} {self.begins:%H:%M} to {self.ends:%H:%M} {self.zone.key}"

    def contains(self, moment: datetime) -> bool:
        """Whether it is open. Where clocks are set back, the hour that comes twice counts twice."""
        there = moment.astimezone(self.zone)
        today, yesterday = DAYS[there.weekday()], DAYS[there.weekday() - 1]
        clock = there.time()
        if self.begins < self.ends:
            return today in self.days and self.begins <= clock < self.ends
        return (today in self.days and clock >= self.begins) or (yesterday in self.days and clock < self.ends)

    def opens(self, moment: datetime) -> datetime:
        """When it opens next, by its own clock. A time that clocks skip is an hour later."""
        there = moment.astimezone(self.zone)
        days = (there.date() + timedelta(days=ahead) for ahead in range(_WEEK))
        candidates = (
            datetime.combine(day, self.begins, self.zone).astimezone(timezone.utc)
            for day in days
            if DAYS[day.weekday()] in self.days
        )
        return next(item for item in candidates if item > moment).astimezone(self.zone)


def read_window(reader: Reader) -> Window | None:
    """Read a window; what is wrong with it is noted in the reader."""
    days = reader.texts("days", one_of(DAYS), DAYS)
    clock = like(_TIME, 'must be a time as "22:00", in quotes')
    begins, ends = reader.text("from", clock, required=True), reader.text("to", clock, required=True)
    zone = reader.text("time_zone", _known_zone, required=True)
    if not days:
        reader.problem("days", f"must name a day, some of {', '.join(DAYS)}")
    if not days or not set(days) <= set(DAYS) or begins is None or ends is None or zone is None:
        return None
    if clock(begins) or clock(ends) or _known_zone(zone):
        return None
    return Window(days, time.fromisoformat(begins), time.fromisoformat(ends), ZoneInfo(zone))


def _known_zone(name: str) -> str | None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # a name that no file can have is a ValueError, a directory an OSError
        return f"must be a time zone that this controller knows, such as Europe/Berlin, not {name!r}"
    return None
