# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells people what the host found out by itself: in a file always, by webhook and by mail where the profile says so.

What is to be told is noted before anybody is told, and forgotten when it was taken: a message may come twice, none is
lost. The file is for the operator's own tools.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ._profile import Alert, Mail

WEBHOOK, MAIL = "webhook", "mail"
_TIMEOUT = 15.0
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
            except (OSError, HTTPException, smtplib.SMTPException, ValueError) as error:
                problems[channel] = f"{channel}: {type(error).__name__}"
        left.append(dict(item))
    return left, sorted(problems.values())


def _send(alert: Alert, channel: str, message: Mapping[str, Any]) -> None:
    """Tell one message; nothing to do where the profile names the channel no more."""
    trusted = ssl.create_default_context(cafile=alert.ca_file)
    if channel == WEBHOOK and alert.webhook is not None:
        body = json.dumps(message).encode()
        request = urllib.request.Request(alert.webhook, body, {"Content-Type": "application/json"})  # noqa: S310 - the profile allows http and https alone
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=trusted) as answer:  # noqa: S310 - as above
            answer.read(1)
    if channel == MAIL and alert.mail is not None:
        _mail(alert.mail, trusted, message)


def _mail(mail: Mail, trusted: ssl.SSLContext, message: Mapping[str, Any]) -> None:
    letter = EmailMessage()
    letter["From"], letter["To"] = mail.sender, ", ".join(mail.to)
    letter["Subject"] = f"{message['application']} on {message['host']}: {message['event']}"
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=mail.sender.rpartition("@")[2])
    letter.set_content("\n".join(f"{name}: {value}" for name, value in message.items()) + "\n")
    always = mail.tls == "always"
    with (
        smtplib.SMTP_SSL(mail.server, mail.port, timeout=_TIMEOUT, context=trusted)
        if always
        else smtplib.SMTP(mail.server, mail.port, timeout=_TIMEOUT)
    ) as server:
        if mail.tls == "starttls":
            server.starttls(context=trusted)
        if mail.user is not None and mail.password is not None:
            server.login(mail.user, mail.password)
        server.send_message(letter)
