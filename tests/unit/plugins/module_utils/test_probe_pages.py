from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request
from ansible_collections.slipway.release.plugins.module_utils._probe_pages import CONNECTIONS, answered

from tests.unit.plugins.module_utils.application import PASSWORD, PROFILE, Answer, Application, Asked, page

Build = Callable[..., Prober]

PICTURE = {"Content-Type": "image/png"}


def look(prober: Prober) -> Observation:
    (observation,) = prober.run(Request(("pages",))).observations
    return observation


def test_a_page_is_loaded_with_its_assets(application: Application, prober: Build) -> None:
    seen = look(prober())
    assert (seen.probe, seen.subject, seen.unit, seen.ok) == ("page", "/agents", "s", True)
    assert seen.detail == "200, 2 assets, 2 kB"
    assert seen.value is not None
    assert 0 < seen.value < 2
    assert {"/app.css", "/turbo.js"} <= set(application.paths())


def test_the_time_of_a_page_includes_its_slowest_asset(application: Application, prober: Build) -> None:
    application.answers("GET /turbo.js", Answer(200, "x", delay=0.3))
    seen = look(prober())
    assert seen.ok
    assert seen.value is not None
    assert seen.value >= 0.3


def test_assets_are_fetched_at_the_same_time(application: Application, prober: Build) -> None:
    images = "".join(f'<img src="/{number}.png">' for number in range(CONNECTIONS))
    together = threading.Barrier(CONNECTIONS)

    def respond(_asked: Asked) -> Answer:
        # nobody is answered before all have asked
        together.wait(10)
        return Answer(200, "x")

    for number in range(CONNECTIONS):
        application.overrides[f"GET /{number}.png"] = respond
    application.answers("GET /agents", Answer(200, page("Agents", body=images)))
    seen = look(prober(critical_timeout=30))
    assert seen.ok
    assert seen.detail.startswith(f"200, {CONNECTIONS + 2} assets")


@pytest.mark.parametrize(
    "answer, reason",
    [
        (Answer(500, "Error"), "500, expected 200"),
        (Answer(404, "Not found"), "404, expected 200"),
        (
            Answer(403, "Blocked host"),
            "403, expected 200: does the application accept the host name swarm.example.test?",
        ),
        (Answer(200, page("Something else")), "200, but does not contain 'Agents'"),
        (Answer(302, "", {"Location": "/login"}), "302 to /login, expected 200: the login does not hold"),
        (
            Answer(301, "", {"Location": "https://swarm.example.test/agents?token=x"}),
            (
                "301 to https://swarm.example.test/agents, expected 200: does the application serve https only? "
                "Then base_url must say so"
            ),
        ),
        (Answer(302, "", {"Location": "http://[broken"}), "302 to an address that is none, expected 200"),
        (Answer(lost=True), "the connection was closed without an answer"),
        (Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not valid HTTP (BadStatusLine)"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nAgents"), "the answer breaks off in the middle"),
    ],
)
def test_a_page_that_is_not_right_is_a_failure(
    application: Application, prober: Build, answer: Answer, reason: str
) -> None:
    application.answers("GET /agents", Answer(200, page("Agents")), answer)
    seen = look(prober())
    assert seen.ok is False
    assert seen.detail == reason


def test_a_page_that_hangs_counts_with_the_time_it_was_waited_for(application: Application, prober: Build) -> None:
    application.answers("GET /agents", Answer(200, page("Agents")), Answer(200, page("Agents"), delay=10))
    seen = look(prober(critical_timeout=0.3))
    assert seen.ok is False
    assert seen.detail == "no complete answer within 0.3 s"
    assert seen.value is not None
    assert 0.3 <= seen.value < 10


@pytest.mark.parametrize(
    "answer, reason",
    [
        (Answer(404, "gone"), "1 of 2 assets failed: /turbo.js: 404"),
        (Answer(302, "", {"Location": "/login"}), "1 of 2 assets failed: /turbo.js: 302"),
        (Answer(lost=True), "1 of 2 assets failed: /turbo.js: the connection was closed without an answer"),
    ],
)
def test_an_asset_that_does_not_come_is_a_failure(
    application: Application, prober: Build, answer: Answer, reason: str
) -> None:
    application.answers("GET /turbo.js", answer)
    seen = look(prober())
    assert seen.ok is False
    assert seen.detail == reason


@pytest.mark.parametrize(
    "answers, detail",
    [
        ({"/a": Answer(302, "", {"Location": "/b?sig=1"}), "/b": Answer(200, "x" * 9, PICTURE)}, "200, 3 assets, 2 kB"),
        ({"/a": Answer(302, "", {"Location": "https://cdn.example/b"})}, "200, 3 assets, 2 kB"),
        ({"/a": Answer(302, "", {"Location": "/b"}), "/b": Answer(404)}, "1 of 3 assets failed: /a: 404"),
        ({"/a": Answer(302, "", {"Location": "/login"})}, "1 of 3 assets failed: /a: 302"),
        ({"/a": Answer(302, "", {"Location": "/agents"})}, "1 of 3 assets failed: /a: a page in its place"),
        ({"/a": Answer(302)}, "1 of 3 assets failed: /a: 302"),
        ({"/a": Answer(302, "", {"Location": "http://[broken"})}, "1 of 3 assets failed: /a: 302"),
        ({"/a": Answer(302, "", {"Location": "/a"})}, "1 of 3 assets failed: /a: more than 3 redirects"),
    ],
)
def test_an_image_is_followed_where_it_leads_as_active_storage_s_do(
    application: Application, prober: Build, answers: dict[str, Answer], detail: str
) -> None:
    application.answers("GET /agents", Answer(200, page("Agents", body='<img src="/a">')))
    for path, answer in answers.items():
        application.answers(f"GET {path}", answer)
    assert look(prober()).detail == detail


def test_a_login_goes_where_its_form_says(application: Application, prober: Build) -> None:
    """As Rails' own generator has it: shown at /session/new, taken at /session."""
    fields = '<input name="session[email]"><input name="session[password]" type="password">'
    register = '<form action="/users"><input name="user[email]"><input name="user[password]" type="password"></form>'
    form = f'{register}<form action="/session" method="post">{fields}</form><input type="password">'

    def shown(asked: Asked) -> Answer:
        token = application.sessions.setdefault(asked.session, "t")
        return Answer(200, page("Log in", body=form, token=token))

    application.overrides["GET /session/new"] = shown
    application.overrides["POST /session"] = lambda asked: application.login(asked, "t")
    seen = look(prober(login={**PROFILE["login"], "path": "/session/new"}))
    assert (seen.ok, application.paths("POST")) == (True, ["/session"])


@pytest.mark.parametrize(
    "form",
    [
        '<form action="/users"><input name="user[password]" type="password"></form>',
        '<form><input name="session[email]"><input name="session[password]" type="password"></form>',
        '<form action="//a.test"><input name="session[email]"><input name="session[password]" type="password"></form>',
    ],
)
def test_a_page_that_does_not_say_where_its_login_goes_takes_it_itself(
    application: Application, prober: Build, form: str
) -> None:
    def shown(asked: Asked) -> Answer:
        token = application.sessions.setdefault(asked.session, "t")
        return Answer(200, page("Log in", body=form, token=token))

    application.overrides["GET /login"] = shown
    assert look(prober()).ok
    assert application.paths("POST") == ["/login"]


def test_a_page_is_right_by_itself_where_only_its_files_are_not(application: Application, prober: Build) -> None:
    application.answers("GET /app.css", Answer(404))
    seen = look(prober())
    assert (seen.ok, answered(seen)) == (False, True)
    application.answers("GET /agents", Answer(500))
    assert not answered(look(prober()))


def test_a_reference_to_another_host_is_reported_and_not_followed(application: Application, prober: Build) -> None:
    outside = '<script src="https://cdn.example.test/turbo.js?v=1"></script><img src="//pics.example.test/a.png">'
    application.answers("GET /agents", Answer(200, page("Agents", head=outside)))
    seen = look(prober())
    assert seen.ok is True
    assert seen.detail.endswith(
        "refers to other hosts: https://cdn.example.test/turbo.js, http://pics.example.test/a.png"
    )


def test_absolute_references_to_the_own_name_are_assets(application: Application, prober: Build) -> None:
    own = '<img src="http://swarm.example.test/app.css?x=1"><img src="data:image/png;base64,AA">'
    application.answers("GET /agents", Answer(200, page("Agents", head=own)))
    assert look(prober()).detail.startswith("200, 3 assets")


def test_broken_markup_does_not_break_the_probe(application: Application, prober: Build) -> None:
    application.answers("GET /agents", Answer(200, "Agents <![bad <script src='/app.css'> <!-- <a b=<"))
    assert look(prober()).ok is True


@pytest.mark.parametrize(
    "answer, reason",
    [
        (
            Answer(422, page("Log in")),
            "login: POST /login: 422, expected a redirect to another page: is the password right?",
        ),
        (
            Answer(200, page("Log in")),
            "login: POST /login: 200, expected a redirect to another page: is the password right?",
        ),
        (
            Answer(303, "", {"Location": "/login"}),
            "login: POST /login: 303 to /login, expected a redirect to another page: is the password right?",
        ),
        (Answer(lost=True), "login: POST /login: the connection was closed without an answer"),
    ],
)
def test_a_refused_login_fails_every_page_and_is_tried_once(
    application: Application, prober: Build, answer: Answer, reason: str
) -> None:
    application.answers("POST /login", answer)
    pages = [{"path": "/agents"}, {"path": "/campaigns"}]
    seen = prober(pages=pages).run(Request(("pages",))).observations
    assert [(item.ok, item.detail) for item in seen] == [(False, reason), (False, reason)]
    assert application.paths("POST") == ["/login"]


def test_a_login_that_does_not_hold_is_a_failure(application: Application, prober: Build) -> None:
    application.hold_sessions = False
    seen = look(prober())
    assert seen.ok is False
    assert seen.detail == "302 to /login, expected 200: the login does not hold"


def test_an_application_that_is_down_is_a_failure_without_a_time(application: Application, prober: Build) -> None:
    built = prober(base_url="http://127.0.0.1:9", login=None)
    seen = look(built)
    assert (seen.ok, seen.value, seen.unit, seen.detail) == (False, None, None, "connection refused")
    assert application.asked == []


def test_a_wrong_host_name_is_named(application: Application, prober: Build) -> None:
    seen = look(prober(host_header="wrong.example.test"))
    assert seen.detail == (
        "login: GET /login: 403, expected 200: does the application accept the host name wrong.example.test?"
    )
    assert application.asked


@pytest.mark.promise("R3")
def test_a_page_that_fills_its_cache_when_the_login_leads_to_it_took_as_long_as_that(
    application: Application, prober: Build
) -> None:
    application.answers("GET /agents", Answer(200, page("Agents"), delay=0.5), Answer(200, page("Agents")))
    first, second = prober().run(Request(("pages",), looks=2)).observations
    assert (first.value or 0) > 0.45 > (second.value or 1)


def test_one_login_serves_all_looks(application: Application, prober: Build) -> None:
    pages = [{"path": "/agents"}, {"path": "/campaigns"}]
    seen = prober(pages=pages).run(Request(("pages", "health"), looks=3)).observations
    assert len([item for item in seen if item.probe == "page" and item.ok]) == 6
    assert application.paths("POST") == ["/login"]


def test_a_secret_never_appears(application: Application, prober: Build) -> None:
    application.answers("GET /agents", Answer(200, page("Agents")), Answer(302, "", {"Location": f"/{PASSWORD}/x"}))
    seen = look(prober())
    assert seen.detail == "302 to /********/x, expected 200"
