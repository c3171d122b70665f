# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, in one line: its phase, for how long, and how long it took last time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.slipway.release.plugins.module_utils._clock import Clock

# A step that is over sooner is told by its result alone.
LONG = 1.0
# A terminal that is narrower shows nothing.
NARROWEST = 20
_NAMES = 2


@dataclass
class _Site:
    """A site while the run goes on.

    :param since: when its present step began; None between two steps.
    :param begun: when its phase began.
    :param seconds: how long the last deploy took there; None where nobody knows.
    :param phases: the same for each of its phases.
    """

    phase: str | None = None
    since: float | None = None
    begun: float = 0.0
    seconds: float | None = None
    phases: dict[str, float] = field(default_factory=dict)


class Progress:
    """Notes which site is at which phase. Only names and times are kept, nothing of what a task takes or returns."""

    def __init__(self, verb: str, clock: Clock | None = None) -> None:
        self._verb = verb
        self._clock = clock or Clock()
        self._began = self._clock.monotonic()
        self._sites: dict[str, _Site] = {}
        # steps end in another thread than the one that draws
        self._lock = threading.Lock()

    def begin(self, name: str, phase: str | None) -> None:
        """A step begins on a site."""
        now = self._clock.monotonic()
        with self._lock:
            site = self._sites.setdefault(name, _Site(begun=now))
            if phase is not None and phase != site.phase:
                site.phase, site.begun = phase, now
            site.since = now

    def end(self, name: str) -> None:
        """A step ended on a site."""
        with self._lock:
            if name in self._sites:
                self._sites[name].since = None

    def expect(self, name: str, told: object) -> None:
        """Take what preflight says of the last deploy of a site; what is of another shape says nothing."""
        if not isinstance(told, Mapping):
            return
        phases = told.get("phases")
        with self._lock:
            site = self._sites.setdefault(name, _Site(begun=self._clock.monotonic()))
            site.seconds = _figure(told.get("seconds"))
            known = phases.items() if isinstance(phases, Mapping) else ()
            site.phases = {str(phase): took for phase, took in ((key, _figure(value)) for key, value in known) if took}

    def line(self, width: int) -> str:
        """The line, no longer than `width`; empty where no step is a long one."""
        now = self._clock.monotonic()
        with self._lock:
            busy = {name: site for name, site in self._sites.items() if site.since is not None}
            slow = min(busy.values(), key=lambda site: site.since or now, default=None)
            if slow is None or now - (slow.since or now) < LONG or width < NARROWEST:
                return ""
            parts = [f"{self._verb} {_of(now - self._began, [site.seconds for site in busy.values()])}"]
            if slow.phase is not None:
                usual = [site.phases.get(slow.phase) for site in busy.values()]
                parts.append(f"{slow.phase} {_of(now - slow.begun, usual)}")
        names = sorted(busy)
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        text = "".join(char for char in ", ".join([*parts, *names[:_NAMES]]) + more if char.isprintable())
        return text if len(text) <= width else f"{text[: width - 4].rstrip()} ..."


def _figure(value: object) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return float(value) if good else None  # type: ignore[arg-type]  # good says that it is a number


def _of(seconds: float, usual: list[float | None]) -> str:
    """So long, of as long as the slowest of the sites took."""
    known = [value for value in usual if value is not None]
    return span(seconds) + (f" of about {span(max(known))}" if known else "")


def span(seconds: float) -> str:
    """Minutes and seconds, hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
