from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _integrity as integrity
from ansible_collections.slipway.release.plugins.module_utils._certificate import Certificate
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import Application

pytestmark = pytest.mark.promise("R4")


class Database:
    def __init__(self) -> None:
        self.broken = 0
        self.failures = 0
        self.refusal: CommandError | None = None
        self.pages: str | None = None
        self.counters = {"public.tasks": [0, 0, 0]}
        self.count = 9

    def tables(self) -> int:
        return self.count

    def check_pages(self, _timeout: float) -> str | None:
        return self.pages

    def query(self, sql: str) -> list[list[str]]:
        if "checksum_failures" in sql:
            return [[str(self.failures)]]
        if "pg_stat_user_tables" in sql:
            return [[name, *map(str, counts)] for name, counts in self.counters.items()]
        assert "default_transaction_read_only = on" in sql
        assert "FROM (SELECT id FROM orphans) AS broken" in sql
        if self.refusal is not None:
            raise self.refusal
        return [[str(self.broken)]]


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def site(application: Application, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    monkeypatch.setattr(Site, "database", database)
    for name in ("storage/a/one", "storage/a/two", "storage/b/three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    invariant = {"name": "no orphan", "sql": "SELECT id FROM orphans; "}
    given = application.profile(invariants=[invariant], directory=str(tmp_path), uploads=["storage"])
    return Site(Profile.parse(given))


def test_an_invariant_that_breaks_is_data_lost(site: Site, database: Database) -> None:
    before = integrity.baseline(site)
    assert [item.ok for item in integrity.look(site, before)] == [True, True, True]
    database.broken, database.failures = 3, 1
    seen = integrity.look(site, before)
    assert [item.ok for item in seen] == [False, False, True]
    assert [item.detail for item in seen][:2] == ["3 rows break it", "1 pages failed their checksum"]


def test_an_empty_database_breaks_no_invariant(site: Site, database: Database) -> None:
    database.count, database.refusal = 0, CommandError(["psql"], 3, 'ERROR:  relation "orphans" does not exist')
    assert integrity.baseline(site)["broken"] == {}


def test_an_invariant_that_cannot_be_asked_is_named_before_anything_changes(site: Site, database: Database) -> None:
    output = 'ERROR:  relation "orphans" does not exist\nLINE 1: SELECT\n   ^'
    database.refusal = CommandError(["psql"], 3, output)
    with pytest.raises(SlipwayError, match=r"invariant 'no orphan' cannot be asked \(ERROR: .*mend application.invar"):
        integrity.baseline(site)


def test_what_was_broken_before_is_not_the_release_s_doing(site: Site, database: Database) -> None:
    database.broken, database.failures = 3, 1
    before = integrity.baseline(site)
    seen = integrity.look(site, before)
    assert [item.ok for item in seen] == [True, True, True]
    assert seen[0].detail == "3 rows break it, 3 did before the release"
    database.broken = 4
    assert integrity.look(site, before)[0].ok is False


def test_an_invariant_that_cannot_be_asked_is_no_evidence(site: Site, database: Database) -> None:
    database.refusal = CommandError(["psql"], 3, 'ERROR:  relation "orphans" does not exist')
    seen = integrity.look(site, {})[0]
    assert seen.ok is None
    assert 'relation "orphans" does not exist' in seen.detail


def writing(**tables: list[int]) -> Certificate:
    return Certificate("1.1.0", "a", "b", "now", ["1"], writes=tables)


@pytest.mark.parametrize(
    "written, predicted, ok",
    [
        ([900, 0, 0], [0, 0, 0], True),  # new rows are customers at work
        ([0, 20000, 0], [0, 20000, 0], True),
        ([0, 20050, 3], [0, 20000, 0], True),  # customers were at work meanwhile
        ([0, 0, 5000], [0, 0, 0], False),
        ([0, 19000, 0], [0, 200, 0], False),
    ],
)
def test_a_migration_that_does_far_more_than_in_the_rehearsal_is_told(
    site: Site, database: Database, written: list[int], predicted: list[int], *, ok: bool
) -> None:
    before = {**integrity.baseline(site), "at": time.time() - 60}
    database.counters = {"public.tasks": written}
    certificate = writing(**{"public.tasks": predicted})
    seen = integrity.judge_writes(site, before, (time.time(), before["writes"]), certificate)
    assert [item.ok for item in seen] == [ok]


@pytest.mark.parametrize("updated, ok", [(700, True), (900, False)])
def test_rows_that_came_in_since_the_rehearsal_are_migrated_like_those_in_it(
    site: Site, database: Database, updated: int, *, ok: bool
) -> None:
    before = {**integrity.baseline(site), "at": time.time() - 60}
    begun = time.time(), {"public.tasks": [200, 0, 0]}
    database.counters = {"public.tasks": [200, updated, 0]}
    certificate = replace(writing(**{"public.tasks": [0, 400, 0]}), rows={"public.tasks": 400})
    assert [item.ok for item in integrity.judge_writes(site, before, begun, certificate)] == [ok]


def test_a_busy_table_may_be_written_to_at_its_usual_rate(site: Site, database: Database) -> None:
    before = {**integrity.baseline(site), "at": time.time() - 60}
    begun = time.time() - 10, {"public.tasks": [0, 6000, 0]}
    quiet = writing(schema_migrations=[1, 0, 0])
    database.counters = {"public.tasks": [0, 8000, 0]}
    assert [item.ok for item in integrity.judge_writes(site, before, begun, quiet)] == [True]
    database.counters = {"public.tasks": [0, 10000, 0]}
    assert [item.ok for item in integrity.judge_writes(site, before, begun, quiet)] == [False]


def test_without_a_rehearsal_there_is_nothing_to_compare_with(site: Site, database: Database) -> None:
    before, begun = integrity.baseline(site), (0.0, {"public.tasks": [0, 0, 0]})
    database.counters = {"public.tasks": [0, 9000, 9000]}
    assert integrity.judge_writes(site, before, begun, None) == []
    assert integrity.judge_writes(site, before, begun, writing()) == []


def test_an_upload_that_changed_is_data_lost_and_one_that_a_user_deleted_is_not(site: Site, tmp_path: Path) -> None:
    before = integrity.baseline(site)
    assert set(before["uploads"]) == {"storage/a/one", "storage/a/two", "storage/b/three"}
    (tmp_path / "storage/a/one").unlink()
    seen = integrity.look(site, before)[-1]
    assert (seen.subject, seen.ok, seen.detail) == ("uploads", True, "3 looked at, 1 gone")
    (tmp_path / "storage/a/two").write_text("other")
    seen = integrity.look(site, before)[-1]
    assert (seen.ok, seen.detail) == (False, "3 looked at, 1 gone, 1 changed: storage/a/two")


def strange(storage: Path, outside: Path) -> None:
    """What an application, or whoever is inside it, may put among its uploads."""
    os.mkfifo(storage / "pipe")
    os.mknod(storage / "socket", stat.S_IFSOCK | 0o600)
    (storage / "endless").symlink_to("/dev/zero")
    (storage / "itself").symlink_to("itself")
    (storage / "elsewhere").symlink_to(outside)
    (storage / "file of the host").symlink_to(outside / "secret")


@pytest.mark.timeout(30)
def test_what_is_no_plain_file_among_the_uploads_is_neither_waited_for_nor_read(site: Site, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("of the host")
    strange(tmp_path / "storage", tmp_path / "host")
    before = integrity.baseline(site)
    assert set(before["uploads"]) == {"storage/a/one", "storage/a/two", "storage/b/three"}
    assert integrity.look(site, before)[-1].detail == "3 looked at, 0 gone"


def test_what_is_no_plain_file_takes_no_place_in_the_sample(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "_SAMPLE", 3)
    for number in range(50):
        (tmp_path / f"storage/a/{number}").symlink_to("one")
    assert len(integrity.baseline(site)["uploads"]) == 3


@pytest.mark.timeout(30)
def test_an_upload_in_whose_place_something_else_is_counts_as_gone(site: Site, tmp_path: Path) -> None:
    before, storage = integrity.baseline(site), tmp_path / "storage"
    (storage / "a/one").unlink()
    os.mkfifo(storage / "a/one")
    (storage / "b").rename(tmp_path / "host")
    (storage / "b").symlink_to(tmp_path / "host")
    seen = integrity.look(site, before)[-1]
    assert (seen.ok, seen.detail) == (False, "3 looked at, 2 gone")


def test_uploads_may_lie_behind_a_link_and_inside_each_other(site: Site, tmp_path: Path) -> None:
    (tmp_path / "storage").rename(tmp_path / "mounted")
    (tmp_path / "storage").symlink_to("mounted")
    site.profile = replace(site.profile, uploads=("storage", "storage/a"))
    before = integrity.baseline(site)
    assert set(before["uploads"]) == {"storage/a/one", "storage/a/two", "storage/b/three"}
    assert integrity.look(site, before)[-1].ok


def test_when_most_uploads_are_gone_nobody_deleted_them(site: Site, tmp_path: Path) -> None:
    before = integrity.baseline(site)
    (tmp_path / "storage").rename(tmp_path / "lost")
    assert integrity.look(site, before)[-1].ok is False


@pytest.mark.parametrize(
    "pages, seen",
    [(None, []), ("", [(True, "all is sound")]), ("heap table is corrupt", [(False, "heap table is corrupt")])],
)
def test_pages_are_read_where_the_extension_is(
    site: Site, database: Database, pages: str | None, seen: list[tuple[bool, str]]
) -> None:
    before = integrity.baseline(site)
    database.pages = pages
    assert [(item.ok, item.detail) for item in integrity.check_pages(site, before)] == seen
    # what was so before is not the release's doing
    assert all(item.ok for item in integrity.check_pages(site, integrity.baseline(site)))
