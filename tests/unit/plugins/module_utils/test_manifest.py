from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._manifest import (
    check_backup,
    check_files,
    manifest_of,
    write_manifest,
)
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._stored import store

pytestmark = pytest.mark.promise("M1")


class Server:
    """The PostgreSQL that a backup is to be restored into."""

    def __init__(self, major: int = 17, roles: tuple[str, ...] = ("owner",)) -> None:
        self.server_major = lambda: major
        self.roles = roles

    def missing_roles(self, roles: list[str]) -> list[str]:
        return sorted(set(roles) - set(self.roles))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    directory = tmp_path / "b1"
    (directory / "database").mkdir(parents=True)
    (tmp_path / "toc").write_bytes(b"contents")
    files = {}
    for name in ("database/toc.dat", "redis.rdb"):
        with (tmp_path / "toc").open("rb") as stream:
            files[name] = store(stream, directory / name)
    content = {"id": "b1", "postgresql": "17.6", "database": {"roles": ["owner"]}}
    write_manifest(directory, content, files)
    return cast("Site", SimpleNamespace(backups=tmp_path, database=Server()))


def test_a_whole_backup_has_nothing_wrong_and_only_root_may_read_it(site: Site) -> None:
    assert check_files(site, "b1") == []
    assert check_backup(site, "b1") == []
    assert {path.stat().st_mode & 0o777 for path in (site.backups / "b1").rglob("*") if path.is_file()} == {0o600}


Damage = Callable[[Path], Any]


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda place: (place / "database/toc.dat").write_bytes(b"Contents"), "SHA-256 differs"),
        (lambda place: (place / "database/toc.dat").write_bytes(b"cont"), "has 4 bytes, not 8"),
        (lambda place: (place / "redis.rdb").unlink(), "redis.rdb is missing"),
        (lambda place: (place / "database/2.dat.gz").write_bytes(b""), "is not in the manifest"),
        (lambda place: (place / "extra").write_bytes(b""), "extra is not in the manifest"),
        (
            lambda place: (
                (place / "redis.rdb").rename(place.parent / "x")
                and (place / "redis.rdb").symlink_to(place.parent / "x")
            ),
            "is missing",
        ),
    ],
)
def test_every_damage_is_named(site: Site, damage: Damage, said: str) -> None:
    damage(site.backups / "b1")
    wrong = check_files(site, "b1")
    assert len(wrong) == 1
    assert said in wrong[0]


def test_a_backup_that_was_never_finished_is_none(site: Site) -> None:
    assert manifest_of(site, "b2") is None
    assert "backup b2 is not in" in check_files(site, "b2")[0]


def edited(site: Site, **changes: Any) -> None:  # noqa: ANN401 - plain data
    path = site.backups / "b1/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("text", ["", "{", '{"format": 2', "[]", "null"])
def test_a_damaged_manifest_is_refused_in_one_line(site: Site, text: str) -> None:
    (site.backups / "b1/manifest.json").write_text(text)
    with pytest.raises(SlipwayError) as caught:
        manifest_of(site, "b1")
    assert "b1/manifest.json" in str(caught.value)
    assert check_files(site, "b1") == [str(caught.value)]
    assert "\n" not in str(caught.value)


def test_a_manifest_of_a_newer_format_is_refused_by_name(site: Site) -> None:
    edited(site, format=3)
    assert check_files(site, "b1") == [
        f"{site.backups}/b1/manifest.json has format 3, this version reads 2: use the Slipway that wrote it"
    ]


def test_a_manifest_that_somebody_changed_is_refused(site: Site) -> None:
    edited(site, postgresql="16.1")
    assert "is not what was written" in check_files(site, "b1")[0]


@pytest.mark.parametrize(
    "server, said",
    [
        (Server(major=16), "backup b1 comes from PostgreSQL 17, 16 runs here"),
        (Server(roles=()), "backup b1 needs the role owner"),
    ],
)
def test_a_server_that_cannot_take_it_is_named(site: Site, server: Server, said: str) -> None:
    site.database = server  # type: ignore[misc,assignment]
    wrong = check_backup(site, "b1")
    assert len(wrong) == 1
    assert said in wrong[0]


def test_a_newer_server_takes_it(site: Site) -> None:
    site.database = Server(major=18)  # type: ignore[misc,assignment]
    assert check_backup(site, "b1") == []
