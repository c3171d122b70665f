"""The page by hand: what runs on behind it where the proxy can be told, and what stops where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _gates, _plan_maintenance
from ansible_collections.slipway.release.plugins.module_utils._compose import Container
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, Step
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._gates import Gates, Request
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    Before,
    Candidate,
    Ledger,
    Release,
    Restoring,
)
from ansible_collections.slipway.release.plugins.module_utils._plan_maintenance import maintenance
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile, Proxy
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import PROFILE
from tests.unit.plugins.module_utils.host import Host
from tests.unit.plugins.module_utils.test_containers import OLD, made

pytestmark = pytest.mark.promise("D4")
CANDIDATE = Candidate("1.1.0", "migrating", Before("1.0.0", [], None))


class World:
    """A site that stands behind a proxy, in whose place a page can be put."""

    def __init__(self, root: Path, drain: str) -> None:
        self.events: list[str] = []
        self.page: Container | None = None
        self.running = [made("web-1", "sha256:old"), made("web-2", "sha256:old")]
        self.web: dict[str, Any] = {}
        ledger = Ledger(root / "swarm")
        with ledger.locked():
            ledger.save_release(OLD)
            ledger.update(current=OLD.version)
        self.site = cast(
            "Site",
            SimpleNamespace(
                ledger=ledger,
                directory=root,
                profile=SimpleNamespace(
                    name="swarm",
                    proxy=Proxy(drain, dns_ttl=0, maintenance_page="page.html"),
                    services=SimpleNamespace(web="web", worker="worker"),
                ),
                compose=SimpleNamespace(config={"services": {"web": self.web}}),
                code=lambda: self.running,
                docker=SimpleNamespace(stop=self.stop),
                runs=lambda _release, beside: [] if self.running and beside else ["no container of web runs"],
            ),
        )

    @property
    def container(self) -> Container | None:
        return self.page

    def show(self) -> None:
        self.events.append("page")
        self.page = made("page", "sha256:old")

    def stop(self, some: Sequence[Container]) -> None:
        self.events.append(f"stop {' '.join(item.id for item in some)}")
        self.running = [item for item in self.running if item not in some]

    def move(self, containers: Sequence[Container]) -> None:
        self.events.append(f"wait until {' '.join(item.name for item in containers)} is found")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    made_here = World(tmp_path, request.param)
    monkeypatch.setattr(_plan_maintenance, "Maintenance", lambda _site: made_here)
    monkeypatch.setattr(_gates, "Maintenance", lambda _site: made_here)
    monkeypatch.setattr(_plan_maintenance, "traffic_of", lambda _site: made_here)
    step = Step("put the maintenance page up", lambda: made_here.page is not None, made_here.show)
    monkeypatch.setattr(_plan_maintenance, "show_page", lambda *_: step)
    return made_here


def steps(plan: Plan) -> list[Step]:
    return [step for group in plan.steps for step in (group if isinstance(group, tuple) else (group,))]


@pytest.mark.parametrize("world", ["nginx_reload", "haproxy"], indirect=True)
def test_where_the_proxy_can_be_told_nothing_stops(world: World) -> None:
    assert [step.name for step in steps(maintenance(world.site, shown=True))] == ["put the maintenance page up"]


@pytest.mark.parametrize("world", ["docker_dns", "none"], indirect=True)
def test_where_it_cannot_the_web_containers_stop_one_after_another_once_the_page_is_found(world: World) -> None:
    page, stop = steps(maintenance(world.site, shown=True))
    assert not page.done()
    page.apply()
    assert not stop.done()
    assert stop.apply() == {"stopped": ["web-1", "web-2"]}
    assert world.events == ["page", "wait until page is found", "stop id-web-1", "stop id-web-2"]
    assert page.done()
    assert stop.done()


@pytest.mark.parametrize("world", ["docker_dns", "none"], indirect=True)
def test_nothing_stops_while_no_page_is_there(world: World) -> None:
    _, stop = steps(maintenance(world.site, shown=True))
    with pytest.raises(SlipwayError, match="the maintenance page is gone"):
        stop.apply()
    world.page = replace(made("page", "sha256:old"), state="exited")
    with pytest.raises(SlipwayError, match="the maintenance page is gone"):
        stop.apply()
    assert len(world.running) == 2


@pytest.mark.parametrize("world", ["docker_dns", "none"], indirect=True)
def test_where_visitors_would_not_see_it_it_is_refused(world: World) -> None:
    world.web["ports"] = [{"published": "80"}]
    with pytest.raises(SlipwayError, match=r"service web has ports of its own.*'docker compose stop web'"):
        maintenance(world.site, shown=True)
    assert steps(maintenance(world.site, shown=False))


@pytest.mark.parametrize("world", ["none"], indirect=True)
def test_a_page_that_is_a_link_is_refused_before_anything_stops(world: World) -> None:
    (world.site.directory / "page.html").symlink_to(".env")
    with pytest.raises(SlipwayError, match=r"page\.html is a link or no regular file: put a regular file in its place"):
        maintenance(world.site, shown=True)
    assert steps(maintenance(world.site, shown=False))


@pytest.mark.parametrize("world", ["none"], indirect=True)
def test_it_goes_when_the_release_answers_again(world: World) -> None:
    names = [step.name for step in steps(maintenance(world.site, shown=False))]
    assert names.index("start the web containers") < names.index("take the maintenance page down")


@pytest.mark.parametrize("world", ["none"], indirect=True)
def test_a_deploy_says_that_the_page_is_up(world: World) -> None:
    world.page, world.running = made("page", "sha256:old"), []
    gates = Gates(world.site, Request("deploy", "r1", "1.1.0", "1.1.0"))
    with pytest.raises(SlipwayError, match=r"the maintenance page stands in the place of 1\.0\.0 .*=absent first"):
        gates.drift()
    world.page = None
    with pytest.raises(SlipwayError, match="what runs is not release"):
        gates.drift()


@pytest.fixture
def standing(tmp_path: Path) -> Site:
    proxy = Proxy("nginx_reload", "web", "upstream/web.conf")
    made = Site(replace(Profile.parse(PROFILE), state_directory=str(tmp_path), proxy=proxy), runner=Host())
    with made.ledger.locked():
        made.ledger.save_release(Release("1.0.0", "a" * 40, {}, {}, []))
        made.ledger.update(current="1.0.0")
    return made


@pytest.mark.parametrize("shown", [True, False])
def test_where_a_release_stands_the_page_comes_and_goes(standing: Site, *, shown: bool) -> None:
    assert maintenance(standing, shown=shown).steps


@pytest.mark.parametrize(
    "half, said",
    [
        ({"candidate": CANDIDATE}, r"release 1\.1\.0 was left half done \(migrating\)"),
        ({"restoring": Restoring("b1", "b2", "now", uploads=True)}, "the restore of b1 was begun and did not end"),
    ],
)
def test_over_what_is_half_done_it_stays(standing: Site, half: dict[str, Candidate | Restoring], said: str) -> None:
    with standing.ledger.locked():
        standing.ledger.update(**half)
    with pytest.raises(SlipwayError, match=said):
        maintenance(standing, shown=False)
    assert maintenance(standing, shown=True).steps
