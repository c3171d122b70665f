from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _integrity, _probe
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._probe import KINDS, Prober, Request

from tests.unit.plugins.module_utils.application import Answer, Application
from tests.unit.plugins.module_utils.host import Host

Build = Callable[..., Prober]


@dataclass
class Watch:
    """Time that passes only in sleep."""

    passed: float = 0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: datetime(2026, 11, 23, 8, tzinfo=UTC), lambda: self.passed, self.sleep)


def test_all_kinds_at_once(application: Application, host: Host, prober: Build) -> None:
    host.tells = lambda sql: "0\x1foff\x1fstderr\n" if "log_min_duration" in sql else "" if "pg_ext" in sql else "0\n"
    figure = {"name": "agents online", "sql": "SELECT 0", "at_least": 0.5}
    seen = prober(figures=[figure]).run(Request(KINDS)).observations
    assert [item.detail for item in seen if not item.ok] == [
        "no such key after a visit to /system_health.json",
        "could not be seen: no report was given, and no scanner: security_reports, security_scanner",
        "could not be seen: 1 there, and nobody noted when the release came in",
        "could not be seen: 2 there, and nobody noted when the release came in",
        "could not be seen: nobody noted before the release what statements took, by log",
        "could not be seen: nobody noted before the release what statements took, by log",
        "0, nobody noted it before the release",
    ]
    kinds = {"page", "health", "flow", "service", "worker", "cache", "data", "exposure", "vulnerability"}
    kinds |= {"job", "query", "figure", "log"}
    assert {item.probe for item in seen} == kinds
    assert application.paths("POST").count("/login") == 1


def test_looks_keep_their_interval(prober: Build) -> None:
    watch = Watch()
    seen = prober(clock=watch.clock).run(Request(("services",), looks=3, interval=20)).observations
    assert len(seen) == 15
    assert watch.slept == [20, 20]
    assert {item.at for item in seen} == {"2026-11-23T08:00:00.000Z"}


def test_warm_comes_before_everything_else(application: Application, prober: Build) -> None:
    application.answers("GET /agents", Answer(200, "Agents", delay=0.1))
    seen = prober().run(Request(("health", "caches", "warm"))).observations
    assert [item.probe for item in seen][:2] == ["cache", "cache"]
    assert [item.probe for item in seen].count("cache") == 2


def test_a_probe_that_breaks_is_not_a_pass_and_stops_no_other(monkeypatch: pytest.MonkeyPatch, prober: Build) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(_probe, "probe_health", broken)
    seen = {item.probe: item for item in prober().run(Request(("pages", "health"))).observations}
    assert seen["page"].ok is True
    assert (seen["health"].ok, seen["health"].detail) == (
        None,
        "could not be seen: ZeroDivisionError in the probe: oops",
    )


def test_no_observation_holds_what_the_env_file_alone_knows(host: Host, prober: Build, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RAILS_ENV=production\nSECRET_KEY_BASE=canary-4711\n")
    host.refusal = SlipwayError("production does not know canary-4711")
    seen = prober(directory=str(tmp_path)).run(Request(("services", "jobs"))).observations
    assert {item.detail for item in seen} == {"could not be seen: production does not know ********"}


def test_a_docker_that_does_not_answer_is_asked_once_a_look(host: Host, released: Build) -> None:
    host.refusal = SlipwayError("docker hangs")
    built = released({})
    kinds = ("workers", "jobs", "queries", "caches")
    seen = built.run(Request(kinds)).observations
    assert {item.detail for item in seen} == {"could not be seen: docker hangs"}
    assert len(host.commands) == 1
    built.run(Request(kinds))
    assert len(host.commands) == 2


ASKED_FOR = {"workers": "worker", "health": "health", "flows": "flow", "data": "data", "exposure": "exposure"}


def test_what_the_profile_has_leaves_an_observation_even_where_nothing_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, prober: Build
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SlipwayError("nothing is there")

    for name in ("probe_workers", "probe_health", "probe_flow", "probe_exposure"):
        monkeypatch.setattr(_probe, name, broken)
    monkeypatch.setattr(_integrity, "look", broken)
    seen = prober().run(Request(tuple(ASKED_FOR))).observations
    assert {item.probe for item in seen} == set(ASKED_FOR.values())
    assert {item.ok for item in seen} == {None}


def test_what_the_profile_has_not_leaves_none(prober: Build) -> None:
    bare = prober(services={"web": "web", "database": "postgres"}, health=None, flows=[], caches=[])
    assert bare.run(Request(("workers", "health", "flows"))).observations == ()
    # another queue than Sidekiq's cannot be read in Redis
    other = prober(services={"web": "web", "database": "postgres", "worker": "worker"}, caches=[])
    assert other.run(Request(("workers",))).observations == ()
