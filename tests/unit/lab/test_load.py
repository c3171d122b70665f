from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from lab import _cable, load
from lab._cable import Subscriber
from lab._http import Connection
from lab.load import Load, LoadError, Request, Target, percentile, summary

PAGE = '<meta name="csrf-token" content="token"><h1>Campaigns</h1><h1>Agents</h1>'


class Application:
    """Just as much of the sample application as the load meets, with faults that a test turns on.

    :ivar status: what is answered instead of doing what is asked; 0 closes a connection that was used before, without
        an answer; None is well.
    :ivar stall: seconds before an answer.
    """

    def __init__(self) -> None:
        self.campaigns: list[str] = []
        self.executions: list[tuple[int, float]] = []
        self.status: int | None = None
        self.stall = 0.0
        self.forgets = self.repeats = self.mute = self.hangs_up = False
        self.cables: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()

    def query(self, sql: str) -> str:
        if "executions" in sql:
            numbers = {number for number, _ in self.executions}
            counts = [(n, [at for number, at in self.executions if number == n]) for n in numbers]
            return "\n".join(f"{number}|{len(times)}|{max(times)}" for number, times in counts)
        return "\n".join(f"{name}|{self.campaigns.count(name)}" for name in set(self.campaigns))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            used = False
            while await self.answer(reader, writer, used=used):
                used = True
        except (OSError, EOFError):
            pass
        finally:
            self.cables.discard(writer)
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, used: bool) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
        method, target, _ = head[0].split(" ")
        if self.status == 0 and used:
            return False
        if self.stall:
            await asyncio.sleep(self.stall)
        status, location, text = self.status or 200, "", PAGE
        if status != 200:
            pass
        elif target == "/cable":
            await self.cable(reader, writer, headers["sec-websocket-key"])
            return False
        elif "session" in body:
            status, location = 303, "http://swarm/agents"
        elif method == "POST":
            status, location = 303, f"http://swarm/campaigns/{self.post(target, body)}"
        elif ".json" in target:
            name = parse_qs(urlsplit(target).query)["name"][0]
            text = json.dumps([{"id": 1, "name": item} for item in self.campaigns if item == name])
        moved = f"Location: {location}\r\n" if location else ""
        writer.write(f"HTTP/1.1 {status} X\r\n{moved}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()
        return not self.hangs_up

    def post(self, target: str, body: str) -> int:
        if target == "/campaigns":
            self.campaigns += [] if self.forgets else parse_qs(body)["campaign[name]"] * (2 if self.repeats else 1)
            return len(self.campaigns)
        number = int(target.split("/")[2])
        if not self.forgets:
            self.executions += [(number, time.time())] * (2 if self.repeats else 1)
        for writer in self.cables:
            if not self.mute:
                html = f'<div id="progress_campaign_{number}"><span>done</span></div>'
                frame(writer, {"identifier": "x", "message": html})
        return number

    async def cable(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        accept = base64.b64encode(hashlib.sha1((key + _cable.MAGIC).encode(), usedforsecurity=False).digest()).decode()
        writer.write(f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        frame(writer, {"type": "welcome"})
        _, size = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        said = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(size & 0x7F)))
        assert json.loads(said) == {"command": "subscribe", "identifier": '{"channel": "CampaignsChannel"}'}
        frame(writer, {"type": "confirm_subscription"})
        self.cables.add(writer)
        await reader.read()

    def let_go(self) -> None:
        """Tell all subscribers that the server restarts."""

        def close() -> None:
            for writer in self.cables:
                frame(writer, {"type": "disconnect", "reason": "server_restart", "reconnect": True})

        self.loop.call_soon_threadsafe(close)


def frame(writer: asyncio.StreamWriter, message: object) -> None:
    content = json.dumps(message).encode()
    size = bytes([len(content)]) if len(content) < 126 else b"\x7e" + len(content).to_bytes(2)
    writer.write(b"\x81" + size + content)


@contextmanager
def running() -> Iterator[tuple[Application, Target]]:
    application = Application()
    loop = application.loop
    server = loop.run_until_complete(asyncio.start_server(application.serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield application, Target("127.0.0.1", "swarm", "secret", server.sockets[0].getsockname()[1])
    finally:

        async def end() -> None:
            server.close()
            await server.wait_closed()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(others, timeout=1) if others else None

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Application, Target]]:
    monkeypatch.setattr(load, "JOBS_END_AFTER", 0.5)
    monkeypatch.setattr(load, "MARGIN", 0.05)
    monkeypatch.setattr(_cable, "JITTER", (0.05, 0.1))
    with running() as made:
        yield made


def small(target: Target, duration: float = 1.5) -> Load:
    return Load(target, duration, rate=100, connections=5, subscribers=3)


def test_all_is_well_with_an_application_that_is_well_and_the_load_ends_by_itself(
    site: tuple[Application, Target],
) -> None:
    application, target = site
    begun = time.time()
    with small(target) as client:
        client._thread.join(10)
    found = summary(client.within(begun, time.time()))
    assert found.count == 150
    assert found.failures == {}
    assert found.retried == 0
    assert 0 < found.p50 <= found.p99 <= found.longest < load.PATIENCE
    effects = client.effects(application.query)
    assert effects.writes > 10
    assert effects.jobs > 2
    assert effects.lost_or_doubled == 0
    assert (effects.missed, effects.disconnects, effects.refusals) == (0, {}, {})
    assert effects.gap < 10


def test_requests_are_failures_where_the_server_answers_with_an_error_or_not_at_all(
    site: tuple[Application, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    application, target = site
    with small(target, 60) as client:

        def seen(expected: set[str]) -> set[str]:
            """How requests have ended by now: in these ways, unless that takes ten seconds."""
            for _ in range(200):
                ended = {f"{item.kind}: {item.failure}" for item in client.within(0, time.time())}
                if expected <= ended:
                    break
                time.sleep(0.05)
            return ended

        well = {"page: None", "post: None", "json: None"}
        assert seen(well) == well
        application.status = 502
        bad = {"page: status 502", "post: status 502", "json: status 502"}
        assert seen(bad) == well | bad
        application.status = None
        monkeypatch.setattr(load, "PATIENCE", 0.3)
        application.stall = 1
        silent = {"page: no answer in 0 s"}
        assert seen(silent) >= silent


def test_a_stall_shows_in_all_requests_that_were_due_meanwhile(site: tuple[Application, Target]) -> None:
    application, target = site
    with small(target, 30) as client:
        time.sleep(0.3)
        begun = time.time()
        application.stall = 0.6
        time.sleep(0.1)
        application.stall = 0
        time.sleep(1)
    waited = [item.seconds for item in client.within(begun + 0.02, begun + 0.4)]
    # each of the five connections waits once; what was due behind it waits too
    assert len(waited) >= 30
    assert min(waited) > 0.15
    assert max(waited) > 0.5


def test_a_connection_that_was_closed_while_idle_is_no_failure_and_is_counted(
    site: tuple[Application, Target],
) -> None:
    application, target = site
    with small(target, 30) as client:
        time.sleep(0.3)
        application.status = 0
        time.sleep(0.3)
        application.status = None
    found = summary(client.within(0, time.time()))
    assert found.failures == {}
    assert found.retried > 10
    assert client.effects(application.query).lost_or_doubled == 0


def test_a_connection_that_is_known_to_be_closed_is_not_used_again(site: tuple[Application, Target]) -> None:
    application, target = site
    application.hangs_up = True

    async def twice() -> list[int]:
        connection, found = Connection(target.address, target.port), []
        for _ in range(2):
            found.append((await connection.send(b"GET /agents HTTP/1.1\r\n\r\n")).status)
            assert connection._streams is not None
            assert await connection._streams[0].read() == b""
        connection.close()
        return found

    assert asyncio.run(twice()) == [200, 200]


def test_a_server_that_is_gone_is_a_failure() -> None:
    target = Target("127.0.0.1", "swarm", "secret", port=1)

    async def ask() -> Request:
        return await Load(target, 1)._one(load._Window(target), "page", asyncio.get_running_loop().time(), 0)

    assert asyncio.run(ask()).failure == "ConnectionRefusedError"


@pytest.mark.parametrize("fault", ["forgets", "repeats"])
def test_what_was_acknowledged_must_be_there_once(site: tuple[Application, Target], fault: str) -> None:
    application, target = site
    with small(target) as client:
        setattr(application, fault, True)
        client._thread.join(10)
    effects = client.effects(application.query)
    lost, doubled = (effects.writes_lost, effects.jobs_lost), (effects.writes_doubled, effects.jobs_doubled)
    assert (min(lost) > 0, min(doubled) > 0) == (fault == "forgets", fault == "repeats")
    assert "json: 2 campaigns of one name" in summary(client.within(0, time.time())).failures or fault == "forgets"


def test_subscribers_come_back_and_their_time_without_a_subscription_is_counted(
    site: tuple[Application, Target],
) -> None:
    application, target = site
    with small(target, 30) as client:
        time.sleep(0.5)
        application.let_go()
        time.sleep(0.7)
    effects = client.effects(application.query)
    assert effects.disconnects == {"server_restart": 3}
    assert 0.05 < effects.gap < 10


def test_a_broadcast_that_does_not_come_was_missed_by_each_who_was_subscribed(
    site: tuple[Application, Target],
) -> None:
    application, target = site
    with small(target) as client:
        application.mute = True
        client._thread.join(10)
    effects = client.effects(application.query)
    assert effects.jobs > 2
    assert 3 <= effects.missed <= 3 * effects.jobs


def test_who_was_not_subscribed_all_the_time_around_a_broadcast_did_not_miss_it() -> None:
    item = Subscriber("127.0.0.1", 1, spans=[(10, 20), (25, 40)], heard={1})
    assert item.missed([(1, 15), (2, 22), (3, 19.5), (4, 25.5)], margin=1) == 0
    assert item.missed([(2, 15), (3, 30)], margin=1) == 2
    assert item.longest_gap(42) == 5
    assert item.longest_gap(50) == 10


def test_nobody_is_let_in(site: tuple[Application, Target]) -> None:
    application, target = site
    application.status = 403
    with pytest.raises(LoadError, match="login: status 403"), small(target):
        pass


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([], 0.99) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    found = summary([Request("page", 0, 1), Request("page", 0, 3, "status 502", retried=True)])
    assert (found.count, found.failed, found.retried, found.longest) == (2, 1, 1, 3)
