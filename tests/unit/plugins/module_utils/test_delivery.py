"""Messages handed to a real mail server and a real webhook: what is taken, and what is known when it is not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _delivery
from ansible_collections.slipway.release.plugins.module_utils._alert import MAIL, WEBHOOK, deliver
from ansible_collections.slipway.release.plugins.module_utils._delivery import DeliveryError, mail, post, trust
from ansible_collections.slipway.release.plugins.module_utils._profile import Alert, Mail

from tests.unit.plugins import post_office
from tests.unit.plugins.post_office import PASSWORD, USER, Certificate, MailServer, Webhook

ANNA, BEN = "anna@customer.example", "ben@customer.example"
MESSAGE = {"at": "now", "host": "site1", "application": "swarm", "event": "breach", "reason": "R2"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(certificate: Certificate) -> Iterator[MailServer]:
    with post_office.mail_server(certificate) as told:
        yield told


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with post_office.webhook() as told:
        yield told


def settings(told: MailServer, **changes: Any) -> Mail:  # noqa: ANN401 - any field of Mail
    return replace(Mail("localhost", "slipway@vendor.example", (ANNA, BEN), told.port), **changes)


def letter() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "slipway@vendor.example", f"{ANNA}, {BEN}", "hello"
    made.set_content("hello\n.\n..\n")
    return made


def send(told: MailServer, certificate: Certificate, **changes: Any) -> int:  # noqa: ANN401 - the same
    return mail(settings(told, **changes), letter(), trust(str(certificate.path)))


def failure(act: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        act()
    shown = str(caught.value)
    assert not any(secret in shown for secret in (ANNA, BEN, PASSWORD, "canary"))
    assert "\n" not in shown
    return caught.value


def test_a_letter_goes_through_starttls_with_a_login(server: MailServer, certificate: Certificate) -> None:
    assert send(server, certificate, user=USER, password=PASSWORD) == 0
    assert (server.recipients, server.encrypted, server.logins) == ([[ANNA, BEN]], [True], [USER])
    assert server.mails[0].get_content().splitlines() == ["hello", ".", ".."]


def test_a_letter_goes_through_tls_from_the_first_byte(certificate: Certificate) -> None:
    with post_office.mail_server(certificate, tls=True) as server:
        assert send(server, certificate, tls="always") == 0
    assert server.encrypted == [True]


def test_a_letter_goes_in_plain_only_where_that_is_asked_for(server: MailServer, certificate: Certificate) -> None:
    server.starttls = False
    error = failure(lambda: send(server, certificate))
    assert (server.letters, error.may_be_there) == ([], False)
    assert send(server, certificate, tls="never") == 0
    assert server.encrypted == [False]


def test_a_server_that_is_not_trusted_gets_nothing(server: MailServer) -> None:
    error = failure(lambda: mail(settings(server, user=USER, password=PASSWORD), letter(), trust(None)))
    assert "certificate is not trusted" in str(error)
    assert (server.letters, server.logins, error.may_be_there) == ([], [], False)


def test_one_refused_address_is_counted_and_the_other_gets_it(server: MailServer, certificate: Certificate) -> None:
    server.refuse = {BEN}
    assert send(server, certificate) == 1
    assert server.recipients == [[ANNA]]


def test_whatever_comes_of_taking_leave_the_letter_was_taken(server: MailServer, certificate: Certificate) -> None:
    server.at_quit = b"451 confused"
    assert send(server, certificate) == 0


@pytest.mark.parametrize(
    "changes, fault, words, may_be_there",
    [
        ({}, {"refuse": {ANNA, BEN}}, "every address was refused (550)", False),
        ({"user": USER, "password": "wrong"}, {}, "the login was refused (535)", False),
        ({}, {"after_data": b"554 spam from anna@customer.example"}, "the server refused it (554)", False),
        ({}, {"after_data": None}, "no answer came", True),
        ({}, {"after_data": b""}, "no answer came", True),
        ({"server": "nowhere.invalid"}, {}, "its name is not known", False),
    ],
)
def test_it_is_known_whether_a_letter_may_be_there(
    server: MailServer,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    fault: dict[str, Any],
    words: str,
    may_be_there: bool,
) -> None:
    # long enough for a busy machine, and waited for once
    monkeypatch.setattr(_delivery, "TIMEOUT", 2)
    for name, value in fault.items():
        setattr(server, name, value)
    error = failure(lambda: send(server, certificate, **changes))
    assert (str(error), error.may_be_there) == (words, may_be_there)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = failure(lambda: mail(Mail("127.0.0.1", "a@vendor.example", (ANNA,), port), letter(), trust(None)))
    assert (str(error), error.may_be_there) == ("the connection was refused", False)
    error = failure(lambda: post(f"http://127.0.0.1:{port}/canary", MESSAGE, trust(None)))
    assert (str(error), error.may_be_there) == ("the connection was refused", False)


def test_a_file_without_certificates_is_said(tmp_path: Path) -> None:
    assert "holds no certificates" in str(failure(lambda: trust(str(tmp_path / "none.pem"))))


def test_a_webhook_takes_json(hook: Webhook) -> None:
    post(hook.url, MESSAGE, trust(None))
    assert hook.messages == [MESSAGE]


@pytest.mark.parametrize(
    "code, words, may_be_there",
    [
        (404, "HTTP 404", False),
        (302, "HTTP 302", True),
        (307, "HTTP 307", False),
        (503, "HTTP 503", True),
        (None, "the connection was lost", True),
    ],
)
def test_it_is_known_whether_a_webhook_may_have_it(
    hook: Webhook, code: int | None, words: str, may_be_there: bool
) -> None:
    hook.code = code
    error = failure(lambda: post(hook.url, MESSAGE, trust(None)))
    assert (str(error), error.may_be_there, hook.gets) == (words, may_be_there, 0)


def test_the_host_s_alerts_go_the_same_way_and_what_nobody_took_is_kept(
    server: MailServer, hook: Webhook, certificate: Certificate
) -> None:
    alert = Alert(hook.url, settings(server), str(certificate.path))
    pending = [{"channel": channel, "message": MESSAGE} for channel in (WEBHOOK, MAIL)]
    assert deliver(alert, pending) == ([], [])
    assert (hook.messages, server.recipients) == ([MESSAGE], [[ANNA, BEN]])
    assert server.mails[0]["Subject"] == "swarm on site1: breach"
    assert "reason: R2" in server.mails[0].get_content()
    hook.code, server.refuse = 404, {ANNA, BEN}
    assert deliver(alert, pending) == (pending, ["mail: every address was refused (550)", "webhook: HTTP 404"])
