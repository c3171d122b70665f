# SPDX-License-Identifier: GPL-3.0-or-later
"""The first requests to a container, so that no visitor makes them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ._errors import SlipwayError
from ._http import Client, HttpError
from ._probe import Prober, Request

if TYPE_CHECKING:
    from ._compose import Container
    from ._site import Site


def warm(site: Site, containers: Sequence[Container]) -> None:
    """Ask each for the key pages once, all at the same time; what they answer is judged elsewhere."""
    profile = site.profile

    def ask(item: Container) -> None:
        url = f"http://{item.address}:{profile.web_port}"
        client = Client(url, profile.host_header, behind_tls=profile.base_url.startswith("https:"))
        with suppress(SlipwayError, HttpError):
            Prober(replace(profile, base_url=url), client, site.runner).run(Request(("pages",)))

    if profile.pages and containers:
        with ThreadPoolExecutor(len(containers)) as pool:
            list(pool.map(ask, containers))
