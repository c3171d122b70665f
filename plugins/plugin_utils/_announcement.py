# SPDX-License-Identifier: GPL-3.0-or-later
"""What customers are told of a release, and how it reads: subject, text, HTML, and plain data for a webhook."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._changelog import CustomerNotes
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._plan_adopt import VERSION
from ansible_collections.slipway.release.plugins.module_utils._profile import Mail, read_mail, webhook_url
from ansible_collections.slipway.release.plugins.module_utils._reader import Reader, like, one_of
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from ._release_notes import parts, plain

WINDOW, START, SUCCESS, ROLLBACK, NOTES = "window", "start", "success", "rollback", "notes"
EVENTS = (WINDOW, START, SUCCESS, ROLLBACK, NOTES)
# Events that tell what a release brings, and those that belong to a run.
TELL_NOTES, OF_A_RUN = (WINDOW, SUCCESS, NOTES), (START, SUCCESS, ROLLBACK)
_TEMPLATES = ("announcement.txt.j2", "announcement.html.j2")


class AnnounceError(SlipwayError):
    """Variables that make no sense, or a message that cannot be made of them; one line."""


@dataclass(frozen=True)
class Window:
    """When the work is done; both times have a zone."""

    begins: datetime
    ends: datetime

    def __str__(self) -> str:
        """The window for people, in the zone that it was written in."""
        same_day = self.begins.date() == self.ends.date()
        until = f"{self.ends:%H:%M}" if same_day else f"{_day(self.ends)}, {self.ends:%H:%M}"
        return f"{_day(self.begins)}, {self.begins:%H:%M} to {until} ({self.begins.tzname()})"

    def to_dict(self) -> dict[str, str]:
        """Return both times as ISO 8601."""
        return {"from": self.begins.isoformat(), "until": self.ends.isoformat()}


@dataclass(frozen=True)
class Support:
    """Who helps after a release, for how many days more than usual.

    :param contact: an address or a telephone number.
    :param feedback: an address or an URL that takes what customers think.
    """

    contact: str
    hours: str | None = None
    feedback: str | None = None
    days: int = 7


@dataclass(frozen=True)
class Channels:
    """How a site's customer is reached; the values are secret.

    :param directory: where a file is put for whoever hands it over.
    """

    mail: Mail | None = None
    webhook: str | None = None
    directory: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class Announcement:
    """One thing that a site's customer is told.

    :param product: what the customer calls the application.
    :param about: the run or the window that it is about; with site, release and event it names the announcement.
    :param standing: the release that is in service after a rollback; None when none is.
    """

    event: str
    site: str
    application: str
    product: str
    release: str
    about: str = ""
    standing: str | None = None
    window: Window | None = None
    notes: CustomerNotes | None = None
    support: Support | None = None

    @property
    def id(self) -> str:
        """The same for the same announcement, whoever makes it and whenever."""
        named = (self.site, self.application, self.release, self.event, self.about)
        return hashlib.sha256("\0".join(named).encode()).hexdigest()[:32]

    def to_dict(self) -> dict[str, Any]:
        """Return what a webhook is told, ready for JSON."""
        return {
            "id": self.id,
            "event": self.event,
            "site": self.site,
            "application": self.application,
            "product": self.product,
            "release": self.release,
            "standing": self.standing,
            "window": None if self.window is None else self.window.to_dict(),
            "notes": None if self.notes is None else asdict(self.notes),
            "support": None if self.support is None else asdict(self.support),
        }


@dataclass(frozen=True)
class Text:
    """An announcement in words."""

    subject: str
    text: str
    html: str


def read_channels(reader: Reader) -> Channels:
    """Read how a customer is reached."""
    found = Channels(
        reader.inside("mail", read_mail),
        reader.text("webhook", webhook_url),
        reader.text("file"),
        reader.text("ca_file"),
    )
    if not any(reader.has(name) for name in ("mail", "webhook", "file")):
        reader.problem("", "must name a mail, a webhook or a file: nobody would be told")
    return found


def read_announcement(reader: Reader) -> Announcement:
    """Read what is to be told, but for the notes."""
    event = reader.text("event", one_of(EVENTS), required=True)
    window = reader.inside("window", _window)
    if event == WINDOW and not reader.has("window"):
        reader.problem("window", "is required for the event window: {from: 2026-12-01T22:00+01:00, until: ...}")
    application = reader.text("application", required=True) or ""
    return Announcement(
        event or "",
        reader.text("site", required=True) or "",
        application,
        reader.text("product") or application,
        reader.text("release", _version, required=True) or "",
        standing=reader.text("standing", _version),
        window=window,
        support=reader.inside("support", _support),
    )


def with_notes(announcement: Announcement, notes: CustomerNotes | None) -> Announcement:
    """The announcement with the notes, where it tells them.

    :raises AnnounceError: notes alone are to be told, and there are none.
    """
    if notes is None and announcement.event == NOTES:
        raise AnnounceError(f"there are no notes of {announcement.release}: announce_changelog names the changelog")
    return replace(announcement, notes=notes if announcement.event in TELL_NOTES else None)


def render(announcement: Announcement, templates: Path, today: date) -> Text:
    """Put an announcement into words; the first line of the text is its subject.

    :raises AnnounceError: a template is not there, or wrong.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = plain
    support = announcement.support
    facts = {
        "it": announcement,
        "parts": [] if announcement.notes is None else parts(announcement.notes),
        "support_until": None if support is None else _day(today + timedelta(days=support.days)),
    }
    try:
        text, html = (environment.get_template(name).render(facts) for name in _TEMPLATES)
    except (TemplateError, OSError, UnicodeError, ValueError, TypeError) as error:
        raise AnnounceError(f"{templates}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    subject, _, body = text.partition("\n")
    return Text(" ".join(subject.split()), body.strip("\n") + "\n", html)


def _day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B %Y}"


_version = like(VERSION, "must be a release version: letters, digits, . _ - only")
_MOST_DAYS = 365


def _moment(value: str) -> str | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return f"must be a time with a zone as 2026-12-01T22:00+01:00, not {value!r}"
    return None if moment.tzinfo else f"must name its zone, as 2026-12-01T22:00+01:00, not {value!r}"


def _window(reader: Reader) -> Window | None:
    begins, ends = reader.text("from", _moment, required=True), reader.text("until", _moment, required=True)
    if begins is None or ends is None or _moment(begins) or _moment(ends):
        return None
    found = Window(datetime.fromisoformat(begins), datetime.fromisoformat(ends))
    if found.ends <= found.begins:
        reader.problem("until", "must come after from")
    return found


def _support(reader: Reader) -> Support | None:
    contact, hours = reader.text("contact", required=True), reader.text("hours")
    feedback, days = reader.text("feedback"), reader.number("days", Support.days, least=1, most=_MOST_DAYS)
    return None if contact is None else Support(contact, hours, feedback, int(days or Support.days))


def safe_name(text: str) -> str:
    """A text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".")[:60] or "_"
