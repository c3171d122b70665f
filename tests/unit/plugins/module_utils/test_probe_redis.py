from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_caches
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Findings, Prober, Request

from tests.unit.plugins.module_utils.application import Answer, Application, Asked
from tests.unit.plugins.module_utils.host import NOW, Host, container

Build = Callable[..., Prober]


def look(prober: Prober, kind: str, *, check_mode: bool = False) -> Findings:
    return prober.run(Request((kind,), check_mode=check_mode))


def worker(prober: Prober) -> Observation:
    (seen,) = look(prober, "workers").observations
    assert (seen.probe, seen.subject) == ("worker", "worker")
    return seen


def test_a_fresh_beat_is_a_live_process(prober: Build) -> None:
    seen = worker(prober())
    assert (seen.ok, seen.value, seen.unit) == (True, 1, "processes")
    assert seen.detail == "1 of 1 Sidekiq processes live"


@pytest.mark.parametrize(
    "processes, reason",
    [
        ({}, "0 of 1 Sidekiq processes live"),
        ({"workerhost1:1:a": {}}, "0 of 1 Sidekiq processes live, 1 without a fresh beat"),
        ({"workerhost1:1:a": {"beat": f"{NOW - 45}"}}, "0 of 1 Sidekiq processes live, 1 without a fresh beat"),
        ({"workerhost1:1:a": {"beat": f"{NOW}", "quiet": "true"}}, "0 of 1 Sidekiq processes live, 1 quiet"),
        ({"gone:1:a": {"beat": f"{NOW}"}}, "0 of 1 Sidekiq processes live, 1 of containers that are gone"),
    ],
)
def test_a_process_that_does_not_work_is_not_counted(
    host: Host, prober: Build, processes: dict[str, dict[str, str]], reason: str
) -> None:
    host.processes = processes
    seen = worker(prober())
    assert (seen.ok, seen.value, seen.detail) == (False, 0, reason)


def test_every_running_worker_needs_a_process(host: Host, prober: Build) -> None:
    host.containers.append(container("worker", 2))
    seen = worker(prober())
    assert (seen.ok, seen.detail) == (False, "1 of 2 Sidekiq processes live")


def test_a_worker_that_does_not_run_is_a_failure_whatever_redis_says(host: Host, prober: Build) -> None:
    host.containers[3] = container("worker", state="exited")
    assert worker(prober()).ok is False


def test_without_a_worker_there_is_nothing_to_see(host: Host, prober: Build) -> None:
    services = {"web": "web", "database": "postgres", "cache": "redis"}
    assert look(prober(services=services), "workers").observations == ()
    assert host.commands == []


def test_without_redis_there_is_no_sidekiq_to_be_seen(host: Host, prober: Build) -> None:
    services = {"web": "web", "database": "postgres", "worker": "worker"}
    assert look(prober(services=services, caches=None), "workers").observations == ()
    assert host.commands == []


def test_workers_that_are_not_sidekiq_s_are_not_looked_for_in_redis(host: Host, prober: Build) -> None:
    for kind in ("workers", "jobs"):
        assert look(prober(jobs={"sidekiq": False}), kind).observations == ()
    assert host.commands == []


def test_the_password_goes_in_on_the_input_and_nowhere_else(host: Host, prober: Build) -> None:
    host.password = "s3cret"
    host.containers[5] = container("redis", env=["REDIS_PASSWORD=s3cret"])
    assert worker(prober()).ok is True
    assert "s3cret" not in str(host.commands)
    assert '"s3cret"' in host.inputs[0].splitlines()[0]


@pytest.mark.parametrize(
    "where",
    [
        {"redis": container("redis", args=["redis-server", "--requirepass", "s3cret"])},
        {"web": container("web", env=["REDIS_URL=redis://:s3cret@redis:6379/0"])},
        {"web": container("web", env=["CACHE=rediss://user:s3cret@redis:6379/1"])},
    ],
)
def test_the_password_is_found_where_containers_have_it(
    host: Host, prober: Build, where: dict[str, dict[str, Any]]
) -> None:
    host.password = "s3cret"
    host.containers = [
        where.get(item["Config"]["Labels"]["com.docker.compose.service"], item) for item in host.containers
    ]
    assert worker(prober()).ok is True


@pytest.mark.parametrize(
    "env, reason",
    [
        ([], "redis-cli: Redis wants a password: give its container REDIS_PASSWORD"),
        (["REDIS_PASSWORD=wrong"], "redis-cli: Redis refuses the password that its container is given"),
        (["X=redis://:s3cret@elsewhere:6379"], "redis-cli: Redis wants a password: give its container REDIS_PASSWORD"),
    ],
)
def test_a_password_that_is_not_known_is_said(host: Host, prober: Build, env: list[str], reason: str) -> None:
    host.password = "s3cret"
    host.containers[5] = container("redis", env=env)
    seen = worker(prober())
    assert (seen.ok, seen.detail) == (None, f"could not be seen: {reason}")


@pytest.mark.promise("C2")
def test_warming_renews_marked_keys_by_name_and_no_others(application: Application, host: Host, prober: Build) -> None:
    host.keys["sidekiq:queue"] = -1

    def fill(text: str) -> None:
        if "PTTL" in text:
            assert "/system_health.json" in application.paths()
            host.keys["system_health"] = 59_900

    host.on_redis = fill
    findings = look(prober(), "warm")
    cached = [item for item in findings.observations if item.probe == "cache"]
    assert {item.subject: (item.ok, item.value, item.detail) for item in cached} == {
        "agents/metrics": (True, 299, "present, expires in 299 s"),
        "system_health": (True, 59.9, "renewed, expires in 60 s"),
    }
    assert findings.changed is True
    assert host.keys == {"agents/metrics": 299_000, "system_health": 59_900, "sidekiq:queue": -1}
    assert not any("FLUSH" in text or "KEYS *" in text for text in host.inputs)


@pytest.mark.promise("C1", "R3")
@pytest.mark.parametrize("slow, loads", [(0, 1), (1, 2), (9, 3)])
def test_a_page_that_is_slow_without_its_key_is_asked_again_without_it(
    application: Application, host: Host, prober: Build, monkeypatch: pytest.MonkeyPatch, slow: int, loads: int
) -> None:
    monkeypatch.setattr(_probe_caches, "SLOW", 0.2)
    path = "GET /system_health.json"
    delays = [0.3] * slow

    def respond(asked: Asked) -> Answer:
        time.sleep(delays.pop() if delays else 0)
        host.keys["system_health"] = 59_900
        return application.normal(asked)

    application.overrides[path] = respond
    seen = [item for item in look(prober(), "warm").observations if item.probe == "page"]
    assert [item.subject for item in seen] == ["/system_health.json, not cached"] * loads
    assert [(item.value or 0) > 0.2 for item in seen] == [True] * min(slow, loads) + [False] * (
        loads - min(slow, loads)
    )
    assert application.paths().count("/system_health.json") == loads


@pytest.mark.promise("C2")
def test_a_key_that_a_visit_does_not_fill_is_a_failure(host: Host, prober: Build) -> None:
    seen = {item.subject: item for item in look(prober(), "warm").observations}
    assert (seen["system_health"].ok, seen["system_health"].value) == (False, None)
    assert seen["system_health"].detail == "no such key after a visit to /system_health.json"
    assert "system_health" not in host.keys


def test_check_mode_and_caches_delete_nothing(host: Host, prober: Build) -> None:
    for kind, check_mode in (("warm", True), ("caches", False)):
        findings = look(prober(), kind, check_mode=check_mode)
        assert {item.subject: item.ok for item in findings.observations} == {
            "agents/metrics": True,
            "system_health": True,
        }
        assert findings.changed is False
    assert "system_health" in host.keys


def test_a_page_that_fails_fails_its_cache_in_spite_of_the_key(application: Application, prober: Build) -> None:
    application.answers("GET /agents", Answer(500, "Error"))
    seen = {item.subject: item for item in look(prober(), "caches").observations}
    assert (seen["agents/metrics"].ok, seen["agents/metrics"].detail) == (False, "GET /agents: 500, expected 200")


def test_a_key_that_never_expires_has_no_value(host: Host, prober: Build) -> None:
    host.keys["agents/metrics"] = -1
    seen = {item.subject: item for item in look(prober(), "caches").observations}
    assert (seen["agents/metrics"].ok, seen["agents/metrics"].value) == (True, None)
    assert seen["agents/metrics"].detail == "present, never expires"


def test_a_key_of_any_bytes_reaches_redis_as_it_is(host: Host, prober: Build) -> None:
    key = 'views/"a b"\\ $(id) ö'
    host.keys[key.encode().decode("latin-1")] = 1000
    (seen,) = look(prober(caches=[{"page": "/agents", "key": key}]), "caches").observations
    assert seen.ok is True
    assert "$(id)" not in str(host.commands)


def test_a_stopped_redis_cannot_be_seen(host: Host, prober: Build) -> None:
    host.containers[5] = container("redis", state="exited")
    seen = look(prober(), "warm").observations
    assert [(item.ok, item.detail) for item in seen] == [
        (None, "could not be seen: no container of redis is running")
    ] * 2


def test_another_database_is_never_taken_for_the_one_that_was_asked_for(prober: Build) -> None:
    seen = look(prober(redis={"cache_database": 99, "worker_database": 3}), "caches").observations
    assert [(item.ok, item.detail) for item in seen] == [
        (None, "could not be seen: redis-cli: ERR DB index is out of range")
    ] * 2
