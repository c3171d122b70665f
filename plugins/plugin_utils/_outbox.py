# SPDX-License-Identifier: GPL-3.0-or-later
"""What was sent to customers, written down before it is sent, so that nothing is sent twice.

OUTBOX/SITE/lock                             one at a time
OUTBOX/SITE/EVENT-RELEASE-CHANNEL-ID.json    one announcement by one channel:
                                             prepared -> sending -> sent, failed or unknown

Who dies while sending leaves `sending`: nobody knows whether the customer has it. That becomes `unknown`, which is
shown and sent again only where a person says so, under the same id.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Callable

from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._delivery import DeliveryError
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.module_utils._observation import parse_timestamp, timestamp

from ._announcement import OF_A_RUN, START, AnnounceError, Announcement, safe_name

PREPARED, SENDING, SENT, FAILED, UNKNOWN = "prepared", "sending", "sent", "failed", "unknown"
STATES = (PREPARED, SENDING, SENT, FAILED, UNKNOWN)
DIED = "whoever sent it died on the way"
# A run that began and was never heard of again is gone on with by the next one within this time.
_GOES_ON = timedelta(hours=12)


@dataclass(frozen=True)
class Entry:
    """One announcement by one channel. No address stands here.

    :param id: the announcement's; the same one by another channel has it too.
    :param about: the run or the window that it is about.
    :param at: when it was first prepared; `changed` is when it came into its state.
    :param detail: why it is in its state, where that needs words.
    """

    id: str
    site: str
    application: str
    release: str
    event: str
    about: str
    channel: str
    state: str
    at: str
    changed: str
    attempts: int = 0
    detail: str | None = None


class Outbox:
    """The outbox of one site. Use it inside `locked`."""

    def __init__(self, root: Path, site: str, clock: Clock | None = None) -> None:
        self.directory = root / safe_name(site)
        self._clock = clock or Clock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the outbox alone; another run waits.

        :raises AnnounceError: it cannot be written.
        """
        try:
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
            held = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise AnnounceError(f"the outbox cannot be used: {error}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)

    def entries(self) -> list[Entry]:
        """All entries, the oldest first."""
        found = (self._read(path) for path in self.directory.glob("*.json"))
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.at)

    def told(self, application: str, release: str) -> list[dict[str, str | None]]:
        """What customers were told of a release, the newest first; who reads it needs no lock and changes nothing."""
        found: list[dict[str, str | None]] = []
        for path in self.directory.glob("*.json"):
            try:
                entry = self._read(path)
            except AnnounceError as error:
                if f"-{safe_name(release)}-" in path.name:
                    found.append({"at": None, "event": None, "channel": None, "state": UNKNOWN, "detail": str(error)})
                continue
            if entry is not None and (entry.application, entry.release) == (application, release):
                state, detail = (UNKNOWN, DIED) if entry.state == SENDING else (entry.state, entry.detail)
                told = {"event": entry.event, "channel": entry.channel, "state": state, "detail": detail}
                found.append({"at": entry.changed, **told})
        return sorted(found, key=lambda item: item["at"] or "", reverse=True)

    def run_of(self, announcement: Announcement, run: str | None) -> str:
        """The run that an announcement is about.

        A run that goes on with one that died is the same for the customer, who was told of its start. By hand the
        last one is meant.

        :param run: the run at work; None by hand.
        """
        of = (announcement.site, announcement.application, announcement.release)
        mine = [
            entry
            for entry in self.entries()
            if (entry.site, entry.application, entry.release) == of and entry.event in OF_A_RUN
        ]
        last = mine[-1] if mine else None
        if last is None:
            return run or "by hand"
        recent = self._clock.now() - parse_timestamp(last.at) <= _GOES_ON
        return last.about if run is None or (last.event == START and recent) else run

    def deliver(
        self, announcement: Announcement, channel: str, hand_over: Callable[[], str | None], *, resend: bool = False
    ) -> tuple[Entry, bool]:
        """Hand an announcement over by a channel, unless that was done.

        Returns its entry, and whether it was tried now.

        :param hand_over: returns what is to be noted beside it; DeliveryError when it fails.
        :param resend: send what may be there already.
        """
        path = self._place(announcement, channel)
        entry = self._read(path) or self._prepare(path, announcement, channel)
        if entry.state == SENDING:
            entry = self._become(path, entry, UNKNOWN, DIED)
        if entry.state == SENT or (entry.state == UNKNOWN and not resend):
            return entry, False
        entry = self._become(path, replace(entry, attempts=entry.attempts + 1), SENDING)
        try:
            detail = hand_over()
        except DeliveryError as error:
            return self._become(path, entry, UNKNOWN if error.may_be_there else FAILED, str(error)), True
        return self._become(path, entry, SENT, detail), True

    def known(self, announcement: Announcement, channel: str) -> Entry | None:
        """What was written down of an announcement by a channel."""
        return self._read(self._place(announcement, channel))

    def _place(self, announcement: Announcement, channel: str) -> Path:
        name = f"{announcement.event}-{safe_name(announcement.release)}-{channel}-{announcement.id[:12]}.json"
        return self.directory / name

    def _prepare(self, path: Path, announcement: Announcement, channel: str) -> Entry:
        now = timestamp(self._clock.now())
        it = announcement
        about = (it.site, it.application, it.release, it.event, it.about)
        return self._write(path, Entry(it.id, *about, channel, PREPARED, now, now))

    def _become(self, path: Path, entry: Entry, state: str, detail: str | None = None) -> Entry:
        return self._write(path, replace(entry, state=state, changed=timestamp(self._clock.now()), detail=detail))

    @staticmethod
    def _write(path: Path, entry: Entry) -> Entry:
        try:
            write_file(path, (json.dumps(asdict(entry), indent=1) + "\n").encode())
        except OSError as error:
            raise AnnounceError(f"the outbox cannot be written: {error}") from error
        return entry

    @staticmethod
    def _read(path: Path) -> Entry | None:
        try:
            entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
            parse_timestamp(entry.at)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            reason = type(error).__name__
            raise AnnounceError(
                f"{path} is damaged ({reason}): whether it was sent is not known; move it away"
            ) from error
        if entry.state not in STATES:
            raise AnnounceError(f"{path} is damaged (state {entry.state!r}): move it away")
        return entry
