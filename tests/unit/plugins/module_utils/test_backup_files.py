from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _backup_files
from ansible_collections.slipway.release.plugins.module_utils._backup_files import (
    save_configuration,
    save_directories,
    save_redis,
    size_of,
    sources,
)
from ansible_collections.slipway.release.plugins.module_utils._compose import Container
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._stored import sha256_of

pytestmark = pytest.mark.promise("M1")

SECRET = "a secret of the cache"


class Runner(HostRunner):
    """Runs tar for real; Docker is a stand-in."""

    def __init__(self, volume: Path, redis: str = "") -> None:
        self.volume = volume
        self.redis = redis
        self.argv: list[list[str]] = []

    def run(self, argv: Any, **_options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        assert argv[:3] == ["docker", "volume", "inspect"]
        return Completed(0 if argv[-1] == "swarm_files" else 1, f"{self.volume}\n", "")

    def stream(self, argv: Any, errors: IO[bytes] | int) -> Any:  # noqa: ANN401 - the same
        self.argv.append(list(argv))
        return super().stream(["sh", "-c", self.redis] if argv[0] == "docker" else argv, errors)


def redis() -> Container:
    environment = {"REDIS_PASSWORD": SECRET}
    return Container(
        "r1", "r1", "redis", "i", "h", "running", None, 0, 0, oneoff=False, command=(), environment=environment
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    for path, text in {
        "app/storage/ab/upload": "uploaded",
        "app/public/files/x": "x",
        "app/.env": "KEY=1\n",
        "app/compose.yml": "services: {}\n",
        "volume/v": "kept",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    profile = SimpleNamespace(
        uploads=("storage", "public/files"),
        volumes=("files",),
        compose_files=("compose.yml", "compose.override.yml"),
        env_file=".env",
        services=SimpleNamespace(cache="redis"),
    )
    return cast(
        "Site",
        SimpleNamespace(
            profile=profile,
            directory=tmp_path / "app",
            runner=Runner(tmp_path / "volume"),
            compose=SimpleNamespace(config={"volumes": {"files": {"name": "swarm_files"}, "gone": {"name": "gone"}}}),
            containers=lambda: [redis()],
        ),
    )


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    place = tmp_path / "b1"
    place.mkdir()
    return place


def test_uploads_and_volumes_become_one_tar_each_hashed_as_it_was_written(site: Site, backup: Path) -> None:
    files, changed = save_directories(site, backup)
    assert changed == {"uploads": {"storage": [], "public/files": []}, "volumes": {"files": []}}
    assert set(files) == {"uploads/storage.tar", "uploads/public%2Ffiles.tar", "volumes/files.tar"}
    for name, file in files.items():
        assert (file.size, file.sha256) == ((backup / name).stat().st_size, sha256_of(backup / name))
        assert (backup / name).stat().st_mode & 0o777 == 0o600
    assert (backup / "uploads").stat().st_mode & 0o777 == 0o700
    with tarfile.open(backup / "uploads/storage.tar") as archive:
        assert archive.getnames() == [".", "./ab", "./ab/upload"]


def test_a_file_that_goes_away_meanwhile_is_told_and_no_failure(
    site: Site, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrinking = tmp_path / "tar"
    shrinking.write_text("#!/bin/sh\necho content\necho 'tar: ./x: File removed before we read it' >&2\nexit 1\n")
    shrinking.chmod(0o755)
    monkeypatch.setattr(site.runner, "stream", lambda _argv, errors: HostRunner().stream([str(shrinking)], errors))
    _files, changed = save_directories(site, backup)
    assert changed["uploads"]["storage"] == ["tar: ./x: File removed before we read it"]


@pytest.mark.timeout(30)
def test_pipes_and_sockets_among_the_uploads_keep_nothing_from_being_saved(site: Site, backup: Path) -> None:
    storage = site.directory / "storage"
    os.mkfifo(storage / "pipe")
    os.mknod(storage / "socket", stat.S_IFSOCK | 0o600)
    (storage / "endless").symlink_to("/dev/zero")
    _files, changed = save_directories(site, backup)
    assert [line for line in changed["uploads"]["storage"] if "socket ignored" not in line] == []
    with tarfile.open(backup / "uploads/storage.tar") as archive:
        kinds = {member.name: member.type for member in archive}
    assert kinds == {
        ".": tarfile.DIRTYPE,
        "./ab": tarfile.DIRTYPE,
        "./ab/upload": tarfile.REGTYPE,
        "./pipe": tarfile.FIFOTYPE,
        "./endless": tarfile.SYMTYPE,
    }
    assert size_of(storage) == len("uploaded") + len("/dev/zero")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"uploads": ("storge",)}, "storge is no directory: mend storge in application.uploads"),
        ({"volumes": ("fils",)}, "has no volume fils: mend application.volumes"),
        ({"volumes": ("gone",)}, "Docker has no volume gone"),
    ],
)
def test_what_is_not_there_is_named(site: Site, change: dict[str, Any], said: str) -> None:
    vars(site.profile).update(change)
    with pytest.raises(SlipwayError, match=said):
        sources(site)


def test_the_configuration_is_copied_for_root_alone(site: Site, backup: Path) -> None:
    assert set(save_configuration(site, backup)) == {"configuration/.env", "configuration/compose.yml"}
    assert (backup / "configuration/.env").stat().st_mode & 0o777 == 0o600
    assert (backup / "configuration").stat().st_mode & 0o777 == 0o700


def test_redis_is_saved_and_its_password_stands_in_no_command_line(site: Site, backup: Path) -> None:
    runner = cast("Runner", site.runner)
    runner.redis = "read user; read password; printf 'REDIS0012%s' \"$password\""
    files, why_not = save_redis(site, backup)
    assert why_not is None
    assert (backup / "redis.rdb").read_bytes() == f"REDIS0012{SECRET}".encode()
    assert files["redis.rdb"].size == 9 + len(SECRET)
    assert SECRET not in str(runner.argv)


@pytest.mark.parametrize("script", ["echo 'NOAUTH Authentication required.' >&2; exit 1", "exit 1"])
def test_a_redis_that_does_not_answer_keeps_nothing_from_being_saved(site: Site, backup: Path, script: str) -> None:
    cast("Runner", site.runner).redis = script
    files, why_not = save_redis(site, backup)
    assert files == {}
    assert why_not is not None
    assert not (backup / "redis.rdb").exists()


def test_a_redis_that_never_ends_is_given_up(site: Site, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backup_files, "REDIS_TIMEOUT", 0.2)
    cast("Runner", site.runner).redis = "exec sleep 30"
    assert save_redis(site, backup)[0] == {}


def test_the_size_of_a_directory_is_that_of_its_files(site: Site) -> None:
    assert size_of(site.directory / "storage") == len("uploaded")
