# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance page put up and taken down by people, while the release that stands goes on behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._engine import Plan, Step
from ._errors import SlipwayError
from ._maintenance import show_page
from ._plan_switch import answer_again, let_replaced_go
from ._profile import DOCKER_DNS, NONE

if TYPE_CHECKING:
    from ._site import Site


def maintenance(site: Site, *, shown: bool) -> Plan:
    """Plan to let visitors see the maintenance page instead of the application, or the application again.

    :raises SlipwayError: a run has the site, nothing stands here, or the proxy cannot be told.
    """
    state = site.ledger.state()
    if state.run is not None:
        raise SlipwayError(f"a run has this site: {site.ledger.describe_run()}: it shows the page itself when it must")
    if state.current is None:
        raise SlipwayError("no release stands here: there is nothing to put a page in front of")
    drain = site.profile.proxy.drain
    if drain in {DOCKER_DNS, NONE}:
        raise SlipwayError(
            f"application.proxy.drain is {drain}: nothing can be told to send visitors to a page while the application "
            "runs; nginx_reload and haproxy can"
        )
    release = site.ledger.known_release(state.current)
    steps: list[Step | tuple[Step, ...]] = [show_page(site, release, lambda: True)]
    if not shown:
        steps = [*answer_again(site, release), let_replaced_go(site, release)]
    return Plan("maintenance", release.version, "switch", steps)
