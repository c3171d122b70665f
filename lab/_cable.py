"""A subscriber of Action Cable over asyncio, as a page that stays open: let go, it comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import os
import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab._http import AnswerError, Streams, read_head, request

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
LONGEST = 1_000_000  # bytes of a message
PATIENCE = 5.0  # seconds from connecting to being subscribed
STALE = 6.0  # seconds of silence after which actioncable.js gives a connection up; the server pings every three
JITTER = (0.1, 2.0)  # seconds before a subscriber that was let go comes back; actioncable.js spreads them over six
CHANNEL = json.dumps({"channel": "CampaignsChannel"})
# The last broadcast of a job, as the sample's partial campaigns/progress writes it.
DONE = re.compile(r'id="progress_campaign_([0-9]+)".*>done<', re.DOTALL)


class CableError(Exception):
    """The server let the subscriber go, or did not let it in."""


class Cable:
    """One WebSocket, on which both sides speak JSON."""

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams

    @classmethod
    async def connect(cls, address: str, port: int, headers: Mapping[str, str]) -> Cable:
        """Open a WebSocket to /cable; CableError when the server answers anything else."""
        streams = await asyncio.open_connection(address, port)
        try:
            await _shake_hands(streams, headers)
        except BaseException:
            streams[1].close()
            raise
        return cls(streams)

    async def receive(self) -> dict[str, Any]:
        """Return the next message; CableError when the server closes."""
        parts: list[bytes] = []
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:  # noqa: PLR2004 - the lengths of RFC 6455: two bytes follow, or eight
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))  # noqa: PLR2004
            if size > LONGEST:
                raise CableError(f"a message of {size} bytes")
            content = await self._reader.readexactly(size)
            kind = first & 0x0F
            if kind == CLOSE:
                raise CableError("closed")
            if kind == PING:
                self._write(PONG, content)
            elif kind != PONG:
                parts.append(content)
                if first & FINAL:
                    return dict(json.loads(b"".join(parts)))

    def send(self, message: Mapping[str, str]) -> None:
        """Send a short message."""
        self._write(TEXT, json.dumps(message).encode())

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def _write(self, kind: int, content: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(content))
        # all that a subscriber says fits into the short form
        self._writer.write(bytes((FINAL | kind, MASKED | len(content))) + mask + masked)


async def _shake_hands(streams: Streams, headers: Mapping[str, str]) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    protocol = {"Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": "actioncable-v1-json"}
    streams[1].write(request("GET", "/cable", {**headers, **upgrade, **protocol}))
    status, answer = await read_head(streams[0])
    # no secret: it proves that the server read this request
    expected = base64.b64encode(hashlib.sha1((key + MAGIC).encode(), usedforsecurity=False).digest()).decode()
    if status != http.client.SWITCHING_PROTOCOLS or answer.get("sec-websocket-accept") != expected:
        raise CableError(f"status {status}")


@dataclass
class Subscriber:
    """One subscriber and what became of it.

    :param headers: what the request for /cable carries: Host, Origin, Cookie.
    :param spans: from when to when it was subscribed, in seconds since the epoch.
    :param heard: the numbers of the campaigns of which it was told that they are done.
    :param losses: how often a subscription ended without being asked to, by reason.
    :param refusals: how often it tried to come back and was not let in, by reason.
    """

    address: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)
    heard: set[int] = field(default_factory=set)
    losses: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        while True:
            known = len(self.spans)
            try:
                await self._follow()
            except (CableError, AnswerError, OSError, EOFError, ValueError) as error:
                reason = str(error) if isinstance(error, CableError) else type(error).__name__
                (self.losses if len(self.spans) > known else self.refusals).append(reason)
            await asyncio.sleep(random.uniform(*JITTER))  # noqa: S311 - no secret

    def missed(self, broadcasts: Iterable[tuple[int, float]], margin: float) -> int:
        """Count the broadcasts that it did not get though it was subscribed `margin` seconds before and after.

        :param broadcasts: the number of the campaign, and when, in seconds since the epoch.
        """
        return sum(
            number not in self.heard and any(begun <= at - margin and at + margin <= end for begun, end in self.spans)
            for number, at in broadcasts
        )

    def longest_gap(self, until: float) -> float:
        """Return the longest time without a subscription, in seconds, from the first one to `until`."""
        starts = [begun for begun, _ in self.spans[1:]] + [until]
        return max((start - end for (_, end), start in zip(self.spans, starts, strict=True)), default=float("inf"))

    async def _follow(self) -> None:
        async with asyncio.timeout(PATIENCE):
            cable = await Cable.connect(self.address, self.port, self.headers)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._subscribe(cable)
            await self._listen(cable)
        finally:
            cable.close()

    @staticmethod
    async def _subscribe(cable: Cable) -> None:
        cable.send({"command": "subscribe", "identifier": CHANNEL})
        while True:
            kind = (await cable.receive()).get("type")
            if kind == "confirm_subscription":
                return
            if kind in {"reject_subscription", "disconnect"}:
                raise CableError(kind)

    async def _listen(self, cable: Cable) -> None:
        begun = time.time()
        self.subscribed.set()
        try:
            while True:
                async with asyncio.timeout(STALE):
                    message = await cable.receive()
                if message.get("type") == "disconnect":
                    raise CableError(str(message.get("reason")))
                done = DONE.search(str(message.get("message", "")))
                if done:
                    self.heard.add(int(done[1]))
        finally:
            self.spans.append((begun, time.time()))
