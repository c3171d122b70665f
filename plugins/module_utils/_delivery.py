# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands a message to a webhook or to a mail server, and knows whether anybody may have it when that fails.

What is said of a failure names no address and no URL: they may hold a token, or belong to a customer.
"""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Callable
from urllib.error import HTTPError, URLError

from ._errors import SlipwayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import EmailMessage

    from ._profile import Mail

TIMEOUT = 15.0
# From here on a receiver says that it failed itself, perhaps after it had taken the message.
_THEIR_FAULT = 500
# Whoever has taken a POST may answer where to look next.
_DONE = (302, 303)


class DeliveryError(SlipwayError):
    """A message that was not handed over, as far as is known.

    :param may_be_there: it may have been taken all the same: who sends it again may send it twice.
    """

    def __init__(self, reason: str, *, may_be_there: bool) -> None:
        self.may_be_there = may_be_there
        super().__init__(reason)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would go on as a GET, without the message."""

    def redirect_request(self, *_arguments: object) -> None:
        return None


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Whom a delivery trusts: the system's certificates, or those in a file instead.

    :raises DeliveryError: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise DeliveryError(f"{ca_file} holds no certificates: {_named(error)}", may_be_there=False) from error


def post(url: str, message: Mapping[str, Any], trusted: ssl.SSLContext) -> None:
    """Hand a message to a webhook as JSON.

    :raises DeliveryError: it was not taken, or it is not known.
    """
    body = json.dumps(message).encode()
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=trusted))
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - whoever reads the settings allows http and https alone
        opener.open(request, timeout=TIMEOUT).close()
    except HTTPError as error:
        error.close()
        raise DeliveryError(
            f"HTTP {error.code}", may_be_there=error.code >= _THEIR_FAULT or error.code in _DONE
        ) from None
    except URLError as error:
        # raised while the request was being sent: nobody has all of it
        raise DeliveryError(_named(error.reason), may_be_there=False) from None
    except (OSError, HTTPException) as error:
        raise DeliveryError(_named(error), may_be_there=True) from None
    except ValueError as error:
        raise DeliveryError(_named(error), may_be_there=False) from None


def mail(server: Mail, letter: EmailMessage, trusted: ssl.SSLContext) -> int:
    """Hand a letter to a mail server; returns how many of its addresses were refused, where others were taken.

    :raises DeliveryError: nobody was taken, or it is not known.
    """
    try:
        connection = _connect(server, trusted)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise DeliveryError(_named(error), may_be_there=False) from None
    try:
        return len(connection.send_message(letter))
    except (
        smtplib.SMTPResponseException,
        smtplib.SMTPRecipientsRefused,
        smtplib.SMTPNotSupportedError,
        ValueError,
    ) as error:
        raise DeliveryError(_named(error), may_be_there=False) from None
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryError(_named(error), may_be_there=True) from None
    finally:
        # the letter is there or not, whatever comes of taking leave
        with suppress(OSError, smtplib.SMTPException):
            connection.quit()
        connection.close()


def _connect(server: Mail, trusted: ssl.SSLContext) -> smtplib.SMTP:
    connection = (
        smtplib.SMTP_SSL(server.server, server.port, timeout=TIMEOUT, context=trusted)
        if server.tls == "always"
        else smtplib.SMTP(server.server, server.port, timeout=TIMEOUT)
    )
    try:
        if server.tls == "starttls":
            connection.starttls(context=trusted)
        if server.user is not None and server.password is not None:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


def _named(error: object) -> str:
    """What failed, in words that hold no address: a server's answer often repeats one."""
    for kind, word in _WORDS:
        if isinstance(error, kind):
            return word(error)
    return type(error).__name__


_WORDS: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (
        smtplib.SMTPRecipientsRefused,
        lambda error: f"every address was refused ({_codes(code for code, _ in error.recipients.values())})",
    ),
    (smtplib.SMTPAuthenticationError, lambda error: f"the login was refused ({error.smtp_code})"),
    (smtplib.SMTPResponseException, lambda error: f"the server refused it ({error.smtp_code})"),
    (smtplib.SMTPNotSupportedError, lambda _: "the server offers no TLS, or no login, or takes no such address"),
    (ssl.SSLCertVerificationError, lambda error: f"its certificate is not trusted ({error.verify_message})"),
    (socket.gaierror, lambda _: "its name is not known"),
    (TimeoutError, lambda _: f"no answer within {TIMEOUT:g} s"),
    # it stayed silent for too long, or hung up: smtplib does not tell which
    (smtplib.SMTPServerDisconnected, lambda _: "no answer came"),
    (ConnectionRefusedError, lambda _: "the connection was refused"),
    (ConnectionError, lambda _: "the connection was lost"),
)


def _codes(codes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(codes))))
