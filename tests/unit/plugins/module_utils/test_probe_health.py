from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation, parse_timestamp
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request

from tests.unit.plugins.module_utils.application import Answer, Application, page

Build = Callable[..., Prober]
JSON = {"Content-Type": "application/json"}


def look(prober: Prober, since: datetime | None = None) -> dict[str, Observation]:
    seen = prober.run(Request(("health",), since)).observations
    assert all(item.probe == "health" for item in seen)
    return {item.subject: item for item in seen}


@pytest.mark.promise("D5", "P5")
def test_a_healthy_document_is_one_observation_a_service_and_one_for_the_whole(prober: Build) -> None:
    seen = look(prober(), datetime.now(UTC) - timedelta(minutes=1))
    assert {name: item.ok for name, item in seen.items()} == {
        "database": True,
        "sidekiq": True,
        "/system_health.json": True,
    }
    assert (seen["sidekiq"].value, seen["sidekiq"].unit) == (1, "processes")
    assert seen["/system_health.json"].unit == "s"
    assert seen["/system_health.json"].detail == "healthy, 2 services"


@pytest.mark.promise("D5")
@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"status": "unhealthy"}, "/status is unhealthy, expected healthy"),
        ({"status": "checking"}, "/status is checking, expected healthy"),
        ({"status": None}, "/status is null, expected healthy"),
        ({"status": True}, "/status is true, expected healthy"),
        ({"status": ["healthy"]}, "/status is a list, expected healthy"),
        ({"services": {}}, "/services lists no services; /services/sidekiq/processes is missing, expected a number"),
        ({"services": ["x"]}, "/services lists no services; /services/sidekiq/processes is missing, expected a number"),
        ({"checked_at": None}, "/checked_at is null, expected an ISO 8601 time with a zone"),
        ({"checked_at": ""}, "/checked_at is empty, expected an ISO 8601 time with a zone"),
        (
            {"checked_at": "2026-11-23T08:00:00"},
            "/checked_at is 2026-11-23T08:00:00, expected an ISO 8601 time with a zone",
        ),
    ],
)
def test_a_document_that_is_not_clearly_healthy_is_a_failure_in_spite_of_its_200(
    application: Application, prober: Build, changes: dict[str, Any], reason: str
) -> None:
    application.health.update(changes)
    whole = look(prober())["/system_health.json"]
    assert (whole.ok, whole.detail) == (False, reason)


@pytest.mark.promise("D5", "P5")
@pytest.mark.parametrize(
    "service, reason",
    [
        ({"status": "healthy", "processes": 0}, "/services/sidekiq/processes is 0, expected at least 1"),
        ({"status": "healthy", "processes": True}, "/services/sidekiq/processes is true, expected a number"),
        ({"status": "healthy", "processes": "9"}, "/services/sidekiq/processes is 9, expected a number"),
        ({"status": "healthy"}, "/services/sidekiq/processes is missing, expected a number"),
        ({"status": "degraded", "processes": 1}, "degraded, expected healthy"),
        ({"processes": 1}, "missing, expected healthy"),
    ],
)
def test_a_service_that_only_says_it_is_healthy_is_a_failure(
    application: Application, prober: Build, service: dict[str, Any], reason: str
) -> None:
    application.health["services"]["sidekiq"] = service
    seen = look(prober())
    assert (seen["sidekiq"].ok, seen["sidekiq"].detail) == (False, reason)
    assert (seen["database"].ok, seen["database"].detail) == (True, "healthy")
    assert (seen["/system_health.json"].ok, seen["/system_health.json"].detail) == (False, f"sidekiq: {reason}")


@pytest.mark.promise("D5")
@pytest.mark.parametrize(
    "answer, reason",
    [
        (Answer(200, page("Health")), "not JSON (text/html)"),
        (Answer(200, "[]", JSON), "JSON, but list instead of an object"),
        (Answer(200, '{"status": NaN}', JSON), "not JSON (application/json)"),
        (Answer(200, "[" * 100_000, JSON), "not JSON (application/json)"),
        (Answer(200, b"\xff\xfe\x00", JSON), "not JSON (application/json)"),
        (Answer(503, "{}", JSON), "503, expected 200"),
        (Answer(302, "", {"Location": "/login"}), "302 to /login, expected 200: the login does not hold"),
        (Answer(lost=True), "the connection was closed without an answer"),
    ],
)
def test_an_answer_that_is_no_health_document_is_one_failure(
    application: Application, prober: Build, answer: Answer, reason: str
) -> None:
    application.answers("GET /system_health.json", answer)
    seen = look(prober())
    assert list(seen) == ["/system_health.json"]
    assert (seen["/system_health.json"].ok, seen["/system_health.json"].detail) == (False, reason)


@pytest.mark.promise("D5")
def test_a_document_from_before_the_deploy_is_a_failure_that_tells_its_age(
    application: Application, prober: Build
) -> None:
    since = datetime.now(UTC)
    checked = since - timedelta(seconds=35)
    application.health["checked_at"] = checked.isoformat().replace("+00:00", "Z")
    whole = look(prober(), since)["/system_health.json"]
    assert whole.ok is False
    assert "35.0 s before" in whole.detail
    assert "clock" not in whole.detail
    assert look(prober(), checked)["/system_health.json"].ok is True


def test_a_clock_that_differs_is_named(application: Application, prober: Build) -> None:
    application.health["checked_at"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    whole = look(prober())["/system_health.json"]
    assert whole.ok is False
    assert whole.detail.startswith("checked 3600 s in the future")


def test_a_time_in_whole_seconds_is_compared_in_whole_seconds(application: Application, prober: Build) -> None:
    application.health["checked_at"] = "2026-11-23T08:00:00Z"
    seen = look(prober(), parse_timestamp("2026-11-23T08:00:00.700Z"))
    checked = [item.detail for item in seen.values() if "before" in item.detail]
    assert checked == []


def test_without_since_an_old_document_is_believed(application: Application, prober: Build) -> None:
    application.health["checked_at"] = "2020-01-01T00:00:00+01:00"
    assert look(prober())["/system_health.json"].ok is True


def test_true_is_not_taken_for_the_number_one(application: Application, prober: Build) -> None:
    rules = {"path": "/system_health.json", "status": {"pointer": "/status", "healthy": [1]}}
    application.health["status"] = True
    assert look(prober(health=rules))["/system_health.json"].detail == "/status is true, expected 1"
    application.health["status"] = 1
    assert look(prober(health=rules))["/system_health.json"].ok is True
