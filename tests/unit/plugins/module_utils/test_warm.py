"""Web containers of which Docker cannot say whether they answer are asked until they do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Release
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._warm import await_answers, await_up, client_at

RELEASE = Release("1.5.0", "c" * 40, {}, {}, [])


def container(**more: object) -> Any:  # noqa: ANN401 - as far as one is looked at
    known = {"id": "1", "name": "shop-app-2", "service": "app", "address": "127.0.0.1", "health": None}
    return SimpleNamespace(**{**known, "running": True, "restarts": 0, **more})


def site(port: int, *seen: object) -> Site:
    """A site whose engine shows the containers so."""
    looks = list(seen)

    def inspect(_ids: Sequence[str]) -> list[object]:
        return [looks.pop(0) if len(looks) > 1 else looks[0]] if looks else []

    docker = SimpleNamespace(inspect=inspect, logs=lambda _id: "could not connect to the database")
    profile = SimpleNamespace(web_port=port, host_header="shop.example", base_url="http://127.0.0.1")
    return cast(
        "Site", SimpleNamespace(profile=profile, docker=docker, log=lambda *_about: "/var/lib/slipway/shop/app.log")
    )


def booting(listener: socket.socket, connections: int) -> None:
    """Reset so many connections as a server that still boots, then answer, badly."""
    for number in range(connections + 1):
        stream, _ = listener.accept()
        stream.recv(4096)
        if number == connections:
            stream.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        stream.close()


def test_one_that_boots_is_waited_for_and_what_it_answers_is_judged_elsewhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=booting, args=(listener, 3))
        server.start()
        begun = time.monotonic()
        await_answers(site(listener.getsockname()[1], container()), RELEASE, [container()])
        assert time.monotonic() - begun >= 0.6
        server.join(5)
        assert not server.is_alive()


@pytest.mark.parametrize("seen", [[container(running=False)], [container(), container(restarts=1)], []])
def test_one_that_ended_or_was_started_again_is_not_waited_for(seen: list[object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        SlipwayError, match=r"^shop-app-2 does not answer: .* \(its log: /var/lib/slipway/shop/app.log\)$"
    ):
        await_answers(site(port, *seen), RELEASE, [container()])


def test_docker_s_own_word_counts_where_there_is_a_health_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    await_answers(site(port), RELEASE, [container(health="healthy"), container(address="")])


def test_one_that_gets_its_address_late_is_looked_for_again_and_one_that_never_does_is_given_up() -> None:
    profile: Any = site(0).profile
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=booting, args=(listener, 0))
        server.start()
        profile.web_port = listener.getsockname()[1]
        looks = iter([None, client_at(profile, "127.0.0.1")])
        found, problem = await_up(lambda: next(looks), 60)
        server.join(5)
    assert problem is None
    assert found is not None
    assert found[0] == f"http://127.0.0.1:{profile.web_port}"
    assert await_up(lambda: None, 0) == (None, "it ends again and again")


@pytest.mark.parametrize("named, host", [(None, "shop.example:8443"), ("orders.example", "orders.example")])
def test_a_container_is_asked_by_the_name_that_visitors_use(named: str | None, host: str) -> None:
    profile: Any = SimpleNamespace(web_port=3000, host_header=named, base_url="https://shop.example:8443")
    url, client = client_at(profile, "172.18.0.5")
    assert (url, client.host) == ("http://172.18.0.5:3000", host)
