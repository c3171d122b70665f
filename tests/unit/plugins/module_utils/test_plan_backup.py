from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._plan_backup import check_files, manifest_of
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("M1")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    directory = tmp_path / "b1" / "database"
    directory.mkdir(parents=True)
    (directory / "toc.dat").write_bytes(b"contents")
    (directory / "1.dat.gz").write_bytes(b"rows")
    files = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in directory.iterdir()
    }
    (tmp_path / "b1" / "manifest.json").write_text(json.dumps({"files": files}))
    return cast("Site", SimpleNamespace(backups=tmp_path))


def test_a_whole_backup_has_nothing_wrong(site: Site) -> None:
    assert check_files(site, "b1") == []


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda directory: (directory / "toc.dat").write_bytes(b"Contents"), "SHA-256 differs"),
        (lambda directory: (directory / "toc.dat").write_bytes(b"cont"), "has 4 bytes, not 8"),
        (lambda directory: (directory / "1.dat.gz").unlink(), "is missing"),
        (lambda directory: (directory / "2.dat.gz").write_bytes(b""), "is not in the manifest"),
    ],
)
def test_every_damage_is_named(site: Site, damage: object, said: str) -> None:
    damage(site.backups / "b1" / "database")  # type: ignore[operator]
    wrong = check_files(site, "b1")
    assert len(wrong) == 1
    assert said in wrong[0]


def test_a_backup_that_was_never_finished_is_none(site: Site) -> None:
    assert manifest_of(site, "b2") is None
    assert check_files(site, "b2") == [f"backup b2 is not in {site.backups}"]


def test_a_damaged_manifest_is_said(site: Site) -> None:
    (site.backups / "b1" / "manifest.json").write_text("{")
    with pytest.raises(SlipwayError, match="cannot be trusted"):
        manifest_of(site, "b1")
