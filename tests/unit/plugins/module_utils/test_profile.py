from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile, ProfileError, secrets

from tests.unit.plugins.module_utils.application import EMAIL, PASSWORD, PROFILE

SMALL: dict[str, Any] = {
    key: PROFILE[key] for key in ("name", "directory", "version_variable", "repository", "database", "base_url")
} | {"services": {"web": "web", "database": "postgres"}}


def problems(mapping: object) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        Profile.parse(mapping)
    assert all("\n" not in line for line in caught.value.problems)
    return list(caught.value.problems)


def changed(path: str, value: object) -> dict[str, Any]:
    profile = copy.deepcopy(PROFILE)
    *parents, last = path.split("/")
    target: Any = profile
    for key in parents:
        target = target[int(key) if isinstance(target, list) else key]
    target[int(last) if isinstance(target, list) else last] = value
    return profile


def test_a_full_profile_is_read() -> None:
    profile = Profile.parse(PROFILE)
    assert profile.services.names == ("postgres", "redis", "web", "worker", "proxy")
    assert profile.pages[0].contains == "Agents"
    assert profile.caches[1].refresh is True
    assert profile.health is not None
    assert profile.health.minimums[0].at_least == 1
    assert profile.flows[0].writes
    assert profile.flows[0].steps[1].expect.status == (302, 303)


def test_what_may_be_left_out_has_a_default() -> None:
    profile = Profile.parse(SMALL)
    assert (profile.compose_files, profile.env_file, profile.migrations_path) == (
        ("compose.yml",),
        ".env",
        "db/migrate",
    )
    assert (profile.services.worker, profile.services.cache, profile.services.proxy) == (None, None, None)
    assert (profile.login, profile.health, profile.pages, profile.caches, profile.flows) == (None, None, (), (), ())
    assert (profile.critical_timeout, profile.verify_tls, profile.redis.cache_database) == (15, True, 0)


@pytest.mark.parametrize(
    "proxy, wrong",
    [
        ({"drain": "nginx_reload", "file": "nginx/upstreams/web.conf"}, []),
        ({"drain": "haproxy", "file": "a/web.cfg", "socket": "run/admin.sock", "upstream": "app"}, []),
        ({"drain": "docker_dns", "dns_ttl": 5}, []),
        ({"drain": "none", "maintenance_page": "public/maintenance.html"}, []),
        ({}, ["application.proxy.drain: is required"]),
        ({"drain": "traefik"}, ["application.proxy.drain: must be one of none, docker_dns, nginx_reload, haproxy"]),
        ({"drain": "nginx_reload"}, ["application.proxy.file: is required"]),
        ({"drain": "haproxy", "file": "a/web.cfg"}, ["application.proxy.socket: is required"]),
        (
            {"drain": "docker_dns", "file": "a/web.conf"},
            ["application.proxy.file: has no meaning where drain is docker_dns"],
        ),
    ],
)
def test_how_the_proxy_is_told_is_checked_as_a_whole(proxy: dict[str, Any], wrong: list[str]) -> None:
    mapping = {**PROFILE, "proxy": proxy}
    assert (problems(mapping) if wrong else []) == wrong
    if not wrong:
        assert Profile.parse(mapping).proxy.drain == proxy["drain"]


def test_a_proxy_that_is_told_is_a_service() -> None:
    mapping = {**SMALL, "proxy": {"drain": "docker_dns"}}
    assert problems(mapping) == [
        "application.services.proxy: is required, since application.proxy says how it learns where to send requests"
    ]


def test_all_problems_are_reported_at_once() -> None:
    profile = copy.deepcopy(SMALL)
    profile.update(name="Swarm", pagse=[], pages=[{"path": "/ok"}, {"path": "agents"}, {"pth": "/x"}], env_file="../x")
    del profile["repository"]
    assert problems(profile) == [
        (
            "application.name: must be a Compose project name: "
            "lower-case letters, digits, - and _, a letter or digit first, not 'Swarm'"
        ),
        "application.repository: is required",
        (
            "application.env_file: must be a path of letters, digits and . _ - + @ inside application.directory, "
            "without '..'"
        ),
        "application.pages[1].path: must begin with /",
        "application.pages[2].path: is required",
        "application.pages[2].pth: is unknown: did you mean path?",
        "application.pagse: is unknown: did you mean pages?",
    ]


def test_the_message_of_the_error_is_one_line() -> None:
    with pytest.raises(ProfileError, match=r"^application: must be a mapping, not text$"):
        Profile.parse("swarm")


@pytest.mark.parametrize(
    "path, value, reason",
    [
        ("name", "-rm", "application.name: must be a Compose project name"),
        ("name", "a;b", "application.name: must be a Compose project name"),
        ("name", "", "application.name: must not be empty"),
        ("name", 7, "application.name: must be text, not a number"),
        ("directory", "opt/swarm", "application.directory: must be an absolute path, not 'opt/swarm'"),
        ("directory", "/opt/../etc", "application.directory: must be a path of letters"),
        ("directory", "/opt/$(id)", "application.directory: must be a path of letters"),
        ("directory", "/", "application.directory: must not be the root directory"),
        ("compose_files", ["/etc/compose.yml"], "application.compose_files[0]: must be relative"),
        ("compose_files", ["a/../../b"], "application.compose_files[0]: must be a path of letters"),
        ("compose_files", ["-f"], "application.compose_files[0]: must be a path of letters"),
        ("compose_files", [], "application.compose_files: must not be empty"),
        ("compose_files", "compose.yml", "application.compose_files: must be a list, not text"),
        ("compose_files", ["a.yml", "a.yml"], "application.compose_files: names 'a.yml' twice"),
        ("compose_profiles", ["--all"], "application.compose_profiles[0]: must be the name"),
        ("env_file", "/etc/passwd", "application.env_file: must be relative"),
        ("migrations_path", "../x", "application.migrations_path: must be a path"),
        ("version_variable", "1X", "application.version_variable: must be the name of a variable"),
        ("required_variables", ["A B"], "application.required_variables[0]: must be the name of a variable"),
        ("repository/url", "--upload-pack=x", "application.repository.url: must be a Git URL"),
        ("repository/url", "ext::sh -c x", "application.repository.url: must "),
        *(
            ("repository/url", url, "application.repository.url: must not contain a password or token: use a")
            for url in (
                "https://u:p@git.example.test/x",
                "https://ghp_16C7e42F292c6912E7710c838347Ae178B4a@git.example.test/x",
                "HTTP://ghp_16C7e42F292c6912E7710c838347Ae178B4a@git.example.test/x",
                "ftp://ghp_16C7e42F292c6912E7710c838347Ae178B4a@git.example.test/x",
                "ssh://git:p@git.example.test/x",
            )
        ),
        (
            "repository/url",
            "https://ghp_16C7e42F292c6912E7710c838347Ae178B4a@[git/x",
            "application.repository.url: must be a Git URL",
        ),
        ("services/web", "a b", "application.services.web: must be the name of a Compose service"),
        ("services/worker", "web", "application.services: 'web' plays two parts"),
        ("services/databse", "x", "application.services.databse: is unknown: did you mean database?"),
        ("services/cache", None, "application.services.cache: is required, since application.caches"),
        ("database/name", 'x"; drop', "application.database.name: must be a database identifier"),
        ("database/user", "-U", "application.database.user: must be a database identifier"),
        ("base_url", "ftp://x", "application.base_url: must begin with http:// or https://"),
        ("base_url", "http://x/path", "application.base_url: must be a scheme"),
        ("base_url", "http://x:99999", "application.base_url: is no URL"),
        ("base_url", "http://u:p@x", "application.base_url: must be a scheme"),
        ("host_header", "a\r\nX: y", "application.host_header: must not contain control characters"),
        ("host_header", "a b", "application.host_header: must be a host name"),
        ("login/path", "//evil.example.test", "application.login.path: must not begin with //"),
        ("login/form", ["x"], "application.login.form: must be a mapping"),
        ("caches/0/key", "agents/*", "application.caches[0].key: must be one key by name, not a pattern"),
        ("caches/0/refresh", "yes", "application.caches[0].refresh: must be true or false, not text"),
        ("health/status/pointer", "status", "application.health.status.pointer: must be a JSON Pointer"),
        ("health/status/healthy", [], "application.health.status.healthy: must be a list"),
        ("health/minimums/0/at_least", True, "application.health.minimums[0].at_least: must be a number"),
        ("flows/0/steps", [], "application.flows[0].steps: must not be empty"),
        ("flows/0/steps/0", {"expect": {}}, "application.flows[0].steps[0]: must have exactly one of get, post"),
        ("flows/0/steps/0/put", "/x", "application.flows[0].steps[0]: must have exactly one of get, post"),
        ("flows/0/steps/0/expect/status", 99, "application.flows[0].steps[0].expect.status: must be an HTTP status"),
        (
            "flows/0/steps/2/get",
            "/x/${nr}",
            "application.flows[0].steps[2].get: ${nr} is not known here: captured before",
        ),
        (
            "flows/0/steps/1/capture/id/pattern",
            "x",
            "application.flows[0].steps[1].capture.id.pattern: must have a group",
        ),
        ("flows/0/steps/1/capture/id/pattern", "(", "application.flows[0].steps[1].capture.id.pattern: is no regular"),
        ("flows/0/cleanup/0/delete", "/campaigns", "application.flows[0].cleanup[0].delete: must contain ${1}"),
        ("flows/0/cleanup/0/delete", "/c/${2}", "application.flows[0].cleanup[0].delete: ${2} is no group of each"),
        ("critical_timeout", 0, "application.critical_timeout: must be a number from 0.1 to 600"),
        (
            "figures",
            [{"name": "x", "sql": "SELECT 1", "at_least": 2}],
            "application.figures[0].at_least: must be a number",
        ),
        ("figures", [{"name": "x", "sql": "SELECT 1"}], "application.figures[0].at_least: is required"),
        (
            "figures",
            [{"name": "x", "sql": "DELETE FROM agents", "at_least": 1}],
            "application.figures[0].sql: must be a SELECT that gives one number",
        ),
        (
            "figures",
            [{"name": "x", "sql": "SELECT 1; SELECT 2", "at_least": 1}],
            "application.figures[0].sql: must be one statement",
        ),
        ("figures", [{"name": "x", "sql": "SELECT 1", "at_least": 1}] * 2, "application.figures: names 'x' twice"),
        ("jobs", {"longest_wait": 0}, "application.jobs.longest_wait: must be a number of at least 1"),
        ("jobs", {"retries": 3}, "application.jobs.retries: is unknown"),
        ("redis", {"cache_database": 1.5}, "application.redis.cache_database: must be a whole number, not 1.5"),
        ("web_port", 3000.5, "application.web_port: must be a whole number, not 3000.5"),
        (
            "watch",
            {"alert": {"mail": {"server": "mail", "from": "a@b.test", "to": ["c@b.test"], "port": 25.5}}},
            "application.watch.alert.mail.port: must be a whole number, not 25.5",
        ),
    ],
)
def test_a_bad_value_is_refused_with_its_path(path: str, value: object, reason: str) -> None:
    found = problems(changed(path, value))
    assert found[0].startswith(reason), found


def test_a_flow_named_twice_is_refused() -> None:
    flow = PROFILE["flows"][0]
    assert problems({**PROFILE, "flows": [flow, flow]}) == ["application.flows: names 'create a test campaign' twice"]


def test_secrets_are_found_in_a_profile_that_is_wrong_too() -> None:
    wrong = {
        "login": {"form": {"email": EMAIL, "password": PASSWORD, "remember_me": "1", "pin": 123456}},
        "flows": [{"steps": [{"form": {"api_token": "t0ken", "name": "x"}}]}],
    }
    assert secrets(wrong) == {EMAIL, PASSWORD, "123456", "t0ken"}
    assert secrets(None) == frozenset()


def test_the_text_of_a_profile_shows_no_password() -> None:
    assert PASSWORD not in repr(Profile.parse(PROFILE))


def test_the_message_about_a_form_shows_no_password() -> None:
    assert PASSWORD not in str(problems(changed("login/form/session[password]", [PASSWORD])))


def test_the_message_about_a_repository_shows_no_token_and_the_name_of_a_user_is_none() -> None:
    for url in (
        "https://ghp_16C7e42F292c6912E7710c838347Ae178B4a@git.example.test/x",
        "https://ghp_16C7e42F292c6912E7710c838347Ae178B4a@[git/x",
    ):
        assert "ghp_16C7" not in str(problems(changed("repository/url", url)))
    for url in ("ssh://git@git.example.test/x", "git@git.example.test:x", "https://anna@git.example.test/x@1"):
        assert Profile.parse(changed("repository/url", url)).repository.url == url


def test_images_are_named_by_digest_for_each_release() -> None:
    image = f"registry.example.test:5000/swarm/web@sha256:{'1' * 64}"
    assert Profile.parse({**SMALL, "images": {"1.1.0": {"web": image}}}).images == {"1.1.0": {"web": image}}
    assert Profile.parse({**SMALL, "images": {}}).images == {}
    for wrong in ("swarm:1.1.0", "registry.example.test/swarm:1.1.0", image[:-1], f"--all/{image}", f"{image} x", 7):
        assert problems({**SMALL, "images": {"1.1.0": {"web": wrong}}}) == [
            "application.images.1.1.0.web: must name an image by digest: registry/name@sha256:..."
        ]
    assert problems({**SMALL, "images": [image]}) == [
        "application.images: must be a mapping of releases, each with the image of each service"
    ]
    assert problems({**SMALL, "images": {"1.1.0": image}}) == [
        "application.images.1.1.0: must be a mapping of services to images"
    ]
