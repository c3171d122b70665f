"""A subscriber hears what it waits for, and says in a few words why it does not, whatever the other side sends."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._cable import Cable
from ansible_collections.slipway.release.plugins.module_utils._http import Client, HttpError
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile, ProfileError

from tests.unit.plugins.module_utils.application import CREATE, HOST, PROFILE

pytestmark = pytest.mark.promise("P3")

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHANNEL = {"channel": "CampaignsChannel"}
CONFIRMED = {"type": "confirm_subscription"}
TURBO = {"identifier": "x", "message": '<turbo-stream target="progress_campaign_7"></turbo-stream>'}


class Peer:
    """The server's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.stream = connection.makefile("rb")
        self.headers: dict[str, str] = {}
        self.said: list[tuple[int, bytes]] = []

    def shake_hands(self, status: str = "101 Switching Protocols", accept: str | None = None) -> None:
        lines = []
        while line := self.stream.readline().decode().strip():
            lines.append(line)
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        key = self.headers["sec-websocket-key"] + MAGIC
        accept = accept or base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        self.send(
            f"HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def frame(self, content: bytes, first: int = 0x81) -> None:
        size = bytes([len(content)]) if len(content) < 126 else struct.pack("!BH", 126, len(content))
        self.send(bytes([first]) + size + content)

    def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.frame(json.dumps(message).encode())

    def hear(self) -> bytes:
        """Read a frame, which a client has to mask."""
        first, second = self.stream.read(2)
        assert second & 0x80
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.stream.read(2))
        mask = self.stream.read(4)
        content = bytes(byte ^ mask[number % 4] for number, byte in enumerate(self.stream.read(size)))
        self.said.append((first & 0x0F, content))
        return content

    def welcome(self) -> None:
        """Do what Action Cable does until a client is subscribed."""
        self.shake_hands()
        self.say({"type": "welcome"}, {"type": "ping", "message": 1})
        self.hear()
        self.say(CONFIRMED)


@contextmanager
def server(play: Callable[[Peer], None]) -> Iterator[tuple[Client, list[Peer]]]:
    """A server on which `play` happens to the first that connects."""
    peers: list[Peer] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                peers.append(Peer(connection))
                play(peers[0])
                # the other side may have hung up already
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass
                peers[0].stream.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = Client(f"http://127.0.0.1:{listening.getsockname()[1]}", HOST)
        client.cookies.take(["session=s3; path=/"], "/", secure=False)
        yield client, peers
        thread.join(5)


def subscribed(client: Client, timeout: float = 2) -> Cable:
    return Cable(client, "/cable", CHANNEL, timeout)


def test_what_is_waited_for_is_heard_among_pings_parts_and_other_messages() -> None:
    def play(peer: Peer) -> None:
        peer.welcome()
        peer.frame(b"alive?", 0x89)
        peer.say({"type": "ping", "message": 2}, {"identifier": "x", "message": {"other": "é"}})
        whole = json.dumps({**TURBO, "message": TURBO["message"] + " " * 300}).encode()
        peer.frame(whole[:20], 0x01)
        peer.frame(whole[20:], 0x80)
        peer.hear()

    with server(play) as (client, peers), closing(subscribed(client)) as cable:
        cable.hear('target="progress_campaign_7"', 2)
        time.sleep(0.1)
        headers = peers[0].headers
        assert (headers["host"], headers["origin"], headers["cookie"]) == (HOST, f"http://{HOST}", "session=s3")
        assert headers["sec-websocket-protocol"] == "actioncable-v1-json"
        assert json.loads(peers[0].said[0][1]) == {"command": "subscribe", "identifier": json.dumps(CHANNEL)}
        assert peers[0].said[1] == (10, b"alive?")


def nothing(_peer: Peer) -> None:
    """Say nothing, and hang up."""


def silence(_peer: Peer) -> None:
    time.sleep(0.5)


def others(peer: Peer) -> None:
    peer.say(*({"identifier": "x", "message": "another"} for _ in range(3)))
    time.sleep(0.5)


def unheard(peer: Peer) -> None:
    peer.shake_hands()
    time.sleep(0.5)


@pytest.mark.parametrize(
    "play, reason",
    [
        (lambda peer: peer.shake_hands("404 Not Found"), "404, expected a WebSocket"),
        (lambda peer: peer.shake_hands(accept="x"), "101, expected a WebSocket"),
        (
            lambda peer: peer.send(b"220 mail.example.test ESMTP\r\n\r\n"),
            "the answer is not valid HTTP (BadStatusLine)",
        ),
        (nothing, "the answer is not valid HTTP (BadStatusLine)"),
        (lambda peer: peer.shake_hands(), "the connection was closed"),
        (
            lambda peer: (peer.shake_hands(), peer.say({"type": "reject_subscription"})),
            "not subscribed: reject_subscription",
        ),
        (
            lambda peer: (peer.shake_hands(), peer.say({"type": "disconnect", "reason": "unauthorized"})),
            "not subscribed: disconnect unauthorized",
        ),
        (unheard, "not subscribed within 0.3 s"),
    ],
    ids=["refused", "foreign", "no HTTP", "nothing", "closed", "rejected", "unknown visitor", "silent"],
)
def test_who_is_not_let_in_says_why(play: Callable[[Peer], Any], reason: str) -> None:
    with server(play) as (client, _), pytest.raises(HttpError) as caught:
        subscribed(client, 0.3)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "play, reason",
    [
        (silence, "no broadcast with 'progress_campaign_7' within 0.3 s"),
        (others, "no broadcast with 'progress_campaign_7' within 0.3 s, 3 others"),
        (lambda peer: peer.say({"type": "disconnect", "reason": "server_restart"}), "let go: server_restart"),
        (lambda peer: peer.frame(b"", 0x88), "the connection was closed"),
        (nothing, "the connection was closed"),
        (lambda peer: peer.frame(b"{"), "a message that is no JSON"),
        (lambda peer: peer.frame(b"[" * 30000), "a message that is no JSON"),
        (lambda peer: peer.frame(b"[]"), "a message that is no JSON object"),
        (lambda peer: peer.send(b"\x81\x7f" + struct.pack("!Q", 2**40)), "a message of more than 1 MB"),
        (lambda peer: [peer.frame(b" " * 60000, 0x01) for _ in range(20)], "a message of more than 1 MB"),
    ],
    ids=["silence", "others", "let go", "close", "cut", "no JSON", "deep", "no object", "large", "endless"],
)
def test_what_does_not_come_is_said_in_a_few_words(play: Callable[[Peer], Any], reason: str) -> None:
    def whole(peer: Peer) -> None:
        peer.welcome()
        try:
            play(peer)
        except OSError:
            return

    with server(whole) as (client, _), closing(subscribed(client)) as cable, pytest.raises(HttpError) as caught:
        cable.hear("progress_campaign_7", 0.3)
    assert str(caught.value) == reason


def test_all_that_is_waited_for_has_one_deadline_however_it_trickles() -> None:
    def play(peer: Peer) -> None:
        peer.welcome()
        content = json.dumps({"identifier": "x", "message": "a" * 80}).encode()
        try:
            for byte in bytes([0x81, len(content)]) + content:
                peer.send(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            return

    with server(play) as (client, _), closing(subscribed(client)) as cable:
        begun = time.monotonic()
        with pytest.raises(HttpError, match="no broadcast"):
            cable.hear("progress_campaign_7", 0.4)
        assert time.monotonic() - begun < 3


def with_broadcast(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 plain data
    wanted = {"channel": CHANNEL, "contains": "progress_campaign_${id}", **changes}
    flow = copy.deepcopy(CREATE)
    flow["steps"][1]["expect"]["broadcast"] = wanted
    return {**PROFILE, "flows": [flow]}


def test_the_profile_says_what_is_to_be_heard() -> None:
    (flow,) = Profile.parse(with_broadcast()).flows
    heard = flow.steps[1].expect.broadcast
    assert heard is not None
    assert (heard.path, heard.channel, heard.contains, heard.within) == (
        "/cable",
        CHANNEL,
        "progress_campaign_${id}",
        5,
    )


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"channel": None}, "broadcast.channel: is required"),
        ({"channel": {"name": "x"}}, "broadcast.channel: must have channel, the name of the channel's class"),
        ({"channel": {"channel": "C", "id": "${id}"}}, "broadcast.channel.id: ${id} is not known here"),
        ({"contains": "${nobody}"}, "broadcast.contains: ${nobody} is not known here"),
        ({"contains": None}, "broadcast.contains: is required"),
        ({"path": "cable"}, "broadcast.path: must begin with /"),
        ({"within": 0}, "broadcast.within: must be a number from 0.1 to 60"),
        ({"text": "x"}, "broadcast.text: "),
    ],
)
def test_what_cannot_be_heard_is_found_beforehand(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        Profile.parse(with_broadcast(**changes))
    assert f"flows[0].steps[1].expect.{problem}" in str(caught.value)
