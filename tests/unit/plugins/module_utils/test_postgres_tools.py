"""Programs of PostgreSQL over a directory of the host, by a Docker that runs scripts right here."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _postgres_tools
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._postgres_tools import PostgresTools
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner

pytestmark = pytest.mark.promise("M1")

SECRET = "canary-password"
WRITE = 'printf rows >$place/1.dat; printf "$PGPASSWORD" >$place/toc.dat'
READ = "cat $place/1.dat"


class Docker(HostRunner):
    """Runs the shell script of `docker run` and of `docker exec` on this host.

    :param refuses: the exit code by which `docker run` fails before the script begins.
    """

    def __init__(self, programs: Path, *, refuses: int = 0, answers: bool = True) -> None:
        super().__init__()
        self.refuses = refuses
        self.ran: list[list[str]] = []
        programs.mkdir()
        psql = programs / "psql"
        psql.write_text(f'#!/bin/sh\n[ "$PGHOST $PGPORT" = "127.0.0.1 6543" ] && exit {0 if answers else 2}\nexit 3\n')
        psql.chmod(0o755)
        self.path = f"{programs}:{os.environ['PATH']}"

    def run(self, argv: Sequence[str], **options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        self.ran.append(list(argv))
        if argv[:2] == ["docker", "inspect"]:
            variables = [f"POSTGRES_PASSWORD={SECRET}", "PGPORT=6543"]
            return Completed(0, json.dumps([{"Image": "sha256:17", "Config": {"Env": variables}}]), "")
        assert argv[:2] == ["docker", "run"]
        if self.refuses:
            return Completed(self.refuses, "", "docker: Error response from daemon")
        mounted, _, _mode = argv[argv.index("--volume") + 1].partition(":/slipway")
        script = argv[-1].replace("place=/slipway;", f"place={mounted};")
        options["env"] = {**(options["env"] or {}), "PATH": self.path}
        return super().run(["sh", "-c", script], **options)

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        self.ran.append(list(argv))
        assert argv[:2] == ["docker", "exec"]
        return super().stream(["env", f"POSTGRES_PASSWORD={SECRET}", "sh", "-c", argv[-1]], errors)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files lie inside the server's container."""
    place = tmp_path / "inside"
    monkeypatch.setattr(_postgres_tools, "_TEMPORARY", str(place))
    return place


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "database"
    made.mkdir()
    return made


def tools(docker: Docker) -> PostgresTools:
    return PostgresTools(docker, "p1", "shop", "owner")


def runs(docker: Docker) -> list[str]:
    return [argv[1] for argv in docker.ran]


@pytest.mark.parametrize(
    "docker, expected",
    [
        pytest.param({}, ["inspect", "run", "run"], id="beside the server"),
        pytest.param({"refuses": 125}, ["inspect", "run", "exec", "run", "exec"], id="Docker cannot mount it"),
        pytest.param({"answers": False}, ["inspect", "run", "exec", "run", "exec"], id="it listens on its socket only"),
    ],
)
def test_the_directory_is_filled_and_read_wherever_the_program_runs(
    docker: dict[str, object], expected: list[str], directory: Path, inside: Path, tmp_path: Path
) -> None:
    made = Docker(tmp_path / "programs", **docker)  # type: ignore[arg-type]
    files = tools(made).write(directory, "pg_dump", WRITE)
    assert {name: (file.size, file.sha256) for name, file in files.items()} == {
        "1.dat": (4, hashlib.sha256(b"rows").hexdigest()),
        "toc.dat": (len(SECRET), hashlib.sha256(SECRET.encode()).hexdigest()),
    }
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    known = PostgresTools(made, "p1", "shop", "owner")
    known.__dict__["_server"] = {"Image": "sha256:17", "Config": {"Env": ["PGPORT=6543"]}}
    assert known.read(directory, "pg_restore", READ) == "rows"
    assert runs(made) == expected
    assert not inside.exists()
    assert SECRET not in json.dumps(made.ran)


def test_what_runs_beside_the_server_can_be_found_and_may_not_more_than_it_must(
    directory: Path, tmp_path: Path
) -> None:
    docker = Docker(tmp_path / "programs")
    (directory / "1.dat").write_text("rows")
    tools(docker).read(directory, "pg_restore", READ)
    (argv,) = (argv for argv in docker.ran if argv[1] == "run")
    assert argv[argv.index("--volume") + 1] == f"{directory}:/slipway:ro"
    assert argv[argv.index("--network") + 1] == "container:p1"
    assert argv[argv.index("--cap-drop") + 1] == "ALL"
    # visitors come first: Docker's default is 1024
    assert int(argv[argv.index("--cpu-shares") + 1]) < 512
    assert "slipway.tools=shop" in argv
    assert argv[-3] == "sha256:17"


@pytest.mark.parametrize("docker", [{}, {"refuses": 125}])
@pytest.mark.parametrize("verb", ["write", "read"])
def test_a_program_that_fails_is_named_with_its_last_words(
    docker: dict[str, int], verb: str, directory: Path, tmp_path: Path
) -> None:
    made = tools(Docker(tmp_path / "programs", **docker))  # type: ignore[arg-type]
    with pytest.raises(CommandError) as caught:
        getattr(made, verb)(directory, "pg_dump", "echo no space left >&2; exit 1")
    assert str(caught.value) == "pg_dump shop ended with code 1: no space left"


def test_a_docker_that_is_lost_under_a_dump_is_told_and_nothing_is_written_twice(
    directory: Path, tmp_path: Path
) -> None:
    docker = Docker(tmp_path / "programs")
    with pytest.raises(CommandError, match="ended with code 125: the daemon is gone"):
        tools(docker).write(directory, "pg_dump", f"{WRITE}; echo the daemon is gone >&2; exit 125")
    assert runs(docker) == ["inspect", "run"]


def test_what_is_no_plain_file_is_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match=r"1\.dat is no plain file"):
        tools(Docker(tmp_path / "programs")).write(directory, "pg_dump", "ln -s /etc/passwd $place/1.dat")
