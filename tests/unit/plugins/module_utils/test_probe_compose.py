from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request

from tests.unit.plugins.module_utils.host import Host, container

Build = Callable[..., Prober]


def look(prober: Prober, looks: int = 1) -> list[Observation]:
    seen = prober.run(Request(("services",), looks=looks)).observations
    assert {item.probe for item in seen} == {"service"}
    return list(seen)


def web(seen: list[Observation]) -> Observation:
    return [item for item in seen if item.subject == "web"][-1]


def test_containers_that_were_replaced_say_nothing_about_the_release(host: Host, prober: Build, tmp_path: Path) -> None:
    """`tmp_path` holds the ledger, which names the release's images."""
    ledger = Ledger(tmp_path / "state/swarm")
    with ledger.locked():
        ledger.save_release(Release("1.1.0", "a" * 40, {"web": "sha256:web", "worker": "sha256:worker"}, {}, []))
        ledger.update(current="1.1.0")
    source = ledger.release_directory("1.1.0") / "source"
    source.mkdir()
    (source / "compose.yml").touch()
    old = [container("web", 3, state="exited"), container("web", 4)]
    host.containers += [{**item, "Image": "sha256:replaced"} for item in old]
    seen = web(look(prober(state_directory=str(tmp_path / "state"))))
    assert (seen.ok, seen.detail) == (True, "2 of 2 running and healthy, 0 restarts")
    host.containers[1:3] = []
    assert web(look(prober(state_directory=str(tmp_path / "state")))).ok is False


def test_every_service_of_the_profile_is_compared_with_the_compose_files(prober: Build) -> None:
    seen = look(prober())
    assert [item.subject for item in seen] == ["postgres", "redis", "web", "worker", "proxy"]
    assert all(item.ok for item in seen)
    assert (web(seen).value, web(seen).unit) == (2, "containers")
    assert web(seen).detail == "2 of 2 running and healthy, 0 restarts"


@pytest.mark.parametrize(
    "second, reason",
    [
        (None, "1 of 2 running and healthy, 0 restarts"),
        ({"health": "unhealthy"}, "1 of 2 running and healthy, 1 unhealthy, 0 restarts"),
        ({"health": "starting"}, "1 of 2 running and healthy, 1 starting, 0 restarts"),
        ({"state": "restarting", "restarts": 7}, "1 of 2 running and healthy, 1 restarting, 7 restarts"),
        ({"state": "exited", "exit_code": 137}, "1 of 2 running and healthy, 1 exited with code 137, 0 restarts"),
        ({"state": "paused"}, "1 of 2 running and healthy, 1 paused, 0 restarts"),
        ({"oneoff": "True"}, "1 of 2 running and healthy, 0 restarts"),
    ],
)
def test_a_replica_that_is_not_well_is_a_failure(
    host: Host, prober: Build, second: dict[str, Any] | None, reason: str
) -> None:
    host.containers[2:3] = [] if second is None else [container("web", 2, **second)]
    seen = look(prober())
    assert (web(seen).ok, web(seen).detail) == (False, reason)
    assert all(item.ok for item in seen if item.subject != "web")


def test_one_container_too_many_is_a_failure(host: Host, prober: Build) -> None:
    host.containers.append(container("web", 3))
    assert (web(look(prober())).ok, web(look(prober())).value) == (False, 3)


def test_a_service_without_health_check_counts_when_it_runs(host: Host, prober: Build) -> None:
    host.containers[1] = container("web", 1, health=None)
    assert web(look(prober())).ok is True


def test_old_restarts_are_reported_and_new_ones_are_a_failure(host: Host, prober: Build) -> None:
    host.containers[1] = container("web", 1, restarts=3)
    built = prober()
    assert web(look(built)).detail == "2 of 2 running and healthy, 3 restarts"
    host.containers[1] = container("web", 1, restarts=4)
    again = web(look(built))
    assert again.ok is False
    assert again.detail.endswith("4 restarts, 1 of the containers restarted since the first look")


def test_scale_counts_like_replicas(host: Host, prober: Build) -> None:
    host.services["web"] = {"scale": 3}
    assert web(look(prober())).detail.startswith("2 of 3")


def test_a_service_that_the_compose_files_lack_cannot_be_seen(host: Host, prober: Build) -> None:
    del host.services["web"]
    assert (web(look(prober())).ok, web(look(prober())).detail) == (
        None,
        "could not be seen: the Compose files have no such service",
    )


@pytest.mark.parametrize(
    "refusal, reason",
    [
        (SlipwayError("docker is not on this host: install it"), "docker is not on this host: install it"),
        (
            CommandError(["docker", "ps"], 1, "permission denied\nCannot connect to the Docker daemon\n"),
            "Cannot connect to the Docker daemon",
        ),
        (CommandError(["docker", "ps"], None, "\n"), "docker ps ran out of time"),
    ],
)
def test_a_silent_docker_is_neither_good_nor_bad(host: Host, prober: Build, refusal: SlipwayError, reason: str) -> None:
    host.refusal = refusal
    seen = prober().run(Request(("services", "workers", "warm"))).observations
    assert {(item.probe, item.subject): item.ok for item in seen} == {
        ("service", "services"): None,
        ("worker", "worker"): None,
        ("cache", "agents/metrics"): None,
        ("cache", "system_health"): None,
    }
    assert [item.detail for item in seen if reason not in item.detail] == []
    assert f"could not be seen: {reason}" in {item.detail for item in seen}


def test_docker_is_asked_a_fixed_number_of_times(host: Host, prober: Build) -> None:
    look(prober(), looks=2)
    assert len(host.commands) == 5
