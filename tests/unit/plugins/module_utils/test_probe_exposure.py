"""What stands open, seen over real HTTP and real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_exposure
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._http import Response
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request
from ansible_collections.slipway.release.plugins.module_utils._probe_exposure import (
    Look,
    Weakness,
    baseline,
    probe_exposure,
)
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import PROFILE, Answer, Application
from tests.unit.plugins.module_utils.host import Host, container

KEY = "3f8a" * 8 + "b1c9e7d2" * 8
ENVIRONMENT = ["RAILS_ENV=production", f"SECRET_KEY_BASE={KEY}", "POSTGRES_PASSWORD=f7c01bb46079d872"]
SAFE = {"X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff"}
SESSION = "_swarm_session=x; path=/; HttpOnly; SameSite=Lax"
Make = Callable[..., Site]


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which something answers, on every address of this machine."""
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))  # noqa: S104 - that is what the test is about
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def make(application: Application, host: Host, tmp_path: Path) -> Make:
    """Makes a site on which all is well; the arguments change its profile."""
    application.answers("GET /login", Answer(200, "Log in", {**SAFE, "Set-Cookie": SESSION}))
    host.containers[1]["Config"]["Env"] = host.containers[2]["Config"]["Env"] = ENVIRONMENT
    (tmp_path / "app").mkdir()

    def build(**changes: Any) -> Site:  # noqa: ANN401 - plain data
        places = {"directory": str(tmp_path / "app"), "state_directory": str(tmp_path)}
        return Site(Profile.parse(application.profile(**{**places, **changes})), runner=host)

    return build


def look(site: Site, addresses: list[str] | None = None) -> dict[str, Weakness]:
    return {item.subject: item for item in Look(site, [] if addresses is None else addresses).weaknesses()}


def there(site: Site) -> dict[str, str]:
    return {subject: item.detail for subject, item in look(site).items() if item.there}


def test_where_all_is_well_nothing_is_there_and_much_was_looked_at(make: Make) -> None:
    seen = look(make())
    assert {item.there for item in seen.values()} == {False}
    assert set(seen) == {
        *(f"GET {path}" for path in ("/sidekiq", "/metrics", "/rails/info/routes", "/rails/mailers", "/.env")),
        "GET /.git/config",
        "ports of postgres",
        "ports of redis",
        "secret POSTGRES_PASSWORD",
        "secret SECRET_KEY_BASE",
        "debug mode",
        "header X-Content-Type-Options",
        "header X-Frame-Options",
        "cookie _swarm_session",
    }


def test_it_looks_as_somebody_who_has_not_logged_in(
    make: Make, application: Application, prober: Callable[..., Prober]
) -> None:
    prober().run(Request(("pages",)))
    look(make())
    asked = [item for item in application.asked if item.path == "/sidekiq"]
    assert [item.headers.get("Cookie") for item in asked] == [None]


@pytest.mark.parametrize(
    "answer, exposed",
    [
        (Answer(200, "<title>[PRODUCTION] Sidekiq</title>"), True),
        (Answer(204), True),
        (Answer(401), False),
        (Answer(403), False),
        (Answer(404), False),
        (Answer(500), False),
        (Answer(302, "", {"Location": "/login"}), False),
        (Answer(301, "", {"Location": "https://elsewhere.example/sidekiq/"}), False),
        (Answer(200, '<form><input name="p" type="password"></form>'), False),
        (Answer(lost=True), None),
    ],
)
def test_a_private_page(make: Make, application: Application, answer: Answer, exposed: bool | None) -> None:
    application.answers("GET /sidekiq", answer)
    assert look(make())["GET /sidekiq"].there is exposed


def test_a_redirect_that_adds_a_slash_is_followed(make: Make, application: Application) -> None:
    application.answers("GET /sidekiq", Answer(301, "", {"Location": "/sidekiq/"}))
    assert "GET /sidekiq" not in there(make())
    application.answers("GET /sidekiq/", Answer(200, "Sidekiq"))
    assert there(make())["GET /sidekiq"] == "200 to somebody who has not logged in"


def test_where_any_path_answers_nothing_can_be_told(make: Make, application: Application) -> None:
    application.respond = lambda asked: Answer(200, f"one page for all, {asked.path}", SAFE)  # type: ignore[method-assign]
    seen = look(make())["GET /.env"]
    assert (seen.there, seen.detail) == (None, "could not be seen: the application answers 200 to any path")


def test_the_paths_are_the_profile_s(make: Make, application: Application) -> None:
    application.answers("GET /admin", Answer(200, "in"))
    seen = look(make(exposure={"private_paths": ["/admin"]}))
    assert seen["GET /admin"].there
    assert "GET /sidekiq" not in seen


def published(address: str, port: int) -> dict[str, Any]:
    return {"Ports": {"6379/tcp": [{"HostIp": address, "HostPort": str(port)}], "16379/tcp": None}}


def test_a_published_port_is_open_unless_it_is_the_loopback_s(make: Make, host: Host, listener: int) -> None:
    redis = host.containers[-1]
    redis["NetworkSettings"] = published("127.0.0.1", listener)
    assert not there(make())
    redis["NetworkSettings"] = published("::1", listener)
    assert not there(make())
    redis["NetworkSettings"] = published("0.0.0.0", listener)  # noqa: S104 - as Docker writes it
    # an address of this machine, taken for one that is not the loopback's
    seen = look(make(), ["127.0.0.1"])["ports of redis"]
    assert (seen.there, seen.detail) == (True, f"published on 0.0.0.0:{listener}, answers on 127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        redis["NetworkSettings"] = published("0.0.0.0", port)  # noqa: S104 - as Docker writes it
        seen = look(make(), ["127.0.0.1"])["ports of redis"]
    assert (seen.there, seen.detail) == (True, f"published on 0.0.0.0:{port}")


def test_a_service_on_the_host_s_network_is_open_when_it_answers(make: Make, host: Host, listener: int) -> None:
    database = host.containers[-2]
    database["HostConfig"] = {"NetworkMode": "host"}
    database["Config"]["ExposedPorts"] = {f"{listener}/tcp": {}}
    assert look(make(), ["127.0.0.1"])["ports of postgres"].detail == f"answers on 127.0.0.1:{listener}"
    database["Config"]["ExposedPorts"] = {"1/tcp": {}}
    assert not look(make(), ["127.0.0.1"])["ports of postgres"].there


def test_a_service_that_does_not_run_was_not_seen(make: Make, host: Host) -> None:
    host.containers.pop()
    assert look(make())["ports of redis"].there is None


@pytest.mark.parametrize(
    "name, value, wrong",
    [
        ("POSTGRES_PASSWORD", "postgres", "is a default that everybody knows"),
        ("POSTGRES_PASSWORD", "ChangeMe", "is a default that everybody knows"),
        ("POSTGRES_PASSWORD", "from-the-example-1", "is the value of the example beside it"),
        ("SECRET_KEY_BASE", "secret", "is a default that everybody knows"),
        ("SECRET_KEY_BASE", KEY[:63], "is shorter than 64 characters"),
        ("SECRET_KEY_BASE", "0" * 128, "has fewer than 8 different characters"),
        ("SECRET_KEY_BASE", KEY, None),
    ],
)
def test_a_secret_that_is_none(make: Make, host: Host, tmp_path: Path, name: str, value: str, wrong: str) -> None:
    (tmp_path / "app/.env.example").write_text("POSTGRES_PASSWORD='from-the-example-1'\n")
    (tmp_path / "app/.env").write_text(f"{name}={value}\n")
    changed = [item for item in ENVIRONMENT if not item.startswith(name)]
    host.containers[1]["Config"]["Env"] = host.containers[2]["Config"]["Env"] = changed
    found = there(make())
    assert found == ({f"secret {name}": wrong} if wrong else {})
    assert value not in str(found) or value in {"postgres", "secret"}


def test_what_is_no_secret_is_not_taken_for_one(make: Make, tmp_path: Path) -> None:
    (tmp_path / "app/.env.example").write_text("APPLICATION_HOST=localhost\n")
    (tmp_path / "app/.env").write_text("APPLICATION_HOST=localhost\n")
    assert not there(make(required_variables=["APPLICATION_HOST"]))


@pytest.mark.parametrize(
    "environment, said",
    [("RAILS_ENV=development", "RAILS_ENV is development"), ("SECRET_KEY_BASE_DUMMY=1", "it is for builds")],
)
def test_debug_mode_by_the_environment_of_the_newest_web_container(
    make: Make, host: Host, environment: str, said: str
) -> None:
    host.containers[2]["Config"]["Env"] = [f"SECRET_KEY_BASE={KEY}", environment]
    host.containers[2]["State"]["StartedAt"] = "2026-11-23T08:00:00.5Z"
    assert said in there(make())["debug mode"]
    host.containers[1]["State"]["StartedAt"] = "2026-11-23T09:00:00Z"
    assert not there(make())


def test_a_page_for_developers_is_debug_mode(make: Make, application: Application) -> None:
    normal = application.normal

    def respond(asked: Any) -> Answer:  # noqa: ANN401 - a fixture's own
        if asked.path.startswith("/slipway-"):
            return Answer(404, "<h1>Routing Error</h1><pre>Rails.root: /app</pre>")
        return normal(asked)

    application.respond = respond  # type: ignore[method-assign]
    assert there(make())["debug mode"] == "an error shows a page for developers"


def test_headers_and_cookies(make: Make, application: Application) -> None:
    application.answers("GET /login", Answer(200, "Log in", {"Set-Cookie": "_swarm_session=x; path=/"}))
    assert there(make()) == {
        "header X-Content-Type-Options": "is not nosniff",
        "header X-Frame-Options": "is missing, and frame-ancestors too",
        "cookie _swarm_session": "lacks HttpOnly, SameSite",
    }
    policy = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "frame-ancestors 'self'"}
    application.answers("GET /login", Answer(200, "Log in", {**policy, "Set-Cookie": "theme=dark; path=/"}))
    assert not there(make())


def test_https_asks_for_more() -> None:
    page = Response(200, (("set-cookie", SESSION), ("x-frame-options", "DENY")), b"", 0.1)
    found = {item.subject: item.detail for item in _probe_exposure._headers(page, secure=True) if item.there}
    assert found == {
        "header X-Content-Type-Options": "is not nosniff",
        "header Strict-Transport-Security": "is missing",
        "cookie _swarm_session": "lacks Secure",
    }


def observed(site: Site, before: dict[str, bool | None]) -> dict[str, Observation]:
    return {item.subject: item for item in probe_exposure(site, before, Clock())}


def test_only_what_was_not_open_before_is_a_reason_to_go_back(make: Make, application: Application) -> None:
    site = make()
    before = baseline(site)
    assert set(before.values()) == {False}
    assert (observed(site, before)["everything"].value, observed(site, before)["everything"].unit) == (0, "warnings")
    application.answers("GET /sidekiq", Answer(200, "Sidekiq"))
    seen = observed(site, before)
    assert (seen["GET /sidekiq"].ok, seen["everything"].ok, seen["everything"].value) == (False, True, None)
    assert seen["everything"].detail == "14 looked at, 1 open"
    old = observed(site, baseline(site))["GET /sidekiq"]
    assert (old.ok, old.value, old.unit) == (True, 1, "warnings")
    assert old.detail == "200 to somebody who has not logged in, as before the release"


def test_where_nobody_looked_before_only_what_is_grave_counts(make: Make, application: Application) -> None:
    application.answers("GET /sidekiq", Answer(200, "Sidekiq"))
    application.answers("GET /login", Answer(200, "Log in"))
    seen = observed(make(), {})
    assert seen["GET /sidekiq"].ok is False
    assert seen["header X-Frame-Options"].ok is True
    known: dict[str, bool | None] = {"GET /sidekiq": False, "header X-Frame-Options": False}
    assert observed(make(), known)["header X-Frame-Options"].ok is False


def test_what_could_not_be_seen_counts_for_nothing(make: Make, application: Application) -> None:
    application.stop()
    seen = observed(make(critical_timeout=0.5), {})
    assert {item.ok for subject, item in seen.items() if subject.startswith("GET ")} == {None}
    assert not [item for item in seen.values() if item.ok is False]


def test_the_probe_compares_with_what_the_run_s_release_found(
    make: Make, application: Application, prober: Callable[..., Prober], tmp_path: Path
) -> None:
    site = make()
    application.answers("GET /sidekiq", Answer(200, "Sidekiq"))
    with site.ledger.locked():
        site.ledger.release_directory("1.1.0").mkdir()
        site.ledger.save_baseline("1.1.0", {"exposure": {"GET /sidekiq": True}})
        site.ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))

    def seen() -> bool | None:
        built = prober(directory=str(tmp_path / "app"), state_directory=str(tmp_path))
        found = built.run(Request(("exposure",))).observations
        return next(item.ok for item in found if item.subject == "GET /sidekiq")

    assert seen() is True
    with site.ledger.locked():
        site.ledger.update(current="1.0.0", candidate=None)
    assert seen() is False, "1.0.0 was adopted, and nobody had looked"
    with site.ledger.locked():
        site.ledger.open_run("r1", "rollback", "anna", "1.1.0")
    assert seen() is True, "the look before 1.1.0 tells how it was with 1.0.0"


def test_the_port_of_redis_is_published_by_the_container(host: Host) -> None:
    item = container("redis")
    item["NetworkSettings"] = published("0.0.0.0", 6379)  # noqa: S104 - as Docker writes it
    host.containers = [item]
    found = Site(Profile.parse(PROFILE), runner=host).containers()[0]
    assert (found.published, found.host_network) == ((("0.0.0.0", 6379),), False)  # noqa: S104 - the same


def test_the_host_s_own_addresses_are_not_the_loopback_s() -> None:
    assert not [address for address in _probe_exposure.own_addresses() if address.startswith("127.")]
