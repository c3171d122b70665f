"""A backup is one only when what it gives is what the database held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _fingerprint, _verify
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._fingerprint import Fingerprint, Table
from ansible_collections.slipway.release.plugins.module_utils._postgres import Database
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._verify import RESTORED_UP_TO, compare, verify_backup

pytestmark = pytest.mark.promise("M1")

AGENTS = Table(2, {"id": "11", "name": "12"})
HELD = Fingerprint({"public.agents": AGENTS}, {"index agents_pkey": True}, {"public.agents_id_seq": 2})
NOT_HELD = "backup b1 does not hold what the database held: "


def manifest(**database: object) -> dict[str, Any]:
    return {
        "id": "b1",
        "database": {"bytes": 1000, "tables": 1, "schema": "s", **database},
        "fingerprint": HELD.to_dict(),
    }


class Restored:
    """The database that a backup gave, as its `fingerprint` and its `form` show it."""

    name = "swarm_production"

    def __init__(self, fingerprint: Fingerprint = HELD, form: str = "s") -> None:
        self.fingerprint, self.form = fingerprint, form

    def read_whole(self, sql: str, *, database: str) -> list[list[str]]:
        assert (sql, database) == ("SELECT", self.name)
        return [["asked"]]

    def schema(self, *, like: str) -> str:
        assert like == "s"
        return self.form


def holds(restored: Restored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be what is seen of a restored database; it is sampled as the backup was."""

    def take(query: Any, _limit: int, like: Fingerprint) -> Fingerprint:  # noqa: ANN401 - what reaches a database
        assert query("SELECT") == [["asked"]]
        assert like == HELD
        return restored.fingerprint

    monkeypatch.setattr(_fingerprint, "take", take)


@pytest.mark.parametrize(
    "tables, wrong",
    [
        ({"public.agents": AGENTS}, []),
        ({}, ["table public.agents is gone"]),
        ({"public.agents": AGENTS, "public.new": AGENTS}, ["table public.new was added"]),
        ({"public.agents": replace(AGENTS, rows=1)}, ["table public.agents has 1 rows, not 2"]),
        (
            {"public.agents": replace(AGENTS, columns={"id": "11", "name": "13"})},
            ["column public.agents.name has other values"],
        ),
        # three say enough
        (
            {"public.agents": Table(3, {"id": "1", "name": "2", "new": "3"})},
            [
                "table public.agents has 3 rows, not 2",
                "column public.agents.id has other values",
                "column public.agents.name has other values",
            ],
        ),
    ],
)
def test_what_a_backup_does_not_hold_is_named(
    monkeypatch: pytest.MonkeyPatch, tables: dict[str, Table], wrong: list[str]
) -> None:
    restored = Restored(replace(HELD, tables=tables))
    holds(restored, monkeypatch)
    assert compare(cast("Database", restored), manifest()) == [NOT_HELD + line for line in wrong]


def test_a_backup_with_all_rows_and_another_schema_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    restored = Restored(form="another")
    holds(restored, monkeypatch)
    assert compare(cast("Database", restored), manifest()) == [NOT_HELD + "the schema is another"]


class Trial:
    """What a backup is restored into, and what became of it."""

    def __init__(self, database: Restored) -> None:
        self.database = database
        self.breaks: SlipwayError | None = None
        self.loaded: list[Path] = []
        self.removed = 0

    def load(self, directory: Path, about: dict[str, Any]) -> None:
        assert about["id"] == "b1"
        self.loaded.append(directory)
        if self.breaks is not None:
            raise self.breaks

    def remove(self) -> None:
        self.removed += 1


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Trial:
    made = Trial(Restored())
    holds(made.database, monkeypatch)
    monkeypatch.setattr(_verify, "trial_of", lambda _site, _backup: made)
    monkeypatch.setattr(_verify, "Scratch", lambda _site: made)
    monkeypatch.setattr(_verify, "check_backup", lambda _site, _backup: [])
    monkeypatch.setattr(_verify, "manifest_of", lambda _site, _backup: manifest())
    return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return cast("Site", SimpleNamespace(backups=tmp_path))


def test_a_backup_is_restored_and_compared_and_the_copy_goes(site: Site, trial: Trial) -> None:
    assert verify_backup(site, "b1") == []
    trial.database.form = "another"
    assert verify_backup(site, "b1") == [NOT_HELD + "the schema is another"]
    assert trial.loaded == [site.backups / "b1/database"] * 2
    trial.breaks = SlipwayError("pg_restore: it ends in the middle")
    with pytest.raises(SlipwayError, match="it ends in the middle"):
        verify_backup(site, "b1")
    assert trial.removed == 3


def test_one_whose_files_are_damaged_is_not_restored(site: Site, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verify, "check_backup", lambda _site, backup: [f"{backup}/toc.dat is missing"])
    assert verify_backup(site, "b1") == ["b1/toc.dat is missing"]
    assert (trial.loaded, trial.removed) == ([], 0)


@pytest.mark.parametrize("held, wrong", [(9, []), (8, ["backup b1 holds the rows of 8 tables, the database had 9"])])
def test_one_that_is_too_large_to_be_restored_is_read_back_whole(
    site: Site, trial: Trial, monkeypatch: pytest.MonkeyPatch, held: int, wrong: list[str]
) -> None:
    large = manifest(bytes=RESTORED_UP_TO + 1, tables=9)
    monkeypatch.setattr(_verify, "manifest_of", lambda _site, _backup: large)
    read: list[Path] = []

    def read_back(directory: Path) -> int:
        read.append(directory)
        return held

    cast("Any", site).database = SimpleNamespace(read_back=read_back)
    assert verify_backup(site, "b1") == wrong
    assert read == [site.backups / "b1/database"]
    assert trial.loaded == []
