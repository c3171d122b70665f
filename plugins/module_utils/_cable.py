# SPDX-License-Identifier: GPL-3.0-or-later
"""A subscriber of Action Cable: what an open page hears, over a WebSocket (RFC 6455) that a visitor opens.

The protocol of Action Cable: https://docs.anycable.io/misc/action_cable_protocol
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any

from ._http import Client, HttpError

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_FINAL = _MASKED = 0x80
_TWO_BYTES, _EIGHT_BYTES, _SHORT = 126, 127, 125
_LONGEST = 1_000_000
_SWITCHING_PROTOCOLS = 101
_PROTOCOL = "actioncable-v1-json"


class Cable:
    """One subscription to one channel.

    :param path: where the application mounts Action Cable.
    :param channel: the parameters of the subscription, such as `{"channel": "CampaignsChannel"}`.
    :param timeout: seconds from connecting to being subscribed.
    :raises HttpError: nobody was let in; the text is a reason of a few words.
    """

    def __init__(self, client: Client, path: str, channel: Mapping[str, str], timeout: float) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": _PROTOCOL,
        }
        answer, self._stream = client.upgrade(path, timeout, headers)
        # no secret: it proves that the server read this request
        expected = base64.b64encode(hashlib.sha1((key + _MAGIC).encode()).digest()).decode()  # noqa: S324
        if answer.status != _SWITCHING_PROTOCOLS or answer.header("sec-websocket-accept") != expected:
            self.close()
            raise HttpError(f"{answer.status}, expected a WebSocket")
        try:
            self._say({"command": "subscribe", "identifier": json.dumps(dict(channel))})
            self._await("confirm_subscription", timeout)
        except BaseException:
            self.close()
            raise

    def hear(self, text: str, timeout: float) -> None:
        """Return when a broadcast came that contains `text`; HttpError when none does within `timeout` seconds."""
        self._stream.give(timeout)
        heard = 0
        try:
            while True:
                message = self._next()
                if message.get("type") == "disconnect":
                    raise HttpError(f"let go: {message.get('reason')}")
                heard += "message" in message
                if "message" in message and text in _text(message["message"]):
                    return
        except socket.timeout as error:
            others = f", {heard} others" if heard else ""
            raise HttpError(f"no broadcast with {text!r} within {timeout:g} s{others}") from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _await(self, kind: str, timeout: float) -> None:
        self._stream.give(timeout)
        try:
            while True:
                message = self._next()
                if message.get("type") == kind:
                    return
                if message.get("type") in {"reject_subscription", "disconnect"}:
                    raise HttpError(f"not subscribed: {message['type']} {message.get('reason', '')}".strip())
        except socket.timeout as error:
            raise HttpError(f"not subscribed within {timeout:g} s") from error

    def _say(self, message: Mapping[str, str]) -> None:
        self._write(_TEXT, json.dumps(message).encode())

    def _next(self) -> dict[str, Any]:
        """Return the next message that is a JSON object."""
        parts: list[bytes] = []
        while True:
            first, second = self._stream.read(2)
            size = second & 0x7F
            if size == _TWO_BYTES:
                (size,) = struct.unpack("!H", self._stream.read(2))
            elif size == _EIGHT_BYTES:
                (size,) = struct.unpack("!Q", self._stream.read(8))
            if size + sum(map(len, parts)) > _LONGEST:
                raise HttpError(f"a message of more than {_LONGEST // 1_000_000} MB")
            content, kind = self._stream.read(size), first & 0x0F
            if kind == _CLOSE:
                raise HttpError("the connection was closed")
            if kind == _PING:
                self._write(_PONG, content[:_SHORT])
            elif kind != _PONG:
                parts.append(content)
                if first & _FINAL:
                    return _object(b"".join(parts))

    def _write(self, kind: int, content: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(content))
        head = struct.pack("!BB", _FINAL | kind, _MASKED | min(len(content), _TWO_BYTES))
        if len(content) > _SHORT:
            head += struct.pack("!H", len(content))
        self._stream.write(head + mask + masked)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HttpError("a message that is no JSON") from error
    if not isinstance(found, dict):
        raise HttpError("a message that is no JSON object")
    return found


def _text(message: object) -> str:
    """What a broadcast says: Turbo Streams are texts, other channels send what they like."""
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
