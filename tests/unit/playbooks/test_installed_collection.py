"""The collection as somebody installs it who has no checkout: built, installed from its file, run from anywhere.

With both ends of the range of ansible-core that it says it works with: the newest is what requirements.lock pins.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.typed import typed

ROOT = Path(__file__).resolve().parents[3]
PAGE = "docs/collection.md"
VERBS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
LARGEST = 1_000_000
LOWEST = "build/lowest"
# those of this repository's own tests that play actions and the record, and are quick
ON_CONTROLLER = [
    "tests/unit/plugins/action/test_read_reports.py",
    "tests/unit/plugins/callback/test_run_record.py",
]
# nobody answers there: whoever connects says so
GONE = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
TOLD = {"application": {}, "application_environment": {}, "release_version": "1.2.0"}

pytestmark = pytest.mark.promise("U1")


def ansible(
    command: str, *arguments: str | Path, directory: Path, home: Path, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's commands where nothing points to the repository."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_", "PYTHON"))
    }
    return subprocess.run(
        [python, "-m", "ansible", command, *arguments],
        cwd=directory,
        env={
            **kept,
            "HOME": str(home),
            "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
            "ANSIBLE_CALLBACKS_ENABLED": "slipway.release.run_record",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that is published."""
    directory = tmp_path_factory.mktemp("built")
    typed(PAGE, "ansible-galaxy collection build", "--output-path", str(directory))
    (path,) = directory.glob("*.tar.gz")
    return path


known = pytest.mark.skipif(sys.version_info >= (3, 14), reason="ansible-core 2.19 knows Python up to 3.13")


def lowest() -> Path:
    """The environment of the lowest end, which is installed once."""
    made = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["scripts/setup", LOWEST, "requirements-lowest.lock"], cwd=ROOT, env=made, check=True)
    return ROOT / LOWEST


@pytest.fixture(scope="module", params=["newest", pytest.param("lowest", marks=known)])
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter that has one of the two ends."""
    return sys.executable if request.param == "newest" else str(lowest() / "bin/python")


@pytest.fixture(scope="module")
def home(built: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who has installed it, from the file alone."""
    directory = tmp_path_factory.mktemp("home")
    own = {"HOME": str(directory), "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections")}
    own["PATH"] = f"{Path(python).parent}:{os.environ['PATH']}"
    typed(PAGE, "ansible-galaxy collection install", directory=built.parent, environment=own)
    return directory


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory of an operator, with nothing in it but an inventory."""
    inventory = {"sites": {"hosts": {"site1": GONE}, "vars": {**TOLD, "ansible_python_interpreter": sys.executable}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    return tmp_path


def test_the_file_is_small_and_holds_what_git_has_and_only_what_a_run_needs(built: Path) -> None:
    with tarfile.open(built) as archive:
        names = {item.name for item in archive if not item.isdir()} - {"MANIFEST.json", "FILES.json"}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # a link to a directory of links counts as itself in git
    assert names - set(listed.split("\0")) == set()
    assert {name.partition("/")[0] for name in names} == {
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "requirements.yml"),
        *("changelogs", "docs", "meta", "monitoring", "playbooks", "plugins", "roles"),
    }
    assert {f"playbooks/{verb}.yml" for verb in VERBS} <= names
    assert built.stat().st_size < LARGEST


def test_what_is_installed_points_nowhere_outside(home: Path) -> None:
    installed = home / "collections/ansible_collections/slipway/release"
    links = [path for path in installed.rglob("*") if path.is_symlink()]
    assert links
    assert [path for path in links if not path.resolve().is_relative_to(home.resolve())] == []
    assert [path for path in installed.rglob("*") if path.is_file() and str(ROOT).encode() in path.read_bytes()] == []


def test_every_verb_can_be_typed_by_its_full_name(python: str, home: Path, elsewhere: Path) -> None:
    names = [f"slipway.release.{verb}" for verb in VERBS]
    done = ansible(
        "playbook", "-i", "hosts.yml", "--syntax-check", *names, directory=elsewhere, home=home, python=python
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("playbook: ") == len(VERBS)
    assert str(ROOT) not in done.stdout


@pytest.mark.promise("G8")
def test_bad_input_is_refused_in_one_line_from_anywhere(python: str, home: Path, elsewhere: Path) -> None:
    # what a role of a late phase takes is known too
    wrong = {"-e monitor_looks=many": "'monitor_looks' is of type", "-e fleet_waves=x": "'x' is no size of a wave"}
    told = "missing required arguments: base_url, database, directory, name, repository, services, version_variable"
    for arguments, said in {"": told, **(wrong if python == sys.executable else {})}.items():
        done = ansible(
            "playbook",
            "-vvv",
            "-i",
            "hosts.yml",
            "slipway.release.deploy",
            *arguments.split(),
            directory=elsewhere,
            home=home,
            python=python,
        )
        assert done.returncode != 0
        assert any(said in line for line in done.stdout.splitlines()), done.stdout
        assert "Traceback" not in done.stdout
        # but for the interpreter
        assert str(ROOT) not in re.sub(rf"{re.escape(str(ROOT))}/(\.venv|{LOWEST})\S*", "", done.stdout)


def test_the_run_is_told_and_recorded_where_it_is_typed(python: str, home: Path, elsewhere: Path) -> None:
    done = ansible(
        "playbook", "-i", "hosts.yml", "slipway.release.unlock", directory=elsewhere, home=home, python=python
    )
    assert done.returncode != 0
    record = json.loads((elsewhere / "build/records/latest.json").read_text())
    assert record["verb"] == "unlock"
    assert (record["inventory"], record["hosts"]["site1"]["outcome"]) == (["hosts.yml"], "refused")
    assert "site1: unlock REFUSED, nothing was changed" in done.stdout
    assert f"record: build/records/{(elsewhere / 'build/records/latest.json').readlink()}" in done.stdout


@known
def test_what_runs_on_the_controller_does_with_the_lowest_too() -> None:
    (packages,) = lowest().glob("lib/python*/site-packages")
    # they stand before those that pytest comes from
    script = "import sys, pytest, ansible.release as at; print(at.__file__); sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "-q", *ON_CONTROLLER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(packages)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"{packages}/ansible/")
