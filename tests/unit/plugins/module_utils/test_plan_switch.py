"""What runs is a release's own only when its containers hold the release's files, too."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _plan_switch
from ansible_collections.slipway.release.plugins.module_utils._engine import Step
from ansible_collections.slipway.release.plugins.module_utils._ledger import Release
from ansible_collections.slipway.release.plugins.module_utils._plan_switch import start_services, start_workers
from ansible_collections.slipway.release.plugins.module_utils._site import Site

OLD = Release("1.0.0", "a" * 40, {"web": "sha256:1", "proxy": "sha256:2"}, {}, [])
NEW = Release("1.1.0", "b" * 40, {"web": "sha256:3", "proxy": "sha256:2"}, {}, [])


class World:
    """Two services, of which the proxy mounts a file that is in git."""

    def __init__(self, directory: Path, mounted: str = "nginx/nginx.conf", drain: str = "nginx_reload") -> None:
        self.file = directory / "nginx" / "nginx.conf"
        self.file.parent.mkdir()
        self.file.write_text("new")
        self.started = {"proxy": 100.0}
        self.config_hashes = {"proxy": "made of this"}
        self.done: list[str] = []
        self.half_made: list[str] = []
        # the services whose container ended with code 0 and is not started again
        self.ended: set[str] = set()
        self.config = {
            "services": {
                "web": {"volumes": [{"type": "volume", "source": "storage"}]},
                "proxy": {"volumes": [{"type": "bind", "source": str(directory / mounted)}]},
            }
        }
        self.site = cast(
            "Site",
            SimpleNamespace(
                directory=directory,
                checkout=SimpleNamespace(differing=lambda _old, _new: ["nginx/nginx.conf", "app/gone.rb"]),
                containers=lambda service=None: [
                    item for item in self.containers() if item.good and service in {None, item.service}
                ],
                profile=SimpleNamespace(
                    name="swarm",
                    services=SimpleNamespace(proxy="proxy", names=("web", "proxy")),
                    proxy=SimpleNamespace(drain=drain),
                ),
                all_containers=self.containers,
                docker=SimpleNamespace(half_made=lambda _containers: self.half_made, settle=self.settle),
                compose_of=lambda _release: self,
            ),
        )

    def containers(self) -> list[SimpleNamespace]:
        made = {"config_hash": "made of this", "image": "sha256:2"}
        return [
            SimpleNamespace(
                service=name, good=name not in self.ended, finished=name in self.ended, started=started, **made
            )
            for name, started in self.started.items()
        ]

    def settle(self, project: str) -> None:
        self.done.append(f"settle {project}")
        self.half_made.clear()

    def replicas(self, _service: str) -> int:
        return 1

    def start_differing(self, *services: str) -> None:
        self.done.append(f"start {' '.join(services)}")

    def recreate(self, *services: str) -> None:
        self.done.append(f"recreate {' '.join(services)}")
        self.started.update(dict.fromkeys(services, 300.0))

    def changed_at(self, moment: float) -> None:
        os.utime(self.file, (moment, moment))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def proxy_step(world: World) -> Step:
    return start_services(world.site, NEW, OLD, "start the proxy", ["proxy"])


def test_a_container_that_was_started_before_its_file_changed_is_made_again_also_after_a_kill(world: World) -> None:
    world.changed_at(150.0)
    step = proxy_step(world)
    assert not step.done()
    step.apply()
    assert world.done == ["settle swarm", "recreate proxy"]
    assert step.done()


def test_one_that_was_started_afterwards_is_left_alone(world: World) -> None:
    world.changed_at(50.0)
    assert proxy_step(world).done()


def test_one_that_compose_would_make_otherwise_is_replaced(world: World) -> None:
    world.changed_at(50.0)
    world.config_hashes["proxy"] = "made of something else"
    step = proxy_step(world)
    assert not step.done()
    step.apply()
    assert world.done == ["settle swarm", "start proxy"]


def test_one_that_does_its_work_and_ends_is_run_once(world: World) -> None:
    world.changed_at(50.0)
    world.started["buckets"], world.config_hashes["buckets"] = 100.0, "made of this"
    world.ended = {"buckets", "proxy"}
    assert start_services(world.site, NEW, None, "start what else differs", ["buckets"]).done()
    # what serves is not meant to end
    assert not proxy_step(world).done()
    world.config_hashes["buckets"] = "made of something else"
    assert not start_services(world.site, NEW, None, "start what else differs", ["buckets"]).done()


def test_a_service_that_the_files_have_no_more_keeps_nobody_from_going_back(world: World) -> None:
    world.changed_at(50.0)
    assert start_services(world.site, OLD, NEW, "start what else differs", ["grafana"]).done()


@pytest.mark.parametrize("drain, left_alone", [("nginx_reload", True), ("docker_dns", False)])
def test_a_mounted_directory_is_read_anew_by_an_nginx_that_reloads(
    tmp_path: Path, drain: str, *, left_alone: bool
) -> None:
    world = World(tmp_path, "nginx", drain)
    world.changed_at(150.0)
    assert proxy_step(world).done() == left_alone


def test_a_file_that_is_gone_changed_when_its_directory_did(world: World) -> None:
    world.file.unlink()
    os.utime(world.file.parent, (150.0, 150.0))
    assert not proxy_step(world).done()


def test_what_a_killed_compose_had_half_made_is_settled_first(world: World) -> None:
    world.changed_at(50.0)
    world.half_made = ["0123456789ab_swarm-proxy-1"]
    step = proxy_step(world)
    assert not step.done()
    step.apply()
    assert world.done == ["settle swarm"]
    assert step.done()


def test_workers_go_on_until_others_boot_and_are_quiet_while_these_do(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    booting = SimpleNamespace(id="new", running=False)
    # what is there when one is asked for the first time, and afterwards
    waiting = iter([[booting], [SimpleNamespace(id="new", running=True)]])
    workers = SimpleNamespace(
        create=lambda: did.append("create"),
        waiting=lambda: next(waiting),
        others=lambda: ["old"],
        start=lambda some: did.append(f"await {[item.id for item in some]}"),
    )
    site = cast("Site", SimpleNamespace(docker=SimpleNamespace(start=lambda ids: did.append(f"start {ids}"))))
    monkeypatch.setattr(_plan_switch, "workers_of", lambda _site, _release: workers)
    monkeypatch.setattr(_plan_switch, "quiet", lambda _site, some: did.append(f"quiet {some}"))
    start_workers(site, NEW).apply()
    assert did == ["create", "start ['new']", "quiet ['old']", "await ['new']"]
