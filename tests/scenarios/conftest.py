"""What the scenarios' tests share: the host from outside, and the playbooks as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

from lab import evidence, witness
from lab.host import Host as LabHost
from lab.writer import Write, Writer
from tests import awx_job
from tests.typed import SHELL, typed

ROOT = Path(__file__).resolve().parents[2]
# each worker has a host to itself
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SITE = f"site{WORKER + 1}"
INVENTORY = "molecule/inventory"
# Seconds that a test may take with its fixtures: a playbook alone may take 600.
LONGEST = 900
PUBLISH = r"""
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
git() {{ command git -c user.name=a -c user.email=a@example.test "$@"; }}
! git -C /srv/git/swarm.git rev-parse --quiet --verify refs/tags/{version} >/dev/null || exit 0
git clone --quiet --branch 1.1.0 -c advice.detachedHead=false /srv/git/swarm.git "$work/swarm"
cd "$work/swarm"
{files}{papers}
git add --all && git commit --quiet --message 'Release {version}' && git tag {version}
git push --quiet origin {version}
"""


def closed_window(**more: Any) -> tuple[str, str]:  # noqa: ANN401 - other variables
    """Arguments that ask for a window which opens in three days, for a minute."""
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a").lower()
    window = {"days": [day], "from": "00:00", "to": "00:01", "time_zone": "UTC"}
    return "-e", json.dumps({"release_gates": {}, "release_window": window, **more})


@dataclass(frozen=True)
class Run:
    """A playbook that ran: its exit code, what the operator saw, and the record that it left."""

    returncode: int
    output: str
    record: dict[str, Any]

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        found = re.search(r"changed=(\d+)", self.output)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class JobRun(Run):
    """A playbook that ran as a job of AWX.

    :param artifacts: what AWX keeps of it.
    """

    artifacts: dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those come last that leave the others no host to work on, and give each the time of a long playbook."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))
    items.sort(key=lambda item: item.get_closest_marker("wipes") is not None)


@pytest.fixture(scope="session")
def site() -> str:
    return SITE


@pytest.fixture(scope="session")
def host(site: str) -> Host:
    return testinfra.get_host(f"docker://slipway-lab-{site}")


@pytest.fixture(scope="session")
def sh(host: Host) -> Callable[[str], str]:
    def run(script: str) -> str:
        done = host.run("bash -ec %s", script)
        assert done.rc == 0, f"{script}\n{done.stderr}"
        return str(done.stdout)

    return run


@pytest.fixture(scope="session")
def look(sh: Callable[[str], str]) -> Callable[[], witness.Witness]:
    return lambda: witness.look(sh)


@pytest.fixture(scope="session")
def query(sh: Callable[[str], str]) -> Callable[[str], str]:
    """Ask the application's database."""
    container = "$(docker ps --quiet --filter label=com.docker.compose.service=postgres)"
    psql = f"docker exec --interactive {container} psql -XAt --username swarm_owner swarm_production"
    return lambda sql: sh(f"{psql} <<'SQL'\n{sql}\nSQL").strip()


@pytest.fixture
def writer(site: str, tmp_path: Path) -> Writer:
    """A client that creates and deletes campaigns twenty times a second over connections that stay open."""
    there = LabHost(site)
    password = yaml.safe_load(there.secrets_file.read_text())["vault_operator_password"]
    return Writer(there.address, "swarm.example.test", password, tmp_path / "writes.jsonl", 280)


def failed(writes: list[Write]) -> Counter[str]:
    """What became of those that were not acknowledged."""
    return Counter(f"{item.fate} {item.status or item.problem}" for item in writes if item.fate != "acknowledged")


@pytest.fixture(scope="session")
def publish(site: str, sh: Callable[[str], str]) -> Callable[..., None]:
    """Push a release of the sample that differs from 1.1.0 by the migrations given, and what a script changes."""

    def tag(version: str, *migrations: str, script: str = "") -> None:
        # what one release brought may stay in the database, so that another's has another version
        first = zlib.crc32("".join(map(_file_name, migrations[:1])).encode()) % 9000 + 1000
        files = "\n".join(
            f"cat >db/migrate/20260701{first}{number:02}_{_file_name(source)}.rb <<'RUBY'\n{source}\nRUBY"
            for number, source in enumerate(migrations)
        )
        files += f"{script}\n"
        content = PUBLISH.format(version=version, files=files, papers=evidence.PAPERS.format(version=version))
        sh(f"runuser -u deploy -- bash -e <<'SCRIPT'\n{content}\nSCRIPT")
        evidence.write(LabHost(site))

    return tag


def _file_name(source: str) -> str:
    found = re.search(r"class (\w+)", source)
    assert found
    return re.sub(r"(?<!^)(?=[A-Z])", "_", found[1]).lower()


@pytest.fixture(scope="session")
def play(site: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    def run(playbook: str, *arguments: str, inventory: str = INVENTORY, directory: Path = ROOT) -> Run:
        records = tmp_path_factory.mktemp("records")
        done = subprocess.run(
            ["ansible-playbook", playbook, "-i", inventory, "--limit", site, *arguments],
            cwd=directory,
            env={**os.environ, "SLIPWAY_RECORD_DIR": str(records), "ANSIBLE_FORCE_COLOR": "false"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr, _record(records))

    return run


@pytest.fixture(scope="session")
def types(site: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Type a command of a page, with the inventory and the host filled in."""

    def run(
        page: str,
        begins: str,
        *more: str,
        inventory: str = INVENTORY,
        given: Mapping[str, str] | None = None,
        fails: bool = False,
        environment: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - those of `typed`
    ) -> Run:
        records = tmp_path_factory.mktemp("records")
        printed = typed(
            page,
            begins,
            *map(shlex.quote, more),
            given={**(given or {}), "-i prod": f"-i {inventory} -l {site}", "customer-a": site},
            fails=fails,
            environment={"SLIPWAY_RECORD_DIR": str(records), **(environment or {})},
            **options,
        )
        return Run(int(fails), printed, _record(records))

    return run


@pytest.fixture(scope="session")
def types_on_host(site: str) -> Callable[..., str]:
    """Type a command of a page on the host, as an operator who has logged in, or as root."""

    def run(page: str, begins: str, user: str = "deploy", directory: str = "/opt/swarm", **options: Any) -> str:  # noqa: ANN401 - those of `typed`
        there = ("docker", "exec", "--workdir", directory, LabHost(site).container)
        return typed(page, begins, through=(*there, "runuser", "-u", user, "--", *SHELL), **options)

    return run


@pytest.fixture(scope="session")
def job(site: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., JobRun]:
    """Play as AWX does, with answers to a survey and a credential's secret, which may be in nothing that AWX shows."""
    listed = subprocess.run(
        ["ansible-inventory", "-i", INVENTORY, "--list", "--export"], cwd=ROOT, capture_output=True, check=True
    )
    inventory: dict[str, Any] = json.loads(listed.stdout)
    password = '{{ lookup("ansible.builtin.env", "SLIPWAY_VAULT_OPERATOR_PASSWORD", default=undef()) }}'
    # the inventory's directory is another in a job
    there = {"lab_directory": str(ROOT / "build/lab"), "vault_operator_password": password}
    inventory["sites"]["vars"] |= {"ansible_host_key_checking": True, **there}

    def run(playbook: str, **answers: object) -> JobRun:
        secrets = yaml.safe_load(LabHost(site).secrets_file.read_text())
        injected = {"SLIPWAY_VAULT_OPERATOR_PASSWORD": secrets["vault_operator_password"]}
        private = tmp_path_factory.mktemp("job")
        awx_job.lay_out(private, inventory, answers, limit=site, environment=injected)
        done = awx_job.run(private, playbook, timeout=600)
        kept = [path for path in (private / "artifacts").rglob("*") if path.is_file()]
        told = {str(path): path.read_text() for path in kept} | {"stdout": done.output}
        # ansible-runner's note of what it started has the environment too; AWX masks there what a credential injects
        (note,) = (path for path in kept if path.name == "command")
        told[str(note)] = str(json.loads(note.read_text())["command"])
        assert [name for name, text in told.items() if any(value in text for value in secrets.values())] == []
        record = json.loads((private / "project/build/records/latest.json").read_text())
        return JobRun(done.returncode, done.output, record, done.artifacts)

    return run


def _record(directory: Path) -> dict[str, Any]:
    """The record that the last run left there."""
    written = sorted(path for path in directory.glob("*.json") if not path.is_symlink())
    return json.loads(written[-1].read_text()) if written else {}
