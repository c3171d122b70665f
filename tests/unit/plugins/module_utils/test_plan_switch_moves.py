"""In which order containers start, are warmed, get requests and stop, and that never fewer answer than did before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _containers, _plan_switch
from ansible_collections.slipway.release.plugins.module_utils._compose import Container
from ansible_collections.slipway.release.plugins.module_utils._plan_switch import (
    let_replaced_go,
    move_traffic,
    renew_web,
    replace_workers,
    start_web,
    start_workers,
)
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.test_containers import NEW, OLD, World, made

pytestmark = pytest.mark.promise("D4")
MEGABYTES_EACH = 100


class Switching(World):
    """A site with some old containers, a proxy that is told where to send requests, and memory that runs short."""

    def __init__(self, root: Path, old: int, new: int, *, told: bool = True) -> None:
        super().__init__(root)
        self.now = 100.0
        self.events: list[str] = []
        self.containers = [replace(made(f"web-{number + 1}", "sha256:old"), started=50.0) for number in range(old)]
        self.new, self.old, self.told = new, old, told
        self.sent_to = {item.name for item in self.containers}
        self.fewest = old
        site = cast("Any", self.site)
        site.docker.stop = self.stopped
        site.docker.memory = lambda ids: [MEGABYTES_EACH * 1_000_000 for _ in ids]
        site.code_services = ("web",)
        site.containers = lambda service=None: [
            item for item in self.containers if item.running and service in {None, item.service}
        ]
        site.profile = SimpleNamespace(
            services=SimpleNamespace(web="web", worker="web", proxy="proxy"),
            proxy=SimpleNamespace(drain="nginx_reload"),
        )

    def compose_of(self, release: Any) -> SimpleNamespace:  # noqa: ANN401 - as the world has it
        made_by = super().compose_of(release)
        made_by.replicas = lambda _service: self.new if release is NEW else self.old
        return made_by

    def names(self, ids: Sequence[str]) -> list[str]:
        return [item.name for item in self.containers if item.id in ids]

    def start(self, ids: Sequence[str]) -> None:
        self.now += 1
        self.events.append(f"start {' '.join(self.names(ids))}")
        self.containers = [
            replace(item, state="running", health="healthy", started=self.now) if item.id in ids else item
            for item in self.containers
        ]
        self._count()

    def stopped(self, some: Sequence[Container]) -> None:
        names = [item.name for item in some]
        assert len(names) == 1 or "quiet" in self.events[-1], "stopped at once, so that WebSockets come back together"
        self.events.append(f"stop {' '.join(names)}")
        if self.told:
            assert not self.sent_to & set(names), "stopped while requests are sent to it"
        self.stop(*names)
        self._count()

    def _count(self) -> None:
        answering = {item.name for item in self.containers if item.good}
        self.fewest = min(self.fewest, len(answering & self.sent_to if self.told else answering))

    def targets(self) -> set[str] | None:
        return self.sent_to if self.told else None

    def move(self, containers: Sequence[Container]) -> None:
        assert all(item.good for item in containers)
        self.sent_to = {item.name for item in containers}
        self.events.append(f"send to {' '.join(item.name for item in containers)}")
        self._count()

    def let_go(self, containers: Sequence[Container]) -> None:
        self.events.append(f"await {' '.join(item.name for item in containers)}")

    def settled(self) -> bool:
        return True

    def settle(self) -> None:
        self.events.append("settle")


def switching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, *counts: int, **more: bool) -> Switching:
    """A site whose memory has room for so many more containers than run at the beginning."""
    world = Switching(tmp_path, *counts, **more)

    def available() -> int:
        taken = sum(item.running for item in world.containers) - world.old
        return int((room - taken) * MEGABYTES_EACH * 1_000_000 * _containers.MEMORY_HEADROOM) + 1_000_000

    monkeypatch.setattr(_containers, "_memory", lambda _container: 0)
    monkeypatch.setattr(_containers, "_available", available)
    monkeypatch.setattr(_plan_switch, "traffic_of", lambda _site: world)
    monkeypatch.setattr(
        _plan_switch, "await_answers", lambda _site, _release, some: world.events.append(f"asked {len(some)}")
    )
    monkeypatch.setattr(
        _plan_switch, "warm", lambda _site, some: world.events.append(f"warm {' '.join(item.name for item in some)}")
    )
    return world


def test_with_room_for_all_they_start_at_once_beside_the_old_and_nobody_is_sent_to_them_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = switching(tmp_path, monkeypatch, 2, 2, 2)
    step = start_web(world.site, NEW)
    assert step.apply() == {"at_once": 2}
    assert world.events == ["start web-3 web-4", "asked 2"]
    assert step.done()
    move_traffic(world.site, NEW).apply()
    assert world.events[2:] == ["warm web-3 web-4", "send to web-3 web-4"]
    assert world.fewest == 2


def test_without_room_for_all_they_are_replaced_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = switching(tmp_path, monkeypatch, 2, 3, 3)
    step = start_web(world.site, NEW)
    assert step.apply() == {"at_once": 2}
    assert world.events == [
        "start web-4 web-5",
        "asked 2",
        "warm web-4 web-5",
        "send to web-4 web-5 web-3",
        "await web-1 web-2",
        "stop web-1",
        "stop web-2",
        "start web-6",
        "asked 1",
        "warm web-6",
        "send to web-4 web-5 web-6",
        "await web-3",
        "stop web-3",
    ]
    assert step.done()
    assert move_traffic(world.site, NEW).done()
    assert world.fewest == 3


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("old, new", [(1, 1), (2, 2), (3, 3), (1, 3), (4, 2), (2, 5)])
@pytest.mark.parametrize("room", [0, 1, 2, 3, 9])
def test_never_fewer_answer_than_did_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, old: int, new: int, *, told: bool
) -> None:
    world = switching(tmp_path, monkeypatch, room, old, new, told=told)
    most = 0

    def start(ids: Sequence[str]) -> None:
        nonlocal most
        Switching.start(world, ids)
        most = max(most, sum(item.running for item in world.containers))

    cast("Any", world.site).docker.start = start
    start_web(world.site, NEW).apply()
    move_traffic(world.site, NEW).apply()
    assert world.fewest >= min(old, new)
    # one is started whatever the memory: else there would be no way but to stop what answers
    assert most <= old + max(1, room) + max(0, new - old)
    warmed = {name for event in world.events if event.startswith("warm") for name in event.split()[1:]}
    assert warmed == {item.name for item in world.containers if item.image == "sha256:new"}


def test_one_that_was_killed_in_a_part_goes_on_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = switching(tmp_path, monkeypatch, 1, 2, 2)
    kill = SimpleNamespace(at="stop web-1")

    def stop(some: Sequence[Container]) -> None:
        if f"stop {' '.join(item.name for item in some)}" == kill.at:
            kill.at = None
            raise KeyboardInterrupt
        world.stopped(some)

    cast("Any", world.site).docker.stop = stop
    step = start_web(world.site, NEW)
    with pytest.raises(KeyboardInterrupt):
        step.apply()
    assert not step.done()
    step.apply()
    assert step.done()
    move_traffic(world.site, NEW).apply()
    assert world.sent_to == {"web-3", "web-4"}
    assert world.fewest == 2


def test_the_replaced_are_let_go_one_after_another_when_the_release_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = switching(tmp_path, monkeypatch, 3, 3, 3)
    start_web(world.site, NEW).apply()
    move_traffic(world.site, NEW).apply()
    before = len(world.events)
    step = let_replaced_go(world.site, NEW)
    assert not step.done()
    assert step.apply() == {"stopped": ["web-1", "web-2", "web-3"]}
    assert world.events[before:] == ["await web-1 web-2 web-3", "stop web-1", "stop web-2", "stop web-3", "settle"]
    assert step.done()
    # kept for the way back
    assert len(world.containers) == 6


def test_a_proxy_that_finds_them_by_itself_has_the_old_stopped_one_after_another_before_the_release_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = switching(tmp_path, monkeypatch, 2, 2, 2, told=False)
    start_web(world.site, NEW).apply()
    move_traffic(world.site, NEW).apply()
    assert world.events[-4:] == ["send to web-3 web-4", "await web-1 web-2", "stop web-1", "stop web-2"]


def test_containers_whose_services_were_replaced_are_renewed_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = switching(tmp_path, monkeypatch, 1, 2, 2)
    redis = replace(made("redis-1", "sha256:redis"), service="redis", started=90.0)
    cast("Any", world.site).containers = lambda _service=None: [redis]
    step = renew_web(world.site, OLD, 80.0)
    assert not step.done()
    assert renew_web(world.site, OLD, 95.0).done()
    assert step.apply() == {"renewed": ["web-1", "web-2"]}
    assert world.events == [
        "start web-3",
        "asked 2",
        "send to web-2 web-3",
        "await web-1",
        "stop web-1",
        "start web-1",
        "asked 2",
        "send to web-3 web-1",
        "await web-2",
        "stop web-2",
    ]
    assert step.done()
    assert world.fewest == 2
    assert sum(item.running for item in world.containers) == 2


@pytest.mark.parametrize("room", [1, 2])
def test_workers_without_room_for_both_sets_end_before_the_others_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    world = switching(tmp_path, monkeypatch, room, 2, 2, told=False)

    def end(_site: Site, _release: Any, some: Sequence[Container]) -> dict[str, Any]:  # noqa: ANN401 - not looked at
        names = [item.name for item in some]
        world.events.append(f"end {' '.join(names)}")
        world.stop(*names)
        return {"pushed_back": 1, "at_work": ["LaunchCampaignJob 1f"]}

    monkeypatch.setattr(_plan_switch, "end_workers", end)
    monkeypatch.setattr(
        _plan_switch, "quiet", lambda _site, some: world.events.append(f"quiet {' '.join(item.name for item in some)}")
    )
    monkeypatch.setattr(_plan_switch, "await_live", lambda _site, some: world.events.append(f"live {len(some)}"))
    first, then = start_workers(world.site, NEW), replace_workers(world.site, NEW)
    assert first.done() == (room < 2)
    if room == 2:
        first.apply()
    assert then.apply() == {"pushed_back": 1, "at_work": ["LaunchCampaignJob 1f"]}
    both = ["start web-3 web-4", "quiet web-1 web-2"]
    # the stopped make room, and their names are free when the others are made
    alone = ["end web-1 web-2", "start web-1 web-2", "live 2"]
    assert world.events[:2] == (both if room == 2 else alone[:2])
    assert sorted(world.events[2:]) == (["end web-1 web-2", "live 2"] if room == 2 else alone[2:])
    assert then.done()
