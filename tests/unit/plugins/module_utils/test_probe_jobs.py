"""Sidekiq's jobs: what is told of them, and that no look counts what another has counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_jobs
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import Application
from tests.unit.plugins.module_utils.host import NOW, Host

pytestmark = pytest.mark.promise("P2")

Build = Callable[..., Prober]
# the moment of the release
AT = NOW - 600


@pytest.fixture
def make(released: Build) -> Build:
    """Builds a prober of a release that came in at AT."""
    return lambda **changes: released({"at": AT}, **changes)


def look(prober: Prober, *kinds: str, looks: int = 1) -> list[Observation]:
    return list(prober.run(Request(kinds or ("jobs",), looks=looks)).observations)


def by_subject(observations: list[Observation]) -> dict[str, Observation]:
    assert {item.probe for item in observations} == {"job"}
    return {item.subject: item for item in observations}


def test_jobs_that_are_well(make: Build) -> None:
    seen = by_subject(look(make()))
    assert {name: (item.ok, item.value, item.unit) for name, item in seen.items()} == {
        "dead": (True, 0, "jobs"),
        "retries": (True, 0, "jobs"),
        "latency default": (True, 0, "s"),
    }
    assert seen["dead"].detail == "0 of 1 failed for the first time since the release"
    assert seen["latency default"].detail == "0 jobs, the oldest waits for 0 s"


def test_each_look_counts_what_came_since_the_one_before(host: Host, make: Build) -> None:
    counters = iter([(900, 7), (930, 9), (950, 9)])

    def go_on(_text: str) -> None:
        processed, failed = next(counters)
        host.jobs = {**(host.jobs or {}), "processed": str(processed), "failed": str(failed)}

    host.on_redis = go_on
    seen = [item for item in look(make(), looks=3) if item.subject == "failed"]
    assert [(item.value, item.of, item.ok) for item in seen] == [(2, 30, True), (0, 20, True)]
    assert seen[0].detail == "2 of 30 failed since the look before"


def test_what_one_process_counted_the_next_goes_on_from(host: Host, make: Build) -> None:
    first = make()
    look(first)
    host.jobs = {**(host.jobs or {}), "processed": "910", "failed": "8"}
    second = make()
    second.counted = json.loads(json.dumps(first.counted))
    failed = by_subject(look(second))["failed"]
    assert (failed.value, failed.of) == (1, 10)


def test_counters_that_were_reset_are_no_evidence(host: Host, make: Build) -> None:
    prober = make()
    look(prober)
    host.jobs = {**(host.jobs or {}), "processed": "3", "failed": "0"}
    failed = by_subject(look(prober))["failed"]
    assert (failed.ok, failed.value, failed.of) == (None, None, None)


def test_failures_that_were_told_of_before_their_jobs_are_no_more_than_all(host: Host, make: Build) -> None:
    prober = make()
    look(prober)
    host.jobs = {**(host.jobs or {}), "failed": "9"}
    failed = by_subject(look(prober))["failed"]
    assert (failed.value, failed.of) == (2, 2)


def test_jobs_that_died_since_the_release_are_a_fact_and_named_by_class(host: Host, make: Build) -> None:
    classes = {"LaunchCampaignJob": 2, "Billing::ChargeJob": 5, 'x"; DROP TABLE': 1}
    host.jobs = {**(host.jobs or {}), "dead": 11, "died": classes, "retries": 3, "retried": {"LaunchCampaignJob": 3}}
    seen = by_subject(look(make()))
    assert (seen["dead"].ok, seen["dead"].value) == (False, 8)
    assert seen["dead"].detail == (
        "8 of 11 failed for the first time since the release: Billing::ChargeJob (5), LaunchCampaignJob (2), ? (1)"
    )
    assert (seen["retries"].ok, seen["retries"].value) == (True, 3)
    assert "LaunchCampaignJob (3)" in seen["retries"].detail


def test_redis_is_asked_for_what_failed_since_the_release(host: Host, make: Build) -> None:
    look(make())
    (text,) = host.inputs
    assert "\\x2e".join(f"{AT:.3f}".split(".")) in text.splitlines()[-1]


def test_where_nobody_noted_the_release_the_dead_are_no_evidence(host: Host, released: Build) -> None:
    host.jobs = {**(host.jobs or {}), "died": {"OldJob": 1}}
    seen = by_subject(look(released({})))
    assert [seen[name].ok for name in ("dead", "retries")] == [None, None]


@pytest.mark.parametrize("limit, ok", [(None, True), (300, True), (60, False)])
def test_a_queue_whose_oldest_job_waits_too_long(host: Host, make: Build, limit: float | None, ok: bool) -> None:
    host.jobs = {**(host.jobs or {}), "queues": [["mailers", 4, NOW - 120.4], ["default", 0, 0]]}
    seen = by_subject(look(make(jobs={} if limit is None else {"longest_wait": limit})))
    waits = seen["latency mailers"]
    assert waits.ok is ok
    assert waits.value == pytest.approx(120.4)
    assert waits.detail.startswith("4 jobs, the oldest waits for 120 s")
    assert seen["latency default"].ok is True


def test_workers_and_jobs_are_one_command_in_the_container(host: Host, make: Build) -> None:
    seen = look(make(), "services", "workers", "jobs")
    assert {item.probe for item in seen} == {"service", "worker", "job"}
    assert len(host.inputs) == 1
    assert sum(command[:2] == ["docker", "inspect"] for command in host.commands) == 1


def test_jobs_that_cannot_be_read_leave_the_workers_in_sight(host: Host, make: Build) -> None:
    for host.jobs in (None, {"processed": "x"}):
        seen = {item.probe: item for item in look(make(), "workers", "jobs")}
        assert seen["worker"].ok is True
        assert (seen["job"].ok, seen["job"].detail) == (
            None,
            "could not be seen: redis-cli: the jobs cannot be read",
        )


def test_without_a_worker_nothing_is_asked(host: Host, prober: Build) -> None:
    assert look(prober(services={"web": "web", "database": "postgres", "cache": "redis"})) == []
    assert host.commands == []


def test_how_often_jobs_failed_before_is_noted_by_day(
    host: Host, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = SimpleNamespace(now=lambda zone: datetime(2026, 11, 23, 23, 59, 59, tzinfo=zone))
    monkeypatch.setattr(_probe_jobs, "datetime", late)
    # two weeks, and Sidekiq keeps its counters for years
    host.days = {"2026-11-23": ("3", "60"), "2026-11-10": ("1", "40"), "2026-11-09": ("99", "99")}
    site = Site(Profile.parse(application.profile()), runner=host)
    counted = {"events": 4, "trials": 100, "blocks": [[1, 40], [3, 60]], "seconds": 86400}
    assert _probe_jobs.baseline(site) == {"job": {"failed": counted}}
    host.containers.pop()
    site.look_again()
    assert _probe_jobs.baseline(site) == {}
