"""Gates that a lab host cannot show: another clock, a port that is taken, a database elsewhere, tools too old."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _gates
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._evidence import RELEASE_GATES
from ansible_collections.slipway.release.plugins.module_utils._gates import GATES, Answer, Gates, Request, look
from ansible_collections.slipway.release.plugins.module_utils._git import Checkout
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner
from ansible_collections.slipway.release.plugins.module_utils._profile import JobPolicy, Profile, Proxy
from ansible_collections.slipway.release.plugins.module_utils._release_gates import ReleaseGates
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile, Site

pytestmark = pytest.mark.promise("G8")

PROFILE = Profile.parse(
    {
        "name": "swarm",
        "directory": "/opt/swarm",
        "version_variable": "APP_VERSION",
        "required_variables": ["POSTGRES_PASSWORD"],
        "repository": {"url": "/srv/git/swarm.git"},
        "services": {"web": "web", "database": "postgres"},
        "database": {"name": "swarm_production", "user": "swarm_owner"},
        "base_url": "http://127.0.0.1",
    }
)


class Runner:
    """Answers the questions for versions."""

    def __init__(self, engine: str = "26.1.5", compose: str = "2.26.1") -> None:
        self.engine = engine
        self.compose = compose

    def run(self, argv: list[str], **_options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        if argv[:2] == ["docker", "version"]:
            if not self.engine:
                raise CommandError(argv, 1, "Cannot connect to the Docker daemon")
            return Completed(0, self.engine, "")
        return Completed(0 if self.compose else 1, self.compose, "")


def site(tmp_path: Path, services: dict[str, Any] | None = None, runner: Runner | None = None) -> Site:
    return cast(
        "Site",
        SimpleNamespace(
            profile=PROFILE,
            ledger=Ledger(tmp_path / "ledger"),
            runner=runner or Runner(),
            directory=Path("/opt/swarm"),
            env_file=EnvFile(tmp_path / ".env"),
            environment={},
            checkout=SimpleNamespace(exists=True, head=lambda: "a" * 40, check=lambda: None),
            compose=SimpleNamespace(
                config={"services": services or {"web": {}, "postgres": {}}}, replicas=lambda _service: 3
            ),
            containers=lambda service=None: [],  # noqa: ARG005 - the site's own signature
        ),
    )


def refusal(gates: Gates, name: str) -> str:
    with pytest.raises(SlipwayError) as caught:
        getattr(gates, name)()
    return str(caught.value)


REQUEST = Request("deploy", "r1", "1.1.0", "1.1.0")


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_clock_that_is_wrong_is_refused_and_a_right_one_is_not(tmp_path: Path, ahead: int) -> None:
    wrong = Gates(site(tmp_path), Request("deploy", "r1", clock_ahead=ahead))
    assert f"differs from the controller's by {ahead:+d} s" in refusal(wrong, "clock")
    assert Gates(site(tmp_path), Request("deploy", "r1", clock_ahead=0.4)).clock() == "+0.4 s"


@pytest.mark.parametrize("family, address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_of_another_program_is_refused_and_a_free_one_is_not(
    tmp_path: Path, family: socket.AddressFamily, address: str
) -> None:
    with socket.socket(family) as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        published = {"web": {"ports": [{"host_ip": address, "published": str(port), "protocol": "tcp"}]}}
        assert f"port {port} is taken" in refusal(Gates(site(tmp_path, published), REQUEST), "ports")
    assert Gates(site(tmp_path, published), REQUEST).ports() == "1 to be opened"


def test_of_a_range_of_ports_one_that_is_free_is_enough(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        def gates(published: str) -> Gates:
            return Gates(
                site(tmp_path, {"web": {"ports": [{"host_ip": "127.0.0.1", "published": published}]}}), REQUEST
            )

        assert f"port {port}-{port} is taken" in refusal(gates(f"{port}-{port}"), "ports")
        assert gates(f"{port - 20}-{port}").ports() == "1 to be opened"


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@db.managed.example/app", "postgresql://u:secret@10.0.0.9:5432/app"]
)
def test_a_database_outside_the_project_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    services = {"web": {"environment": {"DATABASE_URL": url}}, "postgres": {}}
    said = refusal(Gates(site(tmp_path, services), REQUEST), "database")
    assert "outside this Compose project" in said
    assert "secret" not in said


def test_a_user_who_could_never_put_a_backup_back_is_refused(tmp_path: Path) -> None:
    made = site(tmp_path)
    vars(made)["containers"] = lambda _service=None: ["one"]
    vars(made)["database"] = SimpleNamespace(
        server_version=lambda: "17.6", size=lambda: 1, may_restore=lambda: False, migration_tables=list, tables=int
    )
    for verb in ("deploy", "backup"):
        said = refusal(Gates(made, replace(REQUEST, verb=verb)), "database")
        assert said.startswith("swarm_owner is no superuser: it could dump swarm_production, and never put it back")


@pytest.mark.parametrize(
    "known, tables, said",
    [
        ([], 7, "has tables and no schema_migrations"),
        (["a.schema_migrations", "b.schema_migrations"], 7, "has a.schema_migrations, b.schema_migrations"),
        (["app.schema_migrations"], 7, None),
        ([], 0, None),
    ],
)
def test_a_database_of_which_nobody_knows_what_was_applied_is_refused(
    tmp_path: Path, known: list[str], tables: int, said: str | None
) -> None:
    made = site(tmp_path)
    vars(made)["containers"] = lambda _service=None: ["one"]
    vars(made)["database"] = SimpleNamespace(
        server_version=lambda: "17.6",
        size=lambda: 1,
        may_restore=lambda: True,
        migration_tables=lambda: known,
        tables=lambda: tables,
    )
    gates = Gates(made, REQUEST)
    if said:
        assert said in refusal(gates, "database")
    else:
        assert gates.database() == "PostgreSQL 17.6, 0 MB"
    # a backup is taken all the same
    assert Gates(made, replace(REQUEST, verb="backup")).database()


def proxied(tmp_path: Path, services: dict[str, Any], **proxy: Any) -> Gates:  # noqa: ANN401 - plain data
    parts = replace(PROFILE.services, proxy="proxy", worker="worker")
    made = site(tmp_path, {"postgres": {}, "web": {}, "worker": {}, "proxy": {}, **services})
    vars(made)["profile"] = replace(PROFILE, services=parts, proxy=Proxy(**proxy))
    vars(made)["directory"] = tmp_path
    return Gates(made, REQUEST)


def test_a_web_service_of_which_there_can_be_one_set_only_is_refused(tmp_path: Path) -> None:
    ports = {"web": {"ports": [{"published": "80"}]}}
    assert "service web has ports" in refusal(proxied(tmp_path, ports, drain="docker_dns"), "traffic")
    named = {"web": {"container_name": "app"}}
    assert "service web has container_name" in refusal(proxied(tmp_path, named, drain="docker_dns"), "traffic")
    assert proxied(tmp_path, ports).traffic().startswith("none:")


@pytest.mark.promise("D4")
@pytest.mark.parametrize(
    "room, ttl, seconds",
    [
        # three stop one after another, of which six, five and four are named: 10/6 + 10/5 + 10/4
        (None, 10, "6.2 s"),
        (9, 10, "6.2 s"),
        (9, 2, "1.2 s"),
        # in parts fewer are named when one stops: 10/5 + 10/4 + 10/4, and three times 10/4
        (2, 10, "7.0 s"),
        (1, 10, "7.5 s"),
        (0, 10, "7.5 s"),
        (9, 0, "0.0 s"),
    ],
)
def test_what_a_switch_may_cost_is_said_beforehand_in_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None, ttl: float, seconds: str
) -> None:
    monkeypatch.setattr(_gates, "room_beside", lambda _site, _containers: room)
    said = proxied(tmp_path, {}, drain="docker_dns", dns_ttl=ttl).traffic()
    assert said.startswith("docker_dns, ")
    assert f"for {ttl} s after it stopped: {seconds} of all requests in the 3 stops at most, 0 where" in said


def test_a_file_that_the_proxy_does_not_see_is_refused(tmp_path: Path) -> None:
    gates = proxied(tmp_path, {}, drain="nginx_reload", file="upstreams/web.conf")
    assert "is in no directory that service proxy mounts" in refusal(gates, "traffic")
    mounted = {"proxy": {"volumes": [{"type": "bind", "source": str(tmp_path / "upstreams")}]}}
    assert proxied(tmp_path, mounted, drain="nginx_reload", file="upstreams/web.conf").traffic() == (
        "nginx_reload, 3 of 3 web containers start at once"
    )


@pytest.mark.promise("D4")
@pytest.mark.parametrize(
    "room, web, worker",
    [
        (None, "3 of 3 web containers start at once", ""),
        (9, "3 of 3 web containers start at once", ""),
        (2, "2 of 3 web containers start at once, the others in turn", ", end before the release's start"),
        (0, "the host has no memory for one more web container: one is tried at a time", ", end before the release's"),
    ],
)
def test_how_many_start_at_once_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None, web: str, worker: str
) -> None:
    monkeypatch.setattr(_gates, "room_beside", lambda _site, _containers: room)
    gates = proxied(tmp_path, {"worker": {"command": ["sidekiq"], "stop_grace_period": "30s"}}, drain="haproxy")
    assert web in gates.traffic()
    assert gates.workers().startswith(f"30 s to stop, 25 s of them for jobs{worker}")
    assert worker or "memory" not in gates.workers()


def test_workers_that_are_not_sidekiq_s_need_no_time_of_sidekiq_s(tmp_path: Path) -> None:
    gates = proxied(tmp_path, {})
    gates.profile = replace(gates.profile, jobs=JobPolicy(sidekiq=False))
    assert gates.workers() == "they are not Sidekiq's, and end by SIGTERM"


def test_workers_that_docker_would_kill_are_refused(tmp_path: Path) -> None:
    said = refusal(proxied(tmp_path, {"worker": {"command": ["sidekiq", "-t", "20"]}}), "workers")
    assert "stop_grace_period of service worker is 10 s and Sidekiq's timeout 20 s" in said
    assert "set stop_grace_period to 25s" in said
    enough = {"worker": {"command": ["sidekiq"], "stop_grace_period": "30s"}}
    assert proxied(tmp_path, enough).workers() == "30 s to stop, 25 s of them for jobs"


@pytest.mark.parametrize("brought", [True, False])
def test_a_compose_file_is_there_or_comes_with_the_release(tmp_path: Path, *, brought: bool) -> None:
    gates = proxied(tmp_path, {})
    gates.profile = replace(gates.profile, compose_files=("compose.yml", "compose.new.yml"))
    (tmp_path / "compose.yml").touch()
    checkout = vars(gates.site)["checkout"]
    checkout.remote_commit = lambda _ref: "b" * 40
    checkout.holding = lambda _commit: nullcontext(tmp_path)
    checkout.file_at = lambda _place, _commit, name, _limit: "services: {}" if brought else None  # noqa: ARG005 - git's
    if brought:
        assert gates.compose_files() == "4 services"
    else:
        said = f"Compose file {tmp_path}/compose.new.yml does not exist: mend application.compose_files"
        assert refusal(gates, "compose_files") == said


def test_jobs_that_cannot_be_looked_at_are_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(_site: Site) -> int:
        raise SlipwayError("Redis wants a password: give its container REDIS_PASSWORD")

    enough = {"worker": {"command": ["sidekiq"], "stop_grace_period": "30s"}}
    monkeypatch.setattr(_gates, "parked", locked)
    gates = proxied(tmp_path, enough)
    assert gates.workers() == "30 s to stop, 25 s of them for jobs"
    vars(gates.site)["containers"] = lambda service=None: [service]
    gates.profile = replace(gates.profile, services=replace(gates.profile.services, cache="redis"))
    said = refusal(gates, "workers")
    assert said.startswith("the jobs in service redis cannot be looked at: Redis wants a password")


@pytest.mark.parametrize(
    "web, postgres",
    [
        ({}, {"container_name": "swarm-db"}),
        ({}, {"hostname": "Swarm-DB"}),
        ({}, {"networks": {"front": None, "back": {"aliases": ["store", "swarm-db"]}}}),
        ({"links": ["redis", "postgres:swarm-db"]}, {}),
    ],
)
def test_a_database_by_any_name_that_compose_gives_it_is_inside(
    tmp_path: Path, web: dict[str, Any], postgres: dict[str, Any]
) -> None:
    services = {"web": {"environment": {"DATABASE_URL": "postgresql://u:p@swarm-db/app"}, **web}, "postgres": postgres}
    assert Gates(site(tmp_path, services), REQUEST).database() == "nothing is installed yet"


@pytest.mark.parametrize(
    "runner, gate, said",
    [
        (Runner(engine="20.10.24"), "docker", "Docker Engine is 20.10.24: version 25 or later"),
        (Runner(engine=""), "docker", "does not answer (Cannot connect to the Docker daemon)"),
        (Runner(compose=""), "compose", "Docker Compose v2 is not installed"),
        (Runner(compose="2.4.1"), "compose", "version 2.20 or later"),
    ],
)
def test_tools_that_are_too_old_or_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner, gate: str, said: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert said in refusal(Gates(site(tmp_path, runner=runner), REQUEST), gate)


def test_a_release_that_was_left_half_done_comes_first(tmp_path: Path) -> None:
    place = site(tmp_path)
    with place.ledger.locked():
        place.ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "migrating", Before("1.0.0", [], None)))
    other = Request("deploy", "r1", "1.2.0", "1.2.0")
    said = refusal(Gates(place, other), "candidate")
    assert "1.1.0 was left half done (migrating): deploy 1.1.0 again to go on" in said
    assert "playbooks/rollback.yml" in said
    assert "left half done" in Gates(place, REQUEST).drift()
    assert Gates(place, REQUEST).candidate() == "1.1.0 goes on after migrating"


def test_the_release_that_stands_does_not_come_in_again_and_take_its_own_place(tmp_path: Path) -> None:
    """It would be what it goes back to."""
    place = site(tmp_path)
    cast("Any", place).runs = lambda _release, **_options: []
    with place.ledger.locked():
        place.ledger.save_release(Release("1.1.0", "b" * 40, {}, {}, []))
        place.ledger.update(current="1.1.0")
    said = refusal(Gates(place, REQUEST), "drift")
    assert said.startswith("release 1.1.0 runs already and /opt/swarm is at another commit than its own: run 'git ch")
    assert Gates(place, Request("deploy", "r1", "1.2.0", "1.2.0")).drift() == "1.1.0 runs"
    cast("Any", place).checkout.head = lambda: "b" * 40
    assert Gates(place, REQUEST).drift() == "1.1.0 runs"


def test_nor_does_one_that_runs_and_is_in_no_ledger_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = site(tmp_path)
    cast("Any", place).containers = lambda service=None: [service]
    monkeypatch.setattr(_gates, "observe_release", lambda _site: Release("1.1.0", "a" * 40, {}, {}, []))
    assert "release 1.1.0 runs here already and is in no ledger yet" in refusal(Gates(place, REQUEST), "drift")
    assert Gates(place, Request("deploy", "r1", "1.2.0", "1.2.0")).drift() == "to be adopted"


def test_a_run_that_lives_is_left_alone_and_one_that_died_taken_over(tmp_path: Path) -> None:
    place = site(tmp_path)
    with place.ledger.locked():
        place.ledger.open_run("r0", "deploy", "anna@controller", "1.1.0", 900)
    said = refusal(Gates(place, Request("deploy", "r1", "1.1.0", owner="ben@controller")), "lock")
    assert "deploy of 1.1.0 by anna@controller" in said
    assert "dead after 900 s" in said
    assert "taken over" in Gates(place, Request("deploy", "r1", "1.1.0", owner="anna@controller")).lock()
    with place.ledger.locked():
        refused = refusal(Gates(place, Request("deploy", "r1", "1.1.0", owner="anna@controller")), "lock")
    assert "another process works on this site now" in refused


def test_a_release_that_nobody_scanned_is_neither_refused_nor_called_well(tmp_path: Path) -> None:
    at = site(tmp_path).ledger.now()
    unseen, wrong = (
        Observation("gate", name, at, None, None, ok=ok, detail="as told") for name, ok in (("a", None), ("b", False))
    )
    assert Answer([unseen, wrong], None, already=False).failures == ["b: as told"]
    with pytest.raises(SlipwayError, match="no report was given: security_reports"):
        Gates(site(tmp_path), REQUEST).vulnerabilities()


def test_half_done_is_for_a_deploy_or_a_rollback_to_go_on_with(tmp_path: Path) -> None:
    place = site(tmp_path)
    with place.ledger.locked():
        place.ledger.open_run("r0", "deploy", "anna@controller", "1.1.0")
        place.ledger.update(candidate=Candidate("1.1.0", "migrating", Before("1.0.0", [], None)))
    said = refusal(Gates(place, Request("backup", "r1", owner="anna@controller")), "lock")
    assert "a run died here" in said
    assert "rollback.yml" in said
    assert "taken over" in Gates(place, Request("rollback", "r1", owner="anna@controller")).lock()


def test_files_of_two_releases_are_no_reason_to_refuse_what_mends_them(tmp_path: Path) -> None:
    place = site(tmp_path)
    with place.ledger.locked():
        place.ledger.update(candidate=Candidate("1.1.0", "switching", Before("1.0.0", [], None)))
    gates = Gates(place, REQUEST)
    assert {gates.checkout(), gates.compose_files(), gates.ports()} == {
        "not looked at: files of two releases are in place"
    }


def test_a_vault_that_differs_from_what_runs_is_not_passed_over(tmp_path: Path) -> None:
    place = site(tmp_path)
    place.environment["POSTGRES_PASSWORD"] = "new"  # a stand-in for a secret that was changed in the vault
    place.env_file.path.write_text("POSTGRES_PASSWORD=old\n")
    with place.ledger.locked():
        place.ledger.update(current="1.1.0")
    said = refusal(Gates(place, REQUEST), "secrets")
    assert "POSTGRES_PASSWORD in application_environment is not what" in said
    assert "new release" in said


def test_what_no_env_file_can_hold_is_refused(tmp_path: Path) -> None:
    place = site(tmp_path)
    place.environment["KEY"] = "a\0b"
    assert "the value of KEY holds a NUL" in refusal(Gates(place, REQUEST), "secrets")


def test_all_failures_come_at_once_and_none_hides_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    answer = look(site(tmp_path), Request("deploy", "r1", "1.1.0", "1.1.0", 999))
    failed = {line.split(":")[0] for line in answer.failures}
    assert {"docker", "secrets", "clock"} <= failed
    assert not answer.already
    assert answer.commit is None


def test_why_git_is_not_run_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setitem(GATES, "deploy", ("python", "docker", "compose", "checkout", "release", "candidate"))
    monkeypatch.setitem(GATES, "rollback", ("python", "docker", "compose", "release"))
    (tmp_path / "link").symlink_to(tmp_path)
    if os.geteuid() == 0:
        os.lchown(tmp_path / "link", 1000, 1000)
    made = site(tmp_path)
    vars(made).update(checkout=Checkout(HostRunner(), tmp_path / "link", "/srv/git/shop.git"), at_rest=nullcontext)
    why = f"{tmp_path}/link is a link that is not root's: name what it leads to in application.directory"
    assert look(made, REQUEST).failures == [f"checkout: {why}"]
    # where it is not looked at, for there is no engine
    made.runner = cast("Any", Runner(engine=""))
    assert f"release: {why}" in look(made, REQUEST).failures


def test_every_verb_has_gates_that_exist() -> None:
    owners = {name: ReleaseGates if name in RELEASE_GATES else Gates for names in GATES.values() for name in names}
    assert all(callable(getattr(owner, name)) for name, owner in owners.items())
