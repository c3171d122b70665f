from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from lab import writer
from lab.writer import Accounts, Write, Writer, account, places


def create(marker: str, at: float = 0.0, fate: str = "acknowledged") -> Write:
    return Write("create", marker, 1, at, at + 0.5, fate, 303)


def delete(marker: str, at: float = 5.0, fate: str = "acknowledged") -> Write:
    return Write("delete", marker, 1, at, at + 0.5, fate, 303)


def counts(accounts: Accounts) -> tuple[int, int, int]:
    return len(accounts.found), len(accounts.aside), len(accounts.lost)


def test_a_write_in_the_database_is_found_and_one_that_is_nowhere_is_lost() -> None:
    accounts = account([create("a"), create("b")], {"a"}, {})
    assert [item.marker for item in accounts.found] == ["a"]
    assert [item.marker for item in accounts.lost] == ["b"]


def test_a_write_that_a_rollback_set_aside_is_not_lost() -> None:
    assert counts(account([create("a")], set(), {"backup x-rollback": {"a"}})) == (0, 1, 0)


@pytest.mark.parametrize("fate", ["unknown", "refused"])
def test_what_was_not_acknowledged_is_not_asked_for(fate: str) -> None:
    assert counts(account([create("a", fate=fate)], set(), {})) == (0, 0, 0)


def test_a_deleted_campaign_that_is_gone_is_where_it_should_be() -> None:
    assert counts(account([create("a"), delete("a")], set(), {})) == (2, 0, 0)


def test_a_deleted_campaign_that_came_back_is_a_lost_write() -> None:
    accounts = account([create("a"), delete("a")], {"a"}, {})
    assert [(item.kind, item.marker) for item in accounts.lost] == [("delete", "a")]


def test_a_deletion_is_set_aside_only_by_a_copy_that_is_younger_than_the_campaign() -> None:
    writes = [create("a", 1), create("b", 2), delete("a")]
    assert counts(account(writes, {"a", "b"}, {"old copy": set()})) == (2, 0, 1)
    assert counts(account(writes, {"a", "b"}, {"young copy": {"b"}})) == (2, 1, 0)


def test_a_campaign_whose_deletion_was_never_answered_may_be_there_or_not() -> None:
    writes = [create("a"), delete("a", fate="unknown")]
    assert counts(account(writes, set(), {})) == counts(account(writes, {"a"}, {})) == (1, 0, 0)


def test_the_places_are_read_apart() -> None:
    assert places("in now\na\nb\nin backup x\na\nin database y\n") == (
        {"a", "b"},
        {"backup x": {"a"}, "database y": set()},
    )


class Application(http.server.BaseHTTPRequestHandler):
    """Just as much of the sample application as a writer meets."""

    protocol_version = "HTTP/1.1"
    down: ClassVar[threading.Event] = threading.Event()
    keeps_out: ClassVar[threading.Event] = threading.Event()
    campaigns: ClassVar[dict[int, str]] = {}

    def answer(self, status: int, location: str = "", body: bytes = b"") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(200, body=b'<meta name="csrf-token" content="token">')

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/login" and self.keeps_out.is_set():
            self.answer(503)
        elif self.path == "/login":
            self.answer(303, "http://swarm/agents")
        elif self.down.is_set():
            self.answer(502)
        elif "_method=delete" in form:
            self.campaigns.pop(int(self.path.rpartition("/")[2]))
            self.answer(303, "http://swarm/campaigns")
        else:
            number = len(self.campaigns) + int(time.time() * 1e6)
            self.campaigns[number] = form.partition("campaign%5Bname%5D=")[2].partition("&")[0]
            self.answer(303, f"http://swarm/campaigns/{number}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Application]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        monkeypatch.setattr(writer, "PORT", server.server_port)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Application.campaigns.clear()
        Application.down.clear()
        Application.keeps_out.clear()
        yield Application
        server.shutdown()


def test_a_writer_notes_what_was_acknowledged_and_stops_by_itself(
    application: type[Application], tmp_path: Path
) -> None:
    with Writer("127.0.0.1", "swarm", "secret", tmp_path / "log", duration=2) as client:
        time.sleep(1)
        application.down.set()
        time.sleep(1.5)
        count = len(client.writes())
        time.sleep(0.3)
        assert len(client.writes()) == count
    writes = client.writes()
    assert {item.fate for item in writes} == {"acknowledged", "unknown"}
    assert len({item.marker for item in writes if item.kind == "create"}) == sum(
        item.kind == "create" for item in writes
    )
    assert 10 <= len(writes) <= 2.5 * writer.RATE
    accounts = account(writes, set(application.campaigns.values()), {})
    assert accounts.found
    assert accounts.lost == ()


def noted(client: Writer, enough: Callable[[list[Write]], bool]) -> list[Write]:
    """What it has noted when that is enough."""
    for _ in range(200):
        if enough(client.writes()):
            break
        time.sleep(0.05)
    return client.writes()


def test_who_is_not_let_in_has_met_a_failure_and_writes_when_it_is(
    application: type[Application], tmp_path: Path
) -> None:
    application.keeps_out.set()
    with Writer("127.0.0.1", "swarm", "secret", tmp_path / "log", duration=60) as client:
        kept_out = noted(client, lambda writes: len(writes) >= writer.SENDERS)
        application.keeps_out.clear()
        writes = noted(client, lambda writes: any(item.fate == "acknowledged" for item in writes))
    assert {(item.kind, item.marker, item.fate, item.status) for item in kept_out} == {("login", "", "unknown", 503)}
    assert {item.problem for item in kept_out} == {"POST /login: 503"}
    assert "create" in {item.kind for item in writes}
    # where the writes are is asked of writes alone
    accounts = account(client.writes(), set(application.campaigns.values()), {})
    assert len(accounts.found) == sum(item.fate == "acknowledged" for item in client.writes())
    assert accounts.lost == ()


def test_a_server_that_is_not_there_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        monkeypatch.setattr(writer, "PORT", gone.getsockname()[1])
    with Writer("127.0.0.1", "swarm", "secret", tmp_path / "log", duration=60) as client:
        writes = noted(client, bool)
    assert {(item.kind, item.fate, item.status) for item in writes} == {("login", "unknown", None)}
    assert writes[0].problem.startswith("ConnectionRefusedError: ")


@pytest.mark.usefixtures("application")
def test_its_time_begins_when_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 0
    clock = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + passed)
    monkeypatch.setattr(writer, "time", clock)
    client = Writer("127.0.0.1", "swarm", "secret", tmp_path / "log", duration=60)
    # as while a release is published for the test
    passed = 100
    with client:
        assert noted(client, bool)
