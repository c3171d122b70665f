# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a site's customer of a release: reads what is asked for, renders it, and hands it over by each channel once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Callable

from ansible_collections.slipway.release.plugins.module_utils._changelog import CustomerNotes, customer_notes, parse
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._delivery import DeliveryError, mail, post, trust
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.module_utils._profile import Mail
from ansible_collections.slipway.release.plugins.module_utils._reader import Reader
from ansible_collections.slipway.release.plugins.module_utils._scrub import scrubbed

from ._announcement import (
    OF_A_RUN,
    ROLLBACK,
    SUCCESS,
    TELL_NOTES,
    WINDOW,
    AnnounceError,
    Announcement,
    Channels,
    Text,
    read_announcement,
    read_channels,
    render,
    safe_name,
    with_notes,
)
from ._outbox import FAILED, SENT, UNKNOWN, Entry, Outbox

MAIL, WEBHOOK, FILE = "mail", "webhook", "file"
PREVIEW = "preview"
_SECRET = (("mail", "to"), ("mail", "user"), ("mail", "password"), ("webhook",))


@dataclass(frozen=True)
class Request:
    """What is asked for.

    :param run: the run at work; None by hand.
    :param changelog: the application's changelog on the controller; `notes` is what was read of it already.
    :param preview: render to files, send nothing.
    :param resend: send again what may be there already.
    """

    announcement: Announcement
    channels: Channels
    outbox: Path
    templates: Path
    run: str | None = None
    changelog: Path | None = None
    notes: CustomerNotes | None = None
    preview: bool = True
    resend: bool = False


@dataclass(frozen=True)
class Told:
    """What came of it, by channel."""

    announced: list[dict[str, Any]]
    problems: list[str]
    changed: bool = False


def read(given: Mapping[str, Any]) -> Request:
    """Read the variables of the role announce.

    :raises AnnounceError: listing every problem, each with its path; no address or password among them.
    """
    problems: list[str] = []
    reader = Reader("announce", given, problems)
    announcement = read_announcement(reader)
    channels = reader.inside("channels", read_channels, required=True) or Channels()
    run, changelog = reader.text("run"), reader.text("changelog")
    outbox, templates = reader.text("outbox", required=True), reader.text("templates", required=True)
    preview, resend = reader.flag("preview", default=True), reader.flag("resend", default=False)
    notes = reader.inside("notes", _customer_notes)
    ledger = reader.raw("ledger")
    if announcement.event in {SUCCESS, ROLLBACK}:
        if isinstance(ledger, Mapping) and "current" in ledger:
            announcement = _true(announcement, ledger["current"], problems)
        else:
            reader.problem("ledger", f"is required for the event {announcement.event}: what stands on the site")
    reader.refuse_unknown()
    if problems:
        raise AnnounceError(str(scrubbed("; ".join(problems), secrets(given))))
    return Request(
        announcement,
        channels,
        Path(outbox or ""),
        Path(templates or ""),
        run,
        None if changelog is None else Path(changelog),
        notes,
        preview,
        resend,
    )


def secrets(given: Mapping[str, Any]) -> set[str]:
    """The texts of the variables that nobody is to see: addresses, passwords, and an URL that may hold a token."""
    found: set[str] = set()
    for path in _SECRET:
        value: object = given.get("channels")
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        found.update(str(item) for item in (value if isinstance(value, list) else [value]) if item)
    return found


def announce(request: Request, clock: Clock | None = None) -> Told:
    """Render an announcement, and send it by every channel by which it was not sent yet.

    :raises SlipwayError: nothing was sent, for a reason that concerns every channel.
    """
    clock = clock or Clock()
    outbox = Outbox(request.outbox, request.announcement.site, clock)
    with outbox.locked():
        it = replace(with_notes(request.announcement, _notes(request)), about=_about(request, outbox))
        text = render(it, request.templates, clock.now().date())
        if request.preview:
            return _preview(outbox, it, text, request.channels)
        return _send(outbox, it, text, request, clock)


def _true(announcement: Announcement, current: object, problems: list[str]) -> Announcement:
    """The announcement with what stands, unless it is not true."""
    stands = current == announcement.release
    if stands != (announcement.event == SUCCESS):
        word = "stands" if stands else "does not stand"
        site, release = announcement.site, announcement.release
        problems.append(f"{release} {word} on {site}: {announcement.event} would not be true, nothing was announced")
    return replace(announcement, standing=str(current) if current and not stands else None)


def _customer_notes(reader: Reader) -> CustomerNotes | None:
    """Read the notes as preflight hands them on."""
    version, date = reader.text("version", required=True), reader.text("date", required=True)
    kinds = ("new", "breaking", "action_required", "fixed", "known_issues")
    told = {kind: reader.texts(kind, lambda _: None, repeated=True) for kind in kinds}
    return None if version is None or date is None else CustomerNotes(version, date, **told)


def _notes(request: Request) -> CustomerNotes | None:
    """The entry of the release; read only where it is told."""
    path = request.changelog
    if path is None:
        return request.notes
    if request.announcement.event not in TELL_NOTES:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text in UTF-8"
        raise AnnounceError(f"announce.changelog: {path}: {reason}") from error
    return customer_notes(parse(text, request.announcement.release))


def _about(request: Request, outbox: Outbox) -> str:
    announcement = request.announcement
    if announcement.event in OF_A_RUN:
        return outbox.run_of(announcement, request.run)
    # the notes alone are told once a release, whenever its window is
    window = announcement.window if announcement.event == WINDOW else None
    return "" if window is None else "/".join(window.to_dict().values())


def _preview(outbox: Outbox, announcement: Announcement, text: Text, channels: Channels) -> Told:
    place = outbox.directory / PREVIEW
    try:
        path = _write(place, f"{announcement.event}-{safe_name(announcement.release)}", announcement, text)
    except OSError as error:
        raise AnnounceError(f"the preview cannot be written: {error}") from error
    announced = []
    for channel in _channels(channels):
        entry = outbox.known(announcement, channel)
        before = f"{entry.state} before" if entry is not None else "not sent yet"
        announced.append(_told(announcement, channel, PREVIEW, f"{path}, {before}"))
    return Told(announced, [])


def _send(outbox: Outbox, announcement: Announcement, text: Text, request: Request, clock: Clock) -> Told:
    announced, problems, changed = [], [], False
    for channel in _channels(request.channels):
        hand_over = _hand_over(channel, announcement, text, request.channels, clock)
        # a file that is written again is the same file
        entry, tried = outbox.deliver(announcement, channel, hand_over, resend=request.resend or channel == FILE)
        changed |= tried and entry.state == SENT
        done_before = f"on {entry.changed}, not again" if entry.state == SENT and not tried else None
        announced.append(_told(announcement, channel, entry.state, entry.detail or done_before))
        problems += _problem(entry)
    return Told(announced, problems, changed)


def _told(announcement: Announcement, channel: str, state: str, detail: str | None) -> dict[str, Any]:
    named = {"event": announcement.event, "release": announcement.release}
    return {**named, "channel": channel, "state": state, "detail": detail}


def _problem(entry: Entry) -> list[str]:
    what = f"{entry.event} of {entry.release} by {entry.channel}"
    if entry.state == FAILED:
        return [f"{what} failed: {entry.detail}; run it again"]
    if entry.state == UNKNOWN:
        way_out = "find out, then announce_resend=true sends it again under the same id"
        return [f"{what} may have been sent or not: {entry.detail}; {way_out}"]
    return []


def _channels(channels: Channels) -> list[str]:
    given = ((MAIL, channels.mail), (WEBHOOK, channels.webhook), (FILE, channels.directory))
    return [name for name, value in given if value is not None]


def _hand_over(
    channel: str, announcement: Announcement, text: Text, channels: Channels, clock: Clock
) -> Callable[[], str | None]:
    """What hands an announcement over by a channel; it raises DeliveryError alone."""

    def by_mail(server: Mail, made: EmailMessage) -> str | None:
        refused = mail(server, made, trust(channels.ca_file))
        return f"{refused} of {len(server.to)} addresses were refused" if refused else None

    def by_webhook(url: str) -> None:
        message = {**announcement.to_dict(), "subject": text.subject, "text": text.text}
        post(url, message, trust(channels.ca_file))

    def as_file(directory: str) -> str:
        named = (announcement.site, announcement.release, announcement.event)
        try:
            return str(_write(Path(directory), "-".join(map(safe_name, named)), announcement, text))
        except OSError as error:
            raise DeliveryError(error.strerror or type(error).__name__, may_be_there=False) from error

    if channel == MAIL and channels.mail is not None:
        server, made = channels.mail, letter(announcement, text, channels.mail, clock)
        return lambda: by_mail(server, made)
    if channel == WEBHOOK and channels.webhook is not None:
        url = channels.webhook
        return lambda: by_webhook(url)
    return lambda: as_file(channels.directory or "")


def letter(announcement: Announcement, text: Text, server: Mail, clock: Clock) -> EmailMessage:
    """The announcement as a mail: its text, and the same as HTML."""
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"], made["Subject"] = server.sender, ", ".join(server.to), text.subject
    made["Date"] = format_datetime(clock.now())
    made["Message-ID"] = f"<{announcement.id}@{server.sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text.text)
    made.add_alternative(text.html, subtype="html")
    return made


def _write(directory: Path, stem: str, announcement: Announcement, text: Text) -> Path:
    """Write an announcement as text, HTML and JSON; returns the text's path."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = json.dumps({**announcement.to_dict(), "subject": text.subject}, indent=1, ensure_ascii=False) + "\n"
    contents = {"html": text.html, "json": data, "txt": f"{text.subject}\n\n{text.text}"}
    for ending, content in contents.items():
        write_file(directory / f"{stem}.{ending}", content.encode())
    return directory / f"{stem}.txt"
