"""The sample application's repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.swarm import compose_repository
from tests.typed import typed

BAD = ["1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0", "1.9.0"]
VERSIONS = ["1.0.0", "1.1.0", *BAD]


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("composed") / "swarm.git"
    page = {"[--bare]": "--bare", "DESTINATION": str(destination)}
    typed("examples/swarm/README.md", "examples/swarm/compose_repository.py", given=page)
    return destination


def changed(repository: Path, old: str, new: str, *filters: str) -> set[str]:
    return set(git(repository, "diff", "--name-only", "--no-renames", *filters, old, new).splitlines())


def migrations(repository: Path, version: str) -> list[str]:
    return git(repository, "ls-tree", "--name-only", version, "db/migrate/").splitlines()


def test_every_release_is_an_annotated_tag(repository: Path) -> None:
    assert git(repository, "tag").splitlines() == VERSIONS
    assert {git(repository, "cat-file", "-t", version) for version in VERSIONS} == {"tag"}
    assert git(repository, "rev-parse", "main") == git(repository, "rev-parse", "1.1.0^{commit}")


def test_a_server_keeps_no_work_tree_and_no_remote(repository: Path) -> None:
    assert git(repository, "rev-parse", "--is-bare-repository") == "true"
    assert not git(repository, "remote")


@pytest.mark.parametrize("version", BAD)
def test_bad_releases_were_made_from_the_last_good_one(repository: Path, version: str) -> None:
    assert git(repository, "rev-parse", f"{version}^") == git(repository, "rev-parse", "1.1.0^{commit}")


@pytest.mark.parametrize("version, parent", [("1.1.0", "1.0.0"), *((version, "1.1.0") for version in BAD)])
def test_a_release_differs_from_its_parent_by_its_overlay(repository: Path, version: str, parent: str) -> None:
    overlay = compose_repository.HERE / "releases" / version
    files = {path.relative_to(overlay).as_posix() for path in overlay.rglob("*") if path.is_file()}
    assert changed(repository, parent, version) == files
    for name in files:
        assert git(repository, "show", f"{version}:{name}") == (overlay / name).read_text().strip()


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_each_release_only_adds_migrations_newer_than_all_before(repository: Path, version: str) -> None:
    before = migrations(repository, f"{version}^")
    after = migrations(repository, version)
    assert after[: len(before)] == before
    assert len(after) == len(before) + {"1.1.0": 2, "1.3.0": 2, "1.9.0": 0}.get(version, 1)
    assert changed(repository, f"{version}^", version, "--diff-filter=MD").isdisjoint(before)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_is_that_of_the_newest_migration(repository: Path, version: str) -> None:
    schema = git(repository, "show", f"{version}:db/schema.rb")
    defined = re.search(r"define\(version: ([0-9_]+)\)", schema)
    assert defined
    assert Path(migrations(repository, version)[-1]).name.startswith(defined[1].replace("_", ""))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_changelog_begins_with_the_release(repository: Path, version: str) -> None:
    headings = re.findall(r"^## \[(.+?)\]", git(repository, "show", f"{version}:CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == version
    assert headings == sorted(headings, reverse=True)


def test_programs_can_be_run(repository: Path) -> None:
    modes = {line.split()[0] for line in git(repository, "ls-tree", "1.0.0", "bin/").splitlines()}
    assert modes == {"100755"}


def test_two_runs_give_the_same_ids(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    compose_repository.main([str(tmp_path)])
    assert git(tmp_path, "show-ref", "--tags") == git(repository, "show-ref", "--tags")
    assert not git(tmp_path, "status", "--porcelain")
    assert (tmp_path / "compose.yml").is_file()
    assert capsys.readouterr() == ("", "")


def refused(destination: Path) -> str:
    script = str(compose_repository.HERE / "compose_repository.py")
    done = subprocess.run([sys.executable, script, str(destination)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_a_directory_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert refused(tmp_path) == f"compose_repository: {tmp_path} is not an empty directory: name another one\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert "is not an empty directory" in refused(tmp_path / "mine")


def test_a_place_where_nothing_can_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert refused(tmp_path / "mine" / "below").startswith("compose_repository: git clone: fatal: ")
