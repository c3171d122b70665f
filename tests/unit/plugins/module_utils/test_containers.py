"""One release's containers beside another's: told apart, made, started, kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _containers
from ansible_collections.slipway.release.plugins.module_utils._compose import Container
from ansible_collections.slipway.release.plugins.module_utils._containers import Containers
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Release
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("D4")

OLD = Release("1.0.0", "a" * 40, {"web": "sha256:old"}, {}, [])
NEW = Release("1.1.0", "b" * 40, {"web": "sha256:new"}, {}, [])


def made(name: str, image: str, *, state: str = "running", config_hash: str = "by compose") -> Container:
    return Container(
        id=f"id-{name}",
        name=name,
        service="web",
        image=image,
        hostname=name,
        state=state,
        health="healthy" if state == "running" else None,
        exit_code=0,
        restarts=0,
        oneoff=False,
        command=(),
        environment={},
        config_hash=config_hash,
    )


class World:
    """A project of one service, whose containers Compose and Docker change as the real ones do."""

    def __init__(self, root: Path) -> None:
        self.containers = [made("web-1", "sha256:old"), made("web-2", "sha256:old")]
        self.starts_as = "healthy"
        self.model: dict[str, Any] = {"environment": {"A": "1"}, "deploy": {"replicas": 2}}
        self.site = cast(
            "Site",
            SimpleNamespace(
                ledger=SimpleNamespace(root=root),
                all_containers=lambda: self.containers,
                at_rest=nullcontext,
                look_again=lambda: None,
                compose_of=self.compose_of,
                docker=SimpleNamespace(
                    remove=self.remove,
                    start=self.start,
                    inspect=lambda ids: [item for item in self.containers if item.id in ids],
                    logs=lambda _id: "it broke",
                ),
                log=lambda version, name, text: f"{version}/{name}: {text}",
                profile=SimpleNamespace(services=SimpleNamespace(web="none")),
            ),
        )

    def compose_of(self, release: Release) -> SimpleNamespace:
        def create(service: str, count: int) -> None:
            for _ in range(count - len(self.containers)):
                taken = {item.name for item in self.containers}
                name = next(name for name in (f"{service}-{number}" for number in range(1, 9)) if name not in taken)
                image = release.images[service]
                self.containers = [
                    *self.containers,
                    replace(
                        made(name, image, state="created", config_hash=f"for {count}"), id=f"id-{name}-{image[7:]}"
                    ),
                ]

        return SimpleNamespace(
            config={"services": {"web": self.model}},
            config_hashes={"web": "by compose"},
            replicas=lambda _service: 2,
            create=create,
        )

    def remove(self, ids: Sequence[str]) -> None:
        self.containers = [item for item in self.containers if item.id not in ids]

    def start(self, ids: Sequence[str]) -> None:
        self.containers = [
            replace(item, state="running", health=self.starts_as) if item.id in ids else item
            for item in self.containers
        ]

    def stop(self, *names: str) -> None:
        self.containers = [
            replace(item, state="exited", health=None) if item.name in names else item for item in self.containers
        ]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def names(containers: Sequence[Container]) -> list[str]:
    return [item.name for item in containers]


def test_the_new_ones_are_made_beside_the_old_and_found_again_by_another_process(world: World) -> None:
    Containers(world.site, NEW, "web").create()
    web = Containers(world.site, NEW, "web")
    assert names(web.own()) == ["web-3", "web-4"]
    assert names(web.others()) == ["web-1", "web-2"]
    assert names(web.waiting()) == ["web-3", "web-4"]
    web.create()
    assert len(world.containers) == 4


def test_a_damaged_note_is_said_in_one_line(world: World) -> None:
    note = world.site.ledger.root / "containers.json"
    note.write_text("{")
    with pytest.raises(SlipwayError, match=rf"^{note} is damaged \(.*\): remove it, containers that only it knows"):
        Containers(world.site, NEW, "web").own()


def test_what_people_started_by_compose_is_the_release_s_own(world: World) -> None:
    web = Containers(world.site, OLD, "web")
    assert names(web.good()) == ["web-1", "web-2"]
    assert web.others() == []


def test_the_same_image_with_other_settings_is_another_set(world: World) -> None:
    same = replace(NEW, images={"web": "sha256:old"})
    Containers(world.site, same, "web").create()
    assert names(Containers(world.site, same, "web").own()) == ["web-1", "web-2"]
    Containers(world.site, NEW, "web").create()
    world.model = {"environment": {"A": "2"}, "deploy": {"replicas": 2}}
    assert names(Containers(world.site, NEW, "web").own()) == []


def test_how_many_there_are_to_be_makes_no_other_set(world: World) -> None:
    Containers(world.site, NEW, "web").create()
    world.model = {"environment": {"A": "1"}, "deploy": {"replicas": 3}}
    assert names(Containers(world.site, NEW, "web").own()) == ["web-3", "web-4"]


def test_the_replaced_are_kept_until_the_next_switch(world: World) -> None:
    web = Containers(world.site, NEW, "web")
    web.create()
    web.start(web.waiting())
    world.stop("web-1", "web-2")
    # the way back starts them as they are
    back = Containers(world.site, OLD, "web")
    back.create()
    assert names(back.waiting()) == ["web-1", "web-2"]
    assert len(world.containers) == 4
    next_one = Containers(world.site, replace(NEW, images={"web": "sha256:next"}), "web")
    next_one.create()
    assert names(next_one.own()) == ["web-1", "web-2"]
    assert "sha256:old" not in {item.image for item in world.containers}


def test_one_that_docker_starts_again_and_again_counts_as_there_and_is_not_removed(world: World) -> None:
    world.containers[0] = replace(world.containers[0], state="restarting", health=None)
    web = Containers(world.site, NEW, "web")
    assert names(web.others()) == ["web-1", "web-2"]
    web.create()
    assert names(world.containers) == ["web-1", "web-2", "web-3", "web-4"]


def test_notes_about_containers_that_are_gone_are_dropped(world: World, tmp_path: Path) -> None:
    Containers(world.site, NEW, "web").create()
    world.remove(["id-web-3-new", "id-web-4-new"])
    Containers(world.site, replace(NEW, images={"web": "sha256:next"}), "web").create()
    assert sorted(json.loads((tmp_path / "containers.json").read_text())) == [
        "id-web-3-next",
        "id-web-4-next",
    ]
    assert (tmp_path / "containers.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("fixed", [{"container_name": "web"}, {"ports": [{"published": "9394"}]}])
def test_beside_one_that_has_a_name_or_a_port_to_itself_is_no_room(
    world: World, monkeypatch: pytest.MonkeyPatch, fixed: dict[str, object]
) -> None:
    monkeypatch.setattr(_containers, "room_beside", lambda _site, _containers: 7)
    assert Containers(world.site, OLD, "web").room() == 7
    world.model = {**world.model, **fixed}
    assert Containers(world.site, OLD, "web").room() == 0


def test_those_that_a_killed_start_left_running_are_only_waited_for(world: World) -> None:
    web = Containers(world.site, OLD, "web")
    world.start = lambda ids: pytest.fail(f"asked to start {ids}")  # type: ignore[method-assign]
    vars(world.site)["docker"].start = world.start
    assert names(web.start(web.own())) == ["web-1", "web-2"]


def test_one_that_somebody_removes_meanwhile_is_not_taken_for_healthy(world: World) -> None:
    web = Containers(world.site, NEW, "web")
    web.create()
    waiting = web.waiting()
    world.remove([waiting[0].id])
    with pytest.raises(SlipwayError, match="a container of web was removed while it started"):
        web.start(waiting)


def test_one_that_is_not_healthy_fails_with_its_log(world: World) -> None:
    web = Containers(world.site, NEW, "web")
    web.create()
    world.starts_as = "unhealthy"
    with pytest.raises(SlipwayError, match=r"web-3 is unhealthy instead of healthy .*1.1.0/web: it broke"):
        web.start(web.waiting())


def test_one_that_never_becomes_healthy_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_containers, "HEALTHY_WITHIN", 0.1)
    web = Containers(world.site, NEW, "web")
    web.create()
    world.starts_as = "starting"
    with pytest.raises(SlipwayError, match="web-3 is starting instead of healthy"):
        web.start(web.waiting())


def test_as_many_at_once_as_the_memory_allows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    web = Containers(world.site, OLD, "web")
    monkeypatch.setattr(_containers, "_available", lambda: 300_000_000)
    monkeypatch.setattr(_containers, "_memory", lambda _container: 200_000_000)
    assert web.room() == 1
    monkeypatch.setattr(_containers, "_memory", lambda _container: 100_000_000)
    assert web.room() == 2
    # where the control groups are not found, the engine is asked
    monkeypatch.setattr(_containers, "_memory", lambda _container: 0)
    asked = vars(world.site)["docker"]
    asked.memory = lambda ids: [100_000_000 * (number + 1) for number in range(len(ids))]
    assert web.room() == 1
    asked.memory = lambda ids: [0 for _ in ids]
    assert web.room() == web.count


@pytest.mark.parametrize(
    "listed, directory, used, idle",
    [
        ("0::/system.slice/docker-1f.scope", "system.slice/docker-1f.scope", "memory.current", "inactive_file"),
        ("5:memory:/docker/1f", "memory/docker/1f", "memory.usage_in_bytes", "total_inactive_file"),
        # a hybrid host, and one that is a container itself
        ("5:memory:/docker/1f\n0::/docker/1f", "memory/docker/1f", "memory.usage_in_bytes", "total_inactive_file"),
        ("4:memory:/docker/c3/docker/1f", "memory/docker/1f", "memory.usage_in_bytes", "total_inactive_file"),
        ("0::/../docker/1f", "docker/1f", "memory.current", "inactive_file"),
    ],
)
def test_what_a_container_uses_is_found_in_both_kinds_of_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, directory: str, used: str, idle: str
) -> None:
    place = tmp_path / "fs" / directory
    place.mkdir(parents=True)
    (place / used).write_text("300\n")
    (place / "memory.stat").write_text(f"cache 7\n{idle} 100\n")
    # what all together use is no container's
    for name in ("memory.current", "memory.usage_in_bytes"):
        (tmp_path / "fs" / name).write_text("9999\n")
    read = Path.read_text

    def told(path: Path, *arguments: Any, **more: Any) -> str:  # noqa: ANN401 - as Path has it
        return f"{listed}\n" if path == Path("/proc/4711/cgroup") else read(path, *arguments, **more)

    monkeypatch.setattr(Path, "read_text", told)
    monkeypatch.setattr(_containers, "CGROUPS", tmp_path / "fs")
    assert _containers._memory(replace(made("web-1", "sha256:old"), pid=4711)) == 200
    assert _containers._memory(replace(made("web-1", "sha256:old"), pid=1 << 30)) == 0
