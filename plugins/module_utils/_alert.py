# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells people what the host found out by itself: in a file always, by webhook and by mail where the profile says so.

What is to be told is noted before anybody is told, and forgotten when it was taken: a message may come twice, none is
lost. The file is for the operator's own tools.
"""

from __future__ import annotations

import json
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any

from ._delivery import DeliveryError, mail, post, trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ._profile import Alert, Mail

WEBHOOK, MAIL = "webhook", "mail"
_MOST_PENDING = 50


def channels(alert: Alert) -> list[str]:
    """Who is to be told, besides the file."""
    return [name for name, given in ((WEBHOOK, alert.webhook), (MAIL, alert.mail)) if given is not None]


def note(path: Path, message: Mapping[str, Any]) -> None:
    """Append a message to the file; only root may read it."""
    with path.open("a", encoding="utf-8") as stream:
        path.chmod(0o600)
        stream.write(json.dumps(message) + "\n")


def deliver(alert: Alert, pending: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Tell what is pending; returns what is pending still, and why.

    :param pending: mappings with `channel` and `message`; the oldest are given up where they are too many.
    """
    left: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    for item in list(pending)[-_MOST_PENDING:]:
        channel = item["channel"]
        # one that does not answer is not waited for twice
        if channel not in problems:
            try:
                _send(alert, channel, item["message"])
                continue
            except DeliveryError as error:
                problems[channel] = f"{channel}: {error}"
        left.append(dict(item))
    return left, sorted(problems.values())


def _send(alert: Alert, channel: str, message: Mapping[str, Any]) -> None:
    """Tell one message; nothing to do where the profile names the channel no more."""
    trusted = trust(alert.ca_file)
    if channel == WEBHOOK and alert.webhook is not None:
        post(alert.webhook, message, trusted)
    if channel == MAIL and alert.mail is not None:
        mail(alert.mail, _letter(alert.mail, message), trusted)


def _letter(settings: Mail, message: Mapping[str, Any]) -> EmailMessage:
    letter = EmailMessage()
    letter["From"], letter["To"] = settings.sender, ", ".join(settings.to)
    letter["Subject"] = f"{message['application']} on {message['host']}: {message['event']}"
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=settings.sender.rpartition("@")[2])
    letter.set_content("\n".join(f"{name}: {value}" for name, value in message.items()) + "\n")
    return letter
