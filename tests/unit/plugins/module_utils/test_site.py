from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _dotenv
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Release
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile, Site

from tests.unit.plugins.module_utils.host import Host

APPLICATION = {
    "name": "swarm",
    "directory": "/opt/swarm",
    "version_variable": "APP_VERSION",
    "repository": {"url": "/srv/git/swarm.git"},
    "services": {"web": "web", "database": "postgres"},
    "database": {"name": "swarm_production", "user": "swarm_owner"},
    "base_url": "http://127.0.0.1",
}
OWNER = (os.getuid(), os.getgid())
TEXT = "# secrets\nPOSTGRES_PASSWORD='a b'\n\nexport APP_VERSION=1.0.0\nEMPTY=\n"


def test_values_are_read_without_quotes_and_comments(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert EnvFile(path).values() == {}
    path.write_text(TEXT)
    assert EnvFile(path).values() == {"POSTGRES_PASSWORD": "a b", "APP_VERSION": "1.0.0", "EMPTY": ""}


def test_single_keys_change_and_the_rest_stays_as_people_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(TEXT)
    path.chmod(0o640)
    EnvFile(path).assign({"APP_VERSION": "1.1.0", "NEW": "x"}, OWNER)
    assert path.read_text() == TEXT.replace("export APP_VERSION=1.0.0", "APP_VERSION=1.1.0") + "NEW=x\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_no_utf_8_comes_through_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"# Schl\xfcssel\nA=1\nB=\xfc\n")
    assert EnvFile(path).values() == {"A": "1", "B": "\udcfc"}
    EnvFile(path).assign({"A": "2"}, OWNER)
    assert path.read_bytes() == b"# Schl\xfcssel\nA=2\nB=\xfc\n"


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    EnvFile(path).assign({"SECRET": "x"}, OWNER)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_put_back_belongs_to_whom_the_file_did(tmp_path: Path) -> None:
    path, other = tmp_path / ".env", 4711
    path.write_text("A=2\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, other, other)
    before = path.stat()
    EnvFile(path).restore(b"A=1\n", OWNER)
    assert path.read_bytes() == b"A=1\n"
    after = path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_another_file_in_its_place_gives_its_owner_to_nothing_that_it_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, theirs = tmp_path / ".env", tmp_path / "theirs"
    path.write_text("SECRET=x\n")
    path.chmod(0o600)
    theirs.write_text("A=1\n")
    theirs.chmod(0o644)

    def swap(text: str, changes: Mapping[str, str]) -> str:
        theirs.replace(path)
        return changed(text, changes)

    changed = _dotenv.changed
    monkeypatch.setattr(_dotenv, "changed", swap)
    EnvFile(path).assign({"A": "2"}, OWNER)
    assert path.read_text() == "SECRET=x\nA=2\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_pipe_in_its_place_is_no_env_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    assert EnvFile(tmp_path / ".env").values() == {}


class Containers(Host):
    """A host that counts how often somebody looks at its containers, and lets them be changed."""

    def run(self, argv: Sequence[str], **options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        if argv[:2] == ["docker", "stop"]:
            self.containers = [item for item in self.containers if item["Id"] not in argv]
            return Completed(0, "", "")
        return super().run(argv, **options)

    @property
    def looks(self) -> int:
        return sum(argv[1] == "ps" for argv in self.commands)


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, as the site sees it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_questions_that_come_together_are_answered_by_one_look(tmp_path: Path, moment: list[float]) -> None:
    host = Containers()
    site = Site(Profile.parse({**APPLICATION, "state_directory": str(tmp_path)}), runner=host)
    assert len(site.containers("web")) == 2
    assert len(site.containers("postgres")) == 1
    assert host.looks == 1
    # what somebody else does is seen soon
    host.containers = [item for item in host.containers if item["Id"] != "web2"]
    moment[0] += 0.5
    assert len(site.containers("web")) == 1
    assert host.looks == 2


def test_what_was_changed_here_is_looked_at_again_at_once(tmp_path: Path, moment: list[float]) -> None:
    host = Containers()
    site = Site(Profile.parse({**APPLICATION, "state_directory": str(tmp_path)}), runner=host)
    first, second = site.containers("web")
    site.docker.stop([first])
    assert len(site.containers("web")) == 1
    with site.at_rest():
        site.docker.stop([second])
        assert site.containers("web") == []
    assert moment == [100.0]


def test_at_rest_one_look_lasts_as_long_as_the_block_and_is_no_older(tmp_path: Path, moment: list[float]) -> None:
    host = Containers()
    site = Site(Profile.parse({**APPLICATION, "state_directory": str(tmp_path)}), runner=host)
    site.containers()
    moment[0] += 60
    with site.at_rest():
        for _ in range(3):
            site.containers()
            moment[0] += 60
        assert host.looks == 2
    site.containers()
    assert host.looks == 3


class Slow(Containers):
    """A host that takes its time to list containers, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def run(self, argv: Sequence[str], **options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        done = super().run(argv, **options)
        if argv[1] == "ps":
            self.asked.set()
            assert self.go_on.wait(10)
        return done


@pytest.fixture
def slow(tmp_path: Path) -> tuple[Slow, Site]:
    host = Slow()
    return host, Site(Profile.parse({**APPLICATION, "state_directory": str(tmp_path)}), runner=host)


def test_all_who_ask_at_the_same_time_are_answered_by_one_look(slow: tuple[Slow, Site]) -> None:
    host, site = slow
    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(site.containers, "web") for _ in range(6)]
        assert host.asked.wait(10)
        host.go_on.set()
        assert [len(item.result()) for item in asking] == [2] * 6
    assert host.looks == 1


def test_a_look_that_a_change_came_into_is_no_answer_to_who_asks_after_it(slow: tuple[Slow, Site]) -> None:
    host, site = slow
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(site.containers, "web")
        assert host.asked.wait(10)
        host.containers = [item for item in host.containers if item["Id"] != "web2"]
        site.look_again()
        after = pool.submit(site.containers, "web")
        host.go_on.set()
        before.result()
        assert len(after.result()) == 1
    assert host.looks == 2


def test_a_look_that_fails_is_told_to_all_who_wait_for_it_and_to_nobody_later(slow: tuple[Slow, Site]) -> None:
    host, site = slow
    host.go_on.set()
    host.refusal = SlipwayError("no engine")
    with pytest.raises(SlipwayError, match="no engine"):
        site.containers()
    host.refusal = None
    assert len(site.containers("web")) == 2


def test_a_session_that_stays_does_not_keep_the_site_busy_after_the_lock_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # answers as psql does: an \\echo is echoed
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexec sed -nu 's/^.echo //p'\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    site = Site(Profile.parse({**APPLICATION, "state_directory": str(tmp_path / "state")}))
    with site.ledger.locked():
        assert site.runner.psql(["docker", "exec"], "SELECT 1", 10) == ""
        assert site.ledger.busy()
    assert not site.ledger.busy()
    with site.ledger.locked(wait=0):
        pass


def test_a_release_keeps_the_compose_files_and_profiles_that_it_came_in_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the profile says since: the way back makes its containers as they were."""
    changed = {"compose_files": ["compose.yml", "more.yml"], "state_directory": str(tmp_path / "state")}
    host = Host()
    site = Site(Profile.parse({**APPLICATION, **changed, "directory": str(tmp_path)}), runner=host)
    (tmp_path / "compose.yml").touch()
    monkeypatch.setattr(type(site.checkout), "head", lambda _self: "a" * 40)
    monkeypatch.setattr(type(site.checkout), "exists", True)
    standing = Release("1.0.0", "a" * 40, {}, {}, [], compose_files=["compose.yml"], compose_profiles=["monitoring"])
    with site.ledger.locked():
        site.ledger.save_release(standing)
        site.ledger.update(current="1.0.0")
    for compose in (site.compose, site.compose_of(site.ledger.known_release("1.0.0"))):
        assert compose.config["services"]
        asked = host.commands[-1]
        assert asked[asked.index("--profile") + 1] == "monitoring"
        assert asked.count("--file") == 1
    of_old = Release("0.9.0", "a" * 40, {}, {}, [])
    with pytest.raises(SlipwayError, match=r"more\.yml does not exist"):
        _ = site.compose_of(of_old).config
