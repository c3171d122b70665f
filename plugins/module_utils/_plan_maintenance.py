# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance page put up and taken down by people.

A proxy that can be told sends visitors to it while the release that stands goes on behind it. One that cannot looks for
whatever bears the name of the web service: there the web containers stop, and are started again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._engine import Plan, Step
from ._errors import SlipwayError
from ._maintenance import Maintenance, own_page, show_page
from ._plan_switch import answer_again, let_replaced_go
from ._profile import DOCKER_DNS, NONE
from ._traffic import stop_one_by_one, traffic_of

if TYPE_CHECKING:
    from ._compose import Container
    from ._site import Site


def maintenance(site: Site, *, shown: bool) -> Plan:
    """Plan to let visitors see the maintenance page instead of the application, or the application again.

    :raises SlipwayError: a run has the site, nothing stands here, visitors would not see the page, its own file
        cannot be read, or what it hides is half done.
    """
    state = site.ledger.state()
    if state.run is not None:
        raise SlipwayError(f"a run has this site: {site.ledger.describe_run()}: it shows the page itself when it must")
    if state.current is None:
        raise SlipwayError("no release stands here: there is nothing to put a page in front of")
    drain, web = site.profile.proxy.drain, site.profile.services.web
    if not shown and state.candidate is not None:
        raise SlipwayError(
            f"release {state.candidate.version} was left half done ({state.candidate.phase}): deploy it again to go "
            "on, or take it back by playbooks/rollback.yml; either takes the page down at its end"
        )
    if not shown and state.restoring is not None:
        raise SlipwayError(f"{state.restoring.description}: {state.restoring.command} goes on and takes the page down")
    release = site.ledger.known_release(state.current)
    if not shown:
        steps: list[Step | tuple[Step, ...]] = [*answer_again(site, release), let_replaced_go(site, release)]
        return Plan("maintenance", release.version, "switch", steps)
    # a deploy or a rollback goes on with a plain one where this cannot be read; whoever asks for the page is told
    own_page(site, site.directory)
    steps = [show_page(site, release, lambda: True)]
    if drain in {DOCKER_DNS, NONE}:
        if site.compose.config["services"].get(web, {}).get("ports"):
            raise SlipwayError(
                f"service {web} has ports of its own, and application.proxy.drain is {drain}: no proxy could show its "
                f"visitors a page: put one in front, or 'docker compose stop {web}'"
            )
        steps.append(_stop_web(site))
    return Plan("maintenance", release.version, "switch", steps)


def _stop_web(site: Site) -> Step:
    """The step that stops the web containers one after another, once the proxy must have found the page; kept."""
    web = site.profile.services.web

    def running() -> list[Container]:
        return [item for item in site.code() if item.service == web]

    def stop() -> dict[str, Any]:
        page, leaving = Maintenance(site).container, running()
        if page is None or not page.running:
            raise SlipwayError("the maintenance page is gone: somebody else removed it, run the same again")
        # also where the step before was killed as it waited
        traffic_of(site).move([page])
        stop_one_by_one(site, leaving)
        return {"stopped": [item.name for item in leaving]}

    return Step("stop the web containers", lambda: not running(), stop)
