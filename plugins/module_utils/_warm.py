# SPDX-License-Identifier: GPL-3.0-or-later
"""The first requests to a container, so that no visitor makes them, nor before it can answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Callable
from urllib.parse import urlsplit

from ._errors import SlipwayError
from ._http import Client, HttpError
from ._probe import Prober, Request

if TYPE_CHECKING:
    from ._compose import Container
    from ._ledger import Release
    from ._profile import Profile
    from ._site import Site

ANSWERS_WITHIN = 300
_PAUSE = 0.2


def client_at(profile: Profile, address: str) -> tuple[str, Client]:
    """The URL of a web container at an IP address, and what asks it as the proxy would."""
    url, public = f"http://{address}:{profile.web_port}", urlsplit(profile.base_url)
    return url, Client(url, profile.host_header or public.netloc, behind_tls=public.scheme == "https")


def warm(site: Site, containers: Sequence[Container]) -> None:
    """Ask each for the key pages once, all at the same time; what they answer is judged elsewhere."""
    profile = site.profile

    def ask(item: Container) -> None:
        url, client = client_at(profile, item.address)
        with suppress(SlipwayError, HttpError):
            Prober(replace(profile, base_url=url), client, site.runner).run(Request(("pages",)))

    if profile.pages and containers:
        with ThreadPoolExecutor(len(containers)) as pool:
            list(pool.map(ask, containers))


def await_answers(site: Site, release: Release, containers: Sequence[Container]) -> None:
    """Wait until the containers without a health check answer, whatever they answer; Docker knows it of the others.

    `rails new` writes no health check, and a server that is still booting resets each connection.
    """
    for item in containers:
        if item.health is not None or not item.address:
            continue
        _, problem = await_up(
            partial(client_at, site.profile, item.address), ANSWERS_WITHIN, hopeless=partial(_ended, site, item)
        )
        if problem is not None:
            log = site.log(release.version, item.service, site.docker.logs(item.id))
            raise SlipwayError(f"{item.name} does not answer: {problem} (its log: {log})")


def _ended(site: Site, item: Container) -> bool:
    """Whether a container ended, or was started again, since it was looked at."""
    now = site.docker.inspect([item.id])
    return not now or not now[0].running or bool(now[0].restarts)


def await_up(
    find: Callable[[], tuple[str, Client] | None], within: float, hopeless: Callable[[], bool] = lambda: False
) -> tuple[tuple[str, Client] | None, str | None]:
    """Wait until a web container answers, whatever it answers; returns what `find` gave, and why it does not answer.

    :param find: its URL and what asks it, looked for each time; None while it has no address.
    :param within: seconds after which it is given up.
    :param hopeless: whether it is given up before.
    """
    deadline = time.monotonic() + within
    while True:
        found = find()
        problem = "it ends again and again" if found is None else _unanswered(found[1])
        if problem is None or hopeless() or time.monotonic() > deadline:
            return found, problem
        time.sleep(_PAUSE)


def _unanswered(client: Client) -> str | None:
    try:
        client.get("/up", 5)
    except HttpError as error:
        return str(error)
    return None
