from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _compose
from ansible_collections.slipway.release.plugins.module_utils._compose import Compose, Docker
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._process import Runner as Process
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile

from tests.unit.plugins.module_utils.host import container
from tests.unit.plugins.module_utils.test_site import APPLICATION

NEVER_BEGAN = "OCI runtime exec failed: exec failed: unable to start container process: read init-p: connection reset"


class Runner:
    """Fails as often as it is told to."""

    def __init__(self, failures: int, code: int = 126, output: str = NEVER_BEGAN) -> None:
        self.failures = failures
        self.error = CommandError(["docker", "exec"], code, output)
        self.calls = 0

    def run(self, argv: list[str], **_options: object) -> Completed:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return Completed(0, " ".join(argv), "")


def docker(runner: Runner) -> Docker:
    return Docker(cast("Process", runner))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compose, "STARTING_AGAIN", (0.0, 0.0))


def test_a_command_that_never_began_is_started_again() -> None:
    runner = Runner(failures=2)
    assert docker(runner).execute("c1", "psql", text="SELECT 1").stdout == "docker exec --interactive c1 psql"
    assert runner.calls == 3


@pytest.mark.parametrize("text", [None, ""])
def test_a_command_without_input_has_none_to_wait_for(text: str | None) -> None:
    assert docker(Runner(failures=0)).execute("c1", "psql", text=text).stdout == "docker exec c1 psql"


def test_that_ends_some_time() -> None:
    runner = Runner(failures=9)
    with pytest.raises(CommandError, match="OCI runtime"):
        docker(runner).execute("c1", "psql")
    assert runner.calls == 3


@pytest.mark.parametrize("code, output", [(1, "ERROR: duplicate key"), (126, "psql: permission denied")])
def test_a_command_that_began_is_never_repeated(code: int, output: str) -> None:
    runner = Runner(failures=1, code=code, output=output)
    with pytest.raises(CommandError):
        docker(runner).execute("c1", "psql")
    assert runner.calls == 1


class Images:
    """Knows some images, and prints what Docker prints of several: ids in order, nothing for a missing one."""

    def __init__(self, **known: str) -> None:
        self.known = known
        self.calls = 0

    def run(self, argv: list[str], **_options: object) -> Completed:
        self.calls += 1
        names = argv[argv.index("{{.Id}}") + 1 :]
        here = [self.known[name] for name in names if name in self.known]
        return Completed(0 if len(here) == len(names) else 1, "".join(f"{item}\n" for item in here), "")


@pytest.mark.parametrize(
    "asked, found, calls",
    [
        (["web", "nginx", "web"], {"web": "sha256:1", "nginx": "sha256:2"}, 1),
        (["web", "gone", "nginx"], {"web": "sha256:1", "gone": None, "nginx": "sha256:2"}, 4),
        (["gone"], {"gone": None}, 1),
        ([], {}, 0),
    ],
)
def test_images_are_asked_for_at_once_and_a_missing_one_confuses_nothing(
    asked: list[str], found: dict[str, str | None], calls: int
) -> None:
    images = Images(web="sha256:1", nginx="sha256:2")
    assert Docker(cast("Process", images)).image_ids(asked) == found
    assert images.calls == calls


class Engine:
    """An engine with containers by name, and those that run."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def run(self, argv: list[str], *, check: bool = True, timeout: float = 60) -> Completed:
        assert timeout == 60
        if argv[1] == "ps":
            return Completed(0, "\n".join(self.names), "")
        if argv[1] == "inspect":
            items = [container("web", state="running" if "_" not in name else "created") for name in self.names]
            named = [{**item, "Id": name, "Name": f"/{name}"} for item, name in zip(items, self.names, strict=True)]
            return Completed(0, json.dumps(named), "")
        if argv[1] == "rename":
            if argv[3] in self.names:
                assert not check
                return Completed(1, "", "is already in use")
            self.names[self.names.index(argv[2])] = argv[3]
        if argv[1] == "rm":
            assert "--volumes" not in argv
            self.names.remove(argv[-1])
        return Completed(0, "", "")


@pytest.mark.promise("R6")
def test_what_compose_had_half_made_gets_its_name_where_that_is_free_and_goes_where_it_is_not() -> None:
    engine = Engine("swarm-web-1", "0123456789ab_swarm-web-1", "ba9876543210_swarm-web-2", "swarm-redis-1")
    there = Docker(cast("Process", engine))
    there.settle("swarm")
    assert sorted(engine.names) == ["swarm-redis-1", "swarm-web-1", "swarm-web-2"]


@pytest.mark.parametrize(
    "stamp, seconds",
    [
        ("2026-11-23T12:44:54.114853953Z", 1795437894.114853953),
        ("2026-11-23T12:44:54Z", 1795437894.0),
        ("0001-01-01T00:00:00Z", 0.0),
        (None, 0.0),
    ],
)
def test_docker_s_times_are_read(stamp: str | None, seconds: float) -> None:
    assert _compose._seconds(stamp) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "model, number",
    [
        ({}, 1),
        ({"scale": 0}, 0),
        ({"deploy": {"replicas": 0}}, 0),
        ({"deploy": {"replicas": 3}}, 3),
        ({"scale": 2, "deploy": {}}, 2),
        ({"deploy": None}, 1),
    ],
)
def test_none_is_a_number_of_containers_too(model: dict[str, Any], number: int) -> None:
    compose = Compose(cast("Process", Runner(0)), cast("Profile", SimpleNamespace(directory="/", env_file=".env")))
    compose._model = {"services": {"seed": model}}
    assert compose.replicas("seed") == number


@pytest.mark.parametrize(
    "state, code, policy, finished",
    [
        ("exited", 0, None, True),
        ("exited", 0, "on-failure", True),
        ("exited", 0, "unless-stopped", False),
        ("exited", 1, "no", False),
        ("created", 0, "no", False),
        ("running", 0, "no", False),
    ],
)
def test_what_did_its_work_and_ended_well_is_finished(
    state: str, code: int, policy: str | None, *, finished: bool
) -> None:
    shown = container("seed", state=state, exit_code=code, health=None)
    shown["HostConfig"] = {} if policy is None else {"RestartPolicy": {"Name": policy}}
    assert _compose._container(shown).finished == finished


def test_ranges_of_ports_are_read() -> None:
    shown = container("web")
    shown["Config"]["ExposedPorts"] = {"80/tcp": {}, "3000-3002/tcp": {}}
    assert _compose._container(shown).listens == (80, 3000, 3001, 3002)


@pytest.mark.promise("D4")
def test_what_containers_use_is_read_as_the_engine_writes_it() -> None:
    told = "97.94MiB / 23.54GiB\n1.5GiB / 2GiB\n512KiB / 2GiB\n0B / 0B\n-- / --\n"
    runner = SimpleNamespace(run=lambda *_, **__: Completed(0, told, ""))
    used = Docker(cast("Any", runner)).memory(["a", "b", "c", "d", "e"])
    assert used == [102_697_533, 1_610_612_736, 524_288, 0]


class Changes:
    """Notes which changes Docker was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def run(self, argv: list[str], **_options: object) -> Completed:
        self.asked.append(argv[1:])
        return Completed(0, "", "")


def stopped(*policies: str) -> list[list[str]]:
    """What Docker is asked to stop containers with these restart policies, which are c0, c1 and so on."""
    changes = Changes()
    shapes = [SimpleNamespace(id=f"c{number}", restart=policy) for number, policy in enumerate(policies)]
    Docker(cast("Any", changes)).stop(cast("Any", shapes))
    return changes.asked


def test_what_is_stopped_and_kept_stays_so_when_docker_starts_anew() -> None:
    """Docker starts containers with the policy `always` then, also those that were stopped by hand."""
    assert stopped("always", "unless-stopped", "always") == [
        ["update", "--restart", "unless-stopped", "c0", "c2"],
        ["stop", "c0", "c1", "c2"],
    ]
    assert stopped("on-failure", "no") == [["stop", "c0", "c1"]]


def test_what_a_container_has_of_the_host_is_known() -> None:
    shape = container("proxy", 1)
    shape["Mounts"] = [
        {"Type": "bind", "Source": "/opt/swarm/storage", "Destination": "/srv"},
        {"Type": "volume", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/data"},
    ]
    assert _compose._container(shape).binds == ("/opt/swarm/storage",)


class Answers:
    """Prints what Compose is asked for, and keeps what it was asked with."""

    def __init__(self, printed: str) -> None:
        self.printed = printed
        self.argv: list[str] = []
        self.given: dict[str, Any] = {}

    def run(self, argv: list[str], **options: object) -> Completed:
        self.argv, self.given = argv, options
        return Completed(0, self.printed, "")


def test_the_model_says_what_a_container_gets_and_not_what_a_compose_file_would(tmp_path: Path) -> None:
    """`docker compose config` doubles each dollar sign, also in JSON."""
    service = {"command": ["sh", "-c", "puma -p $$PORT"], "environment": {"SECRET": "a$$$$b"}}
    (tmp_path / "compose.yml").touch()
    profile = Profile.parse({**APPLICATION, "directory": str(tmp_path)})
    answers = Answers(json.dumps({"services": {"web": service}}))
    compose = Compose(cast("Any", answers), profile)
    assert compose.config["services"]["web"] == {
        "command": ["sh", "-c", "puma -p $PORT"],
        "environment": {"SECRET": "a$$b"},
    }
    # where people stand who start it by hand: ${PWD} in the files is that
    assert (answers.given["env"]["PWD"], answers.given["cwd"]) == (str(tmp_path), str(tmp_path))
    compose.call("build", directory=tmp_path / "source")
    assert (answers.given["env"]["PWD"], answers.given["cwd"]) == (str(tmp_path / "source"), None)


@pytest.mark.promise("M2", "D3")
def test_a_one_off_container_is_of_the_release_alone_and_known_as_one(tmp_path: Path) -> None:
    source = tmp_path / "releases/1.1.0/source"
    profile = Profile.parse({**APPLICATION, "directory": str(tmp_path)})
    answers = Answers("== 2 AddPriority: migrated\n")
    compose = Compose(cast("Any", answers), profile, source, "1.1.0", tmp_path / "kept.env")
    done = compose.run_once("web", "bin/rails", "db:migrate", timeout=3600)
    assert done.stdout == "== 2 AddPriority: migrated\n"
    project = ["--project-name", "swarm", "--project-directory", str(tmp_path)]
    files = ["--env-file", str(tmp_path / "kept.env"), "--file", str(source / "compose.yml")]
    # it is removed when it ends, starts nothing else, and is found by its label when its caller was killed
    once = ["--rm", "--no-TTY", "--no-deps", "--label", "slipway.oneoff=swarm", "web"]
    assert answers.argv == ["docker", "compose", *project, *files, "run", *once, "bin/rails", "db:migrate"]
    assert answers.given["env"] == {"APP_VERSION": "1.1.0", "PWD": str(tmp_path)}
    # what Rails prints is read, however it ends
    assert (answers.given["timeout"], answers.given["check"]) == (3600, False)
