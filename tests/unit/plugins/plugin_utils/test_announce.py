"""Announcements handed to a real mail server, a real webhook and a directory: each once, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._delivery import mail
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.plugin_utils import _announce, _outbox
from ansible_collections.slipway.release.plugins.plugin_utils._announce import Told, announce, read
from ansible_collections.slipway.release.plugins.plugin_utils._announcement import AnnounceError

from tests.unit.plugins import post_office
from tests.unit.plugins.plugin_utils.announcing import ANNA, BEN, NOW, ROOT, clock, given
from tests.unit.plugins.post_office import PASSWORD, USER, Certificate, MailServer, Webhook

pytestmark = pytest.mark.promise("A1", "A2")


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


@pytest.fixture
def by_mail(server: MailServer, certificate: Certificate) -> dict[str, Any]:
    """Channels: the mail server."""
    login = {"user": USER, "password": PASSWORD}
    given_to = {"from": "noreply@vendor.example", "to": [ANNA, BEN], **login}
    return {"mail": {"server": "localhost", "port": server.port, **given_to}, "ca_file": str(certificate.path)}


def tell(directory: Path, **changes: Any) -> Told:  # noqa: ANN401 - any variable
    return announce(read(given(directory, **changes)), clock())


def states(told: Told) -> list[tuple[str, str]]:
    return [(item["channel"], item["state"]) for item in told.announced]


def test_a_mail_is_text_and_the_same_as_html_with_its_headers(
    tmp_path: Path, server: MailServer, by_mail: dict[str, Any]
) -> None:
    product = "Schwärme für alle, ein langer Name, der nicht in eine Zeile passt ☂"
    told = tell(tmp_path, channels=by_mail, product=product)
    assert (states(told), told.problems, told.changed) == ([("mail", "sent")], [], True)
    (letter,) = server.mails
    assert (server.recipients, server.encrypted, server.logins) == ([[ANNA, BEN]], [True], [USER])
    assert letter.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    assert (letter["From"], letter["To"]) == ("noreply@vendor.example", f"{ANNA}, {BEN}")
    assert letter["Subject"] == f"{product} 1.2.0: release notes"
    assert parsedate_to_datetime(letter["Date"]) == NOW
    assert letter["Message-ID"].endswith("@vendor.example>")
    assert letter["Auto-Submitted"] == "auto-generated"
    text, html = (part.get_content() for part in letter.iter_parts())
    assert "What you have to do:" in text
    assert "<li>Allow port 8443.</li>" in html
    # as it went over the wire: ASCII headers, none longer than a server takes
    head = server.letters[0].partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert max(map(len, server.letters[0].split(b"\r\n"))) <= 998


def test_a_webhook_takes_what_programs_read_and_words(tmp_path: Path, hook: Webhook) -> None:
    told = tell(tmp_path, event="window", channels={"webhook": hook.url})
    assert states(told) == [("webhook", "sent")]
    (message,) = hook.messages
    assert (message["event"], message["site"], message["release"]) == ("window", "customer-a", "1.2.0")
    assert message["window"] == {"from": "2026-12-01T22:00:00+01:00", "until": "2026-12-01T23:30:00+01:00"}
    assert message["notes"]["breaking"] == ["`/api/v1` is gone."]
    assert message["notes"]["known_issues"] == ["Exports of more than 10,000 rows are slow."]
    assert message["support"]["feedback"] == "https://vendor.example/feedback"
    assert message["subject"].startswith("Swarm 1.2.0: update on Tuesday")
    assert "What is new:" in message["text"]
    assert len(message["id"]) == 32


def test_files_lie_ready_to_be_handed_over(tmp_path: Path) -> None:
    told = tell(tmp_path)
    place = tmp_path / "handover"
    assert sorted(path.name for path in place.iterdir()) == [
        f"customer-a-1.2.0-notes.{ending}" for ending in ("html", "json", "txt")
    ]
    assert told.announced[0]["detail"] == str(place / "customer-a-1.2.0-notes.txt")
    assert (place / "customer-a-1.2.0-notes.txt").read_text().startswith("Swarm 1.2.0: release notes\n\n")
    assert json.loads((place / "customer-a-1.2.0-notes.json").read_text())["event"] == "notes"


def test_what_was_sent_is_not_sent_again_and_another_window_is(
    tmp_path: Path, server: MailServer, hook: Webhook, by_mail: dict[str, Any]
) -> None:
    channels = {**by_mail, "webhook": hook.url, "file": str(tmp_path / "handover")}
    assert states(tell(tmp_path, event="window", channels=channels)) == [
        ("mail", "sent"),
        ("webhook", "sent"),
        ("file", "sent"),
    ]
    again = tell(tmp_path, event="window", channels=channels, resend=True)
    assert (again.changed, again.problems) == (False, [])
    assert again.announced[0]["detail"] == "on 2026-11-24T15:00:00.000Z, not again"
    assert (len(server.letters), len(hook.messages)) == (1, 1)
    later = {"from": "2026-12-02T22:00+01:00", "until": "2026-12-02T23:30+01:00"}
    assert tell(tmp_path, event="window", channels=channels, window=later).changed
    first, second = server.mails
    assert first["Message-ID"] != second["Message-ID"]
    # the notes are the same whenever the window is
    assert tell(tmp_path, channels=channels).changed
    assert not tell(tmp_path, channels=channels, window=later).changed


def test_one_channel_that_fails_keeps_no_other_from_it_and_is_tried_again(
    tmp_path: Path, server: MailServer, hook: Webhook, by_mail: dict[str, Any]
) -> None:
    channels = {**by_mail, "webhook": hook.url}
    server.refuse = {ANNA, BEN}
    told = tell(tmp_path, channels=channels)
    assert states(told) == [("mail", "failed"), ("webhook", "sent")]
    assert told.problems == ["notes of 1.2.0 by mail failed: every address was refused (550); run it again"]
    server.refuse = {BEN}
    told = tell(tmp_path, channels=channels)
    assert states(told) == [("mail", "sent"), ("webhook", "sent")]
    assert told.announced[0]["detail"] == "1 of 2 addresses were refused"
    assert (server.recipients, len(hook.messages)) == ([[ANNA]], 1)


def test_an_unknown_outcome_is_shown_and_sent_again_only_on_purpose_under_the_same_id(
    tmp_path: Path, server: MailServer, by_mail: dict[str, Any]
) -> None:
    server.after_data = None
    told = tell(tmp_path, channels=by_mail)
    assert states(told) == [("mail", "unknown")]
    server.after_data = b"250 taken"
    told = tell(tmp_path, channels=by_mail)
    assert (states(told), told.changed, len(server.letters)) == ([("mail", "unknown")], False, 1)
    way_out = "find out, then announce_resend=true sends it again under the same id"
    assert told.problems == [f"notes of 1.2.0 by mail may have been sent or not: no answer came; {way_out}"]
    assert states(tell(tmp_path, channels=by_mail, resend=True)) == [("mail", "sent")]
    first, second = server.mails
    assert first["Message-ID"] == second["Message-ID"]
    tell(tmp_path, channels=by_mail, resend=True)
    assert len(server.letters) == 2


class _Killed(BaseException):
    """The process ends here."""


def _killing(act: Callable[..., Any], steps: Iterator[int], at: int) -> Callable[..., Any]:
    """Let a function die before it begins, or after it ended, when its turn comes."""

    def dying(*arguments: Any) -> Any:  # noqa: ANN401 - as the function has them
        if next(steps) == at:
            raise _Killed
        result = act(*arguments)
        if next(steps) == at:
            raise _Killed
        return result

    return dying


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Whether the step was reached at all."""
    steps = count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_outbox, "write_file", _killing(write_file, steps, step))
        patch.setattr(_announce, "mail", _killing(mail, steps, step))
        try:
            act()
        except _Killed:
            return True
    return False


def test_killed_between_any_two_steps_nothing_is_sent_twice(
    tmp_path: Path, server: MailServer, by_mail: dict[str, Any]
) -> None:
    outcomes = []
    for step in count():
        directory = tmp_path / str(step)
        directory.mkdir()
        server.letters.clear()
        killed = _killed_at(step, lambda: tell(directory, channels=by_mail))  # noqa: B023 - called at once
        told = [states(tell(directory, channels=by_mail))[0][1] for _ in range(2)]
        assert len(server.letters) <= 1
        assert told[0] == told[1]
        outcomes.append((told[0], len(server.letters)))
        if not killed:
            break
    # before it was prepared, prepared, about to be sent, sent but not noted; at last the undisturbed one
    assert outcomes == [("sent", 1)] * 3 + [("unknown", 0)] * 2 + [("unknown", 1)] * 2 + [("sent", 1)] * 2


CHILD = """
import json, sys
from ansible_collections.slipway.release.plugins.plugin_utils._announce import announce, read
announce(read(json.load(sys.stdin)))
"""


def test_a_process_that_is_killed_while_it_sends_leaves_what_nobody_repeats(
    tmp_path: Path, server: MailServer, by_mail: dict[str, Any]
) -> None:
    server.after_data = b""
    path = os.pathsep.join((str(ROOT / "collections"), str(ROOT)))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, text=True
    ) as child:
        assert child.stdin is not None
        json.dump(given(tmp_path, channels=by_mail), child.stdin)
        child.stdin.close()
        deadline = time.monotonic() + 20
        while not server.letters:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # it waits for an answer that does not come, and holds the outbox
        child.send_signal(signal.SIGKILL)
    server.after_data = b"250 taken"
    told = tell(tmp_path, channels=by_mail)
    assert (states(told), len(server.letters)) == ([("mail", "unknown")], 1)
    assert "whoever sent it died on the way" in told.problems[0]


def test_two_at_once_send_once(tmp_path: Path, server: MailServer, by_mail: dict[str, Any]) -> None:
    request = read(given(tmp_path, channels=by_mail))
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: announce(request, clock()), range(4)))
    assert sum(item.changed for item in told) == 1
    assert {tuple(states(item)) for item in told} == {(("mail", "sent"),)}
    assert len(server.letters) == 1


def story(directory: Path, event: str, run: str | None, hours: float = 0, current: str | None = None) -> bool:
    """Tell an event of a run; returns whether it was sent now."""
    ledger = {"current": current} if event in {"success", "rollback"} else None
    request = read(given(directory, event=event, run=run, ledger=ledger))
    return announce(request, clock(NOW + timedelta(hours=hours))).changed


def test_a_deploy_that_goes_on_with_one_that_died_has_begun_once(tmp_path: Path) -> None:
    assert story(tmp_path, "start", "r1")
    assert not story(tmp_path, "start", "r2", hours=1)
    assert story(tmp_path, "success", "r2", hours=2, current="1.2.0")
    # by hand the last run is meant
    assert not story(tmp_path, "success", None, hours=3, current="1.2.0")
    assert story(tmp_path, "rollback", None, hours=4, current="1.1.0")
    assert not story(tmp_path, "rollback", None, hours=5, current="1.1.0")
    # told of its end, the next one is another
    assert story(tmp_path, "start", "r3", hours=6)
    assert story(tmp_path, "rollback", "r3", hours=7, current="1.1.0")


def test_a_start_of_which_nothing_was_heard_for_half_a_day_is_not_gone_on_with(tmp_path: Path) -> None:
    assert story(tmp_path, "start", "r1")
    assert story(tmp_path, "start", "r2", hours=13)


@pytest.mark.parametrize(
    "event, current, problem",
    [
        ("success", "1.1.0", "1.2.0 does not stand on customer-a: success would not be true, nothing was announced"),
        ("success", None, "1.2.0 does not stand on customer-a: success would not be true, nothing was announced"),
        ("rollback", "1.2.0", "1.2.0 stands on customer-a: rollback would not be true, nothing was announced"),
    ],
)
def test_what_is_not_so_is_not_told(tmp_path: Path, event: str, current: str | None, problem: str) -> None:
    with pytest.raises(AnnounceError) as caught:
        tell(tmp_path, event=event, ledger={"current": current})
    assert str(caught.value) == problem
    assert not (tmp_path / "outbox").exists()


def test_a_preview_is_written_and_sends_nothing(
    tmp_path: Path, server: MailServer, hook: Webhook, by_mail: dict[str, Any]
) -> None:
    channels = {**by_mail, "webhook": hook.url, "file": str(tmp_path / "handover")}
    told = tell(tmp_path, channels=channels, preview=True)
    place = tmp_path / "outbox/customer-a/preview"
    assert [item["state"] for item in told.announced] == ["preview"] * 3
    assert told.announced[0]["detail"] == f"{place / 'notes-1.2.0.txt'}, not sent yet"
    assert {path.suffix for path in place.iterdir()} == {".txt", ".html", ".json"}
    assert (server.letters, hook.messages, told.changed, told.problems) == ([], [], False, [])
    assert not (tmp_path / "handover").exists()
    tell(tmp_path, channels=by_mail)
    assert tell(tmp_path, channels=by_mail, preview=True).announced[0]["detail"].endswith(", sent before")


def test_what_is_written_is_its_owner_s_and_holds_no_address_and_no_secret(
    tmp_path: Path, hook: Webhook, by_mail: dict[str, Any]
) -> None:
    channels = {**by_mail, "webhook": hook.url, "file": str(tmp_path / "handover")}
    old = os.umask(0)
    try:
        tell(tmp_path, channels=channels, preview=True)
        told = tell(tmp_path, channels=channels)
    finally:
        os.umask(old)
    written = [path for name in ("outbox", "handover") for path in (tmp_path / name, *(tmp_path / name).rglob("*"))]
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    texts = [path.read_text() for path in written if path.is_file()]
    assert len(texts) == 3 + 3 + 3 + 1
    for secret in (ANNA, BEN, PASSWORD, "canary"):
        assert secret not in "".join(texts) + json.dumps(told.announced)


@pytest.mark.parametrize(
    "channels, problem",
    [
        ({}, "announce.channels: must name a mail, a webhook or a file: nobody would be told"),
        ({"fax": "1"}, "announce.channels: must name a mail, a webhook or a file: nobody would be told; announce"),
        ({"webhook": "ftp://canary.example"}, "announce.channels.webhook: must begin with http:// or https://"),
        ({"webhook": "https://h/x\r\nX-Evil: 1"}, "announce.channels.webhook: must not contain control characters"),
        (
            {"mail": {"server": "h", "from": "a@b.example", "to": ["canary"]}},
            "announce.channels.mail.to[0]: must be an address such as anna@example.com, not '********'",
        ),
        (
            {"mail": {"server": "h", "from": "a@b.example", "to": [f"x@y.example\nBcc: {ANNA}"]}},
            "announce.channels.mail.to[0]: must not contain control characters",
        ),
        (
            {"mail": {"server": "h", "from": "a@b.example", "to": [ANNA, ANNA]}},
            "announce.channels.mail.to: names '********' twice",
        ),
        (
            {
                "mail": {
                    "server": "h",
                    "from": "a@b.example",
                    "to": [BEN],
                    "tls": "never",
                    "user": USER,
                    "password": "x",
                }
            },
            "announce.channels.mail.tls: must not be never where a password is sent",
        ),
    ],
)
def test_channels_that_make_no_sense_are_said_without_what_is_in_them(
    tmp_path: Path, channels: dict[str, Any], problem: str
) -> None:
    with pytest.raises(AnnounceError) as caught:
        read(given(tmp_path, channels=channels))
    assert str(caught.value).startswith(problem)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, problem",
    [
        (
            {"changelog": "/nowhere/CHANGELOG.md"},
            "announce.changelog: /nowhere/CHANGELOG.md: No such file or directory",
        ),
        ({"release": "9.9.9"}, "the changelog has no entry for 9.9.9"),
        ({"changelog": None}, "there are no notes of 1.2.0"),
        ({"event": "success"}, "announce.ledger: is required for the event success: what stands on the site"),
        ({"outbox": "/dev/null"}, "the outbox cannot be used: [Errno"),
        ({"notes": {"version": "1.2.0", "date": "2026-11-20", "new": "x"}}, "announce.notes.new: must be a list"),
    ],
)
def test_what_cannot_be_announced_is_one_line(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(Exception, match=r"\A[^\n]+\Z") as caught:
        tell(tmp_path, **changes)
    assert str(caught.value).startswith(problem)


def test_notes_come_from_preflight_where_no_file_is_named(tmp_path: Path) -> None:
    notes = {"version": "1.2.0", "date": "2026-11-20", "new": ["By the repository."], "fixed": []}
    tell(tmp_path, changelog=None, notes=notes)
    assert "- By the repository." in (tmp_path / "handover/customer-a-1.2.0-notes.txt").read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"state": "sent"}', "\udcff"])
def test_a_damaged_entry_stops_what_it_is_about(tmp_path: Path, content: str) -> None:
    tell(tmp_path)
    (path,) = (tmp_path / "outbox/customer-a").glob("*.json")
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(AnnounceError, match=r"is damaged \(\w+\): whether it was sent is not known; move it away"):
        tell(tmp_path)


def test_the_outbox_of_one_site_is_not_another_s(tmp_path: Path) -> None:
    assert tell(tmp_path, site="customer-a").changed
    assert tell(tmp_path, site="customer-b").changed
    assert tell(tmp_path, site="../../customer-a").changed
    assert sorted(path.name for path in (tmp_path / "outbox").iterdir()) == [
        "_.._customer-a",
        "customer-a",
        "customer-b",
    ]
