"""A keep-alive HTTP/1.1 connection over asyncio: as much as a client needs that counts what a server does to it."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping
from dataclasses import dataclass

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AnswerError(Exception):
    """No whole answer came; the text says what came instead, in a few words."""


class IdleClosedError(AnswerError):
    """A connection that had been used before was closed before any byte of an answer: it was idle for too long."""


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    :param headers: names in lower case; of several with one name the last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_head(reader: asyncio.StreamReader, begun: bytes = b"") -> tuple[int, dict[str, str]]:
    """Read status and headers, of which `begun` was read before; AnswerError when they are none or break off."""
    try:
        head = begun + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise AnswerError("the headers break off") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise AnswerError("no HTTP answer")
    pairs = (line.partition(":") for line in lines if line)
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readline()).partition(b";")[0], 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        return b"".join(parts)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


class Connection:
    """A connection that is opened when it is needed and kept for the next request.

    One that the server is known to have closed is opened anew, as every client does that keeps connections.
    """

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._streams: Streams | None = None

    async def send(self, data: bytes) -> Answer:
        """Send a request and return its answer.

        :raises IdleClosedError: where a browser would send it once more over a new connection.
        :raises AnswerError: when the answer broke off, or is none.
        :raises OSError: when no connection can be made, or it breaks.
        """
        streams = self._streams
        reused = streams is not None and not streams[0].at_eof() and streams[0].exception() is None
        if streams is None or not reused:
            self.close()
            self._streams = streams = await asyncio.open_connection(*self._place)
        try:
            return await self._exchange(streams, data, reused=reused)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def _exchange(self, streams: Streams, data: bytes, *, reused: bool) -> Answer:
        reader, writer = streams
        try:
            writer.write(data)
            await writer.drain()
            begun = await reader.read(1)
        except ConnectionError as error:
            raise (IdleClosedError if reused else AnswerError)("reset before an answer") from error
        if not begun:
            raise (IdleClosedError if reused else AnswerError)("closed before an answer")
        status, headers = await read_head(reader, begun)
        bodyless = status in {http.client.NO_CONTENT, http.client.NOT_MODIFIED}
        try:
            body = b"" if bodyless else await _read_body(reader, headers)
        except (asyncio.IncompleteReadError, ValueError) as error:
            raise AnswerError("the body breaks off") from error
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)
