"""A restore that is killed anywhere leaves the old database or the new one in place, and a rerun ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _database_restore, _plan_restore
from ansible_collections.slipway.release.plugins.module_utils._database_facts import DatabaseFacts
from ansible_collections.slipway.release.plugins.module_utils._engine import Step, carry_out, preview
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._manifest import write_manifest
from ansible_collections.slipway.release.plugins.module_utils._plan_restore import restore
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._stored import store

pytestmark = pytest.mark.promise("M4")

FACTS = DatabaseFacts("owner", "UTF8", "c", "C.UTF-8", "C.UTF-8", None, None, -1, [], None, ["owner"])
OLD, NEW = "present", "from the backup"


class Killed(BaseException):
    """The process ends here, as SIGKILL ends it."""


class World:
    """A PostgreSQL and an application's containers, which can be killed before or after each thing done to them."""

    name = "app"
    copy_name = "app_restored"

    def __init__(self) -> None:
        self.databases = {"app": OLD}
        self.accepts = {"app": True}
        self.running = ["web", "worker"]
        self.others: list[SimpleNamespace] = []
        self.done: list[str] = []
        self.kill_at = 0
        self.room = True
        self.schemas = {OLD: "s0", NEW: "s1"}

    def act(self, what: str, effect: Callable[[], Any]) -> None:
        """Each thing is two places to be killed at: before it and after it."""
        for moment in ("before", "after"):
            if moment == "after":
                effect()
            self.done.append(f"{moment} {what}")
            if len(self.done) == self.kill_at:
                raise Killed(what)

    # the database

    def kept_name(self, stamp: str) -> str:
        return f"app_kept_{stamp}"

    def exists(self, name: str) -> bool:
        return name in self.databases

    def closed(self) -> bool:
        return self.accepts.get("app") is False

    def open(self) -> None:
        self.act("open", lambda: self.accepts.update(app=True))

    def server_major(self) -> int:
        return 17

    def missing_roles(self, _roles: list[str]) -> list[str]:
        return []

    def check_room(self, _content: int, _dump: int) -> None:
        if not self.room:
            raise SlipwayError("restoring needs 2 MB and /data has 1 MB free: make room there")

    def facts(self) -> DatabaseFacts | None:
        return replace(FACTS, owner="present owner") if "app" in self.databases else None

    def restore(self, _directory: Path, target: str, facts: DatabaseFacts) -> None:
        self.loaded_with = facts
        self.act("load", lambda: self.databases.update({target: NEW}))

    def query(self, _sql: str, *, database: str = "app") -> str:
        return self.databases[database]

    def read_whole(self, sql: str, *, database: str = "app") -> str:
        return self.query(sql, database=database)

    def schema(self, *, database: str = "app", like: str) -> str:
        assert like.startswith("s")
        return self.schemas[self.databases[database]]

    def migrations(self) -> list[str]:
        assert self.accepts["app"]
        return ["1", "2"] if self.databases["app"] == NEW else ["1"]

    def swap(self, restored: str, kept: str) -> None:
        def rename() -> None:
            if "app" in self.databases:
                self.databases[kept] = self.databases.pop("app")
            self.databases["app"] = self.databases.pop(restored)
            self.accepts["app"] = True

        self.act("close", lambda: self.accepts.update(app=False))
        self.act("rename", rename)

    # the containers

    def stop(self) -> None:
        self.act("stop", self.running.clear)

    def restart(self, ids: list[str]) -> None:
        def again() -> None:
            for item in self.others:
                item.started = time.time() if item.id in ids else item.started

        self.act(f"restart {ids}", again)

    def up(self) -> None:
        self.act("up", lambda: self.running.extend(["web", "worker"]))


def write_backup(place: Path, identity: str, sources: dict[str, Path], **changes: Any) -> None:  # noqa: ANN401 - plain data
    content = {
        "id": identity,
        "reason": "asked for",
        "created": "2026-11-23T08:00:00Z",
        "application": "swarm",
        "release": "1.1.0",
        "postgresql": "17.6",
        "migrations": ["1", "2"],
        "database": {**asdict(FACTS), "bytes": 1, "schema": "s1"},
        **changes,
    }
    (place / identity).mkdir()
    files = {}
    for name, source in sources.items():
        (place / identity / name).parent.mkdir(exist_ok=True)
        with source.open("rb") as stream:
            files[name] = store(stream, place / identity / name)
    write_manifest(place / identity, content, files)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def site(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Site:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.locked():
        ledger.save_release(Release("1.1.0", "a" * 40, {}, {}, ["1", "2"]))
        ledger.update(current="1.1.0")
    directory, backups = tmp_path / "app", tmp_path / "ledger/backups"
    (directory / "storage").mkdir(parents=True)
    (directory / "storage/old").write_text("old")
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh/new").write_text("new")
    (tmp_path / "fresh/tool").touch()
    (tmp_path / "fresh/sub").mkdir()
    for name, mode in (("", 0o2775), ("sub", 0o2750), ("tool", 0o4755)):
        (tmp_path / "fresh" / name).chmod(mode)
    subprocess.run(["tar", "-C", str(tmp_path / "fresh"), "-cf", str(tmp_path / "storage.tar"), "."], check=True)
    (tmp_path / "toc").write_text("toc")
    write_backup(backups, "b1", {"database/toc.dat": tmp_path / "toc", "uploads/storage.tar": tmp_path / "storage.tar"})

    def save(_site: Site, identity: str, _reason: str, **_options: bool) -> dict[str, Any]:
        assert world.accepts["app"]
        world.act("save", lambda: write_backup(backups, identity, {}, release="1.1.0", migrations=["1"]))
        return {"backup": identity}

    monkeypatch.setattr(_plan_restore, "take_backup", save)
    looks = SimpleNamespace(
        SAMPLE_ABOVE=1,
        take=lambda query, _limit, like=None: query("what it holds"),  # noqa: ARG005 - its signature
        differences=lambda restored, present: [f"{restored}, {present}"],
    )
    monkeypatch.setattr(_database_restore, "fingerprint", looks)
    again = [Step("answer", lambda: bool(world.running), world.up), Step("hide the page", lambda: True, world.up)]
    monkeypatch.setattr(_plan_restore, "answer_again", lambda _site, _release: again)
    monkeypatch.setattr(_plan_restore, "stop_code", lambda _site, _release, _code: world.stop())
    page = Step("show the page", lambda: True, world.up)
    monkeypatch.setattr(_plan_restore, "show_page", lambda _site, _release, _wanted: page)
    return cast(
        "Site",
        SimpleNamespace(
            profile=SimpleNamespace(name="swarm", uploads=("storage",)),
            at_rest=nullcontext,
            hidden=str,
            directory=directory,
            ledger=ledger,
            backups=backups,
            database=world,
            runner=HostRunner(),
            code_services=["web", "worker"],
            code=lambda: world.running,
            containers=lambda: world.others,
            docker=SimpleNamespace(restart=world.restart),
            runs=lambda _release: [] if world.running else ["no container of web runs"],
        ),
    )


def go(site: Site, identity: str = "r1-before", *, uploads: bool = True) -> dict[str, Any]:
    with site.ledger.locked():
        return carry_out(site, restore(site, "b1", identity, uploads=uploads)).facts


def finished(site: Site, world: World) -> None:
    assert world.databases["app"] == NEW
    assert [name for name, content in world.databases.items() if content == OLD and name.startswith("app_kept_")]
    assert "app_restored" not in world.databases
    assert world.accepts["app"]
    assert world.running == ["web", "worker"]
    assert (site.directory / "storage/new").read_text() == "new"
    kept = [path for path in site.directory.glob("storage_kept_*") if (path / "old").exists()]
    assert len(kept) == 1
    state = site.ledger.state()
    assert state.restoring is None
    assert [event["event"] for event in state.history] == ["restored"]
    assert (site.backups / str(state.history[0]["saved"])).is_dir()


def test_a_restore_puts_database_and_uploads_back_and_keeps_what_was_there(site: Site, world: World) -> None:
    facts = go(site)
    finished(site, world)
    assert facts["saved"] == "r1-before"
    assert facts["kept_database"].startswith("app_kept_")
    assert facts["set_aside"] == [f"{NEW}, {OLD}"]
    assert world.loaded_with.owner == "present owner"
    order = [item for item in world.done if item.startswith("after")]
    assert order == ["after save", "after stop", "after load", "after close", "after rename", "after up"]


@pytest.mark.parametrize("moment", range(1, 13))
def test_killed_anywhere_it_is_the_old_or_the_new_and_a_rerun_ends_it(site: Site, world: World, moment: int) -> None:
    world.kill_at = moment
    with pytest.raises(Killed):
        go(site)
    assert world.databases["app"] in {OLD, NEW}
    assert OLD in world.databases.values()
    assert site.ledger.state().restoring is not None
    go(site, "r2-before")
    finished(site, world)


def test_a_database_that_a_killed_swap_left_closed_is_opened_first(site: Site, world: World) -> None:
    world.accepts["app"] = False
    go(site)
    finished(site, world)


def killed_between_both_renames(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore, and die when the uploads before are out of the way and those of the backup are not in place."""
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == "storage_restored":
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            go(site)


def test_uploads_killed_between_both_renames_are_put_back_by_a_rerun(
    site: Site, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_between_both_renames(site, monkeypatch)
    assert not (site.directory / "storage").exists()
    monkeypatch.setattr(_plan_restore, "take_backup", lambda *_a, **_o: pytest.fail("it was saved already"))
    go(site, "r2-before")
    finished(site, world)


@pytest.mark.parametrize("again", ["empty", "full"])
def test_uploads_that_were_made_anew_in_between_are_not_taken_for_those_of_the_backup(
    site: Site, world: World, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Docker makes an empty directory for a container that mounts it."""
    killed_between_both_renames(site, monkeypatch)
    (site.directory / "storage").mkdir()
    if again == "full":
        (site.directory / "storage/written").touch()
        with pytest.raises(SlipwayError, match=r"storage was made anew while .*storage_restored was to take its place"):
            go(site, "r2-before")
        (site.directory / "storage").rename(site.directory / "elsewhere")
    go(site, "r2-before")
    finished(site, world)


@pytest.mark.parametrize("below", ["storage", "storage/public"])
def test_whoever_else_serves_the_uploads_sees_those_that_were_put_back(site: Site, world: World, below: str) -> None:
    """A mount goes on with the directory that was renamed."""
    for name, bound in (("proxy", below), ("redis", "data"), ("log", "storage_kept")):
        mounted = SimpleNamespace(id=name, name=name, service=name, started=1.0, binds=(str(site.directory / bound),))
        world.others.append(mounted)
    assert go(site)["restarted"] == ["proxy"]
    finished(site, world)
    assert [item for item in world.done if "after restart" in item] == ["after restart ['proxy']"]


def test_uploads_that_are_gone_are_put_back_all_the_same(site: Site, world: World) -> None:
    storage = site.directory / "storage"
    shutil.rmtree(storage)
    world.others.append(SimpleNamespace(id="p", name="proxy", service="proxy", started=1.0, binds=(str(storage),)))
    assert "restore the database" in preview(site, restore(site, "b1", "r1-before", uploads=True)).changed
    go(site)
    assert (storage / "new").read_text() == "new"


def test_a_preview_changes_nothing(site: Site, world: World) -> None:
    outcome = preview(site, restore(site, "b1", "r1-before", uploads=True))
    assert "restore the database" in outcome.changed
    assert "put the uploads of storage back" in outcome.changed
    assert "restart what serves the uploads" not in outcome.changed
    storage = str(site.directory / "storage")
    # whenever it was started: the directory is going to be another
    world.others.append(SimpleNamespace(id="p", service="proxy", started=time.time() + 60, binds=(storage,)))
    assert "restart what serves the uploads" in preview(site, restore(site, "b1", "r1-before", uploads=True)).changed
    assert world.done == []
    assert site.ledger.state().restoring is None


def test_a_database_that_is_gone_is_made_from_the_manifest(site: Site, world: World) -> None:
    world.databases.clear()
    go(site)
    assert world.databases == {"app": NEW}
    assert world.loaded_with.owner == "owner"


def test_a_database_too_damaged_to_be_dumped_is_kept_by_the_swap(
    site: Site, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise CommandError(["pg_dump"], 1, "invalid page in block 7")

    monkeypatch.setattr(_plan_restore, "take_backup", fail)
    assert "invalid page" in go(site)["not_saved"]
    assert OLD in world.databases.values()
    assert site.ledger.state().history[-1]["saved"] is None


def test_a_dump_that_gives_another_schema_is_not_swapped_in(site: Site, world: World) -> None:
    world.schemas[NEW] = "other"
    with pytest.raises(SlipwayError, match="does not give the schema"):
        go(site)
    assert world.databases["app"] == OLD


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"application": "shop"}, "is of the application shop"),
    ({"release": "0.9.0"}, "belongs to release 0.9.0, which this site never had"),
    ({"release": "1.0.0"}, "belongs to release 1.0.0 and 1.1.0 stands here: go back to 1.0.0 first"),
    ({"migrations": ["1"]}, "lacks the migrations 2 of release 1.1.0"),
    ({"migrations": ["1", "2", "3"]}, "has beyond the migrations 3 of release 1.1.0"),
    ({"postgresql": "18.0"}, "comes from PostgreSQL 18, 17 runs here"),
]


@pytest.mark.parametrize("changes, said", REFUSALS)
def test_what_does_not_belong_here_is_refused_and_nothing_is_touched(
    site: Site, world: World, changes: dict[str, Any], said: str
) -> None:
    with site.ledger.locked():
        site.ledger.save_release(Release("1.0.0", "b" * 40, {}, {}, ["1"]))
    write_backup(site.backups, "b2", {}, **changes)
    with pytest.raises(SlipwayError, match=said) as caught:
        restore(site, "b2", "r1-before", uploads=False)
    assert "\n" not in str(caught.value)
    assert world.done == []


@pytest.mark.parametrize("kept, refused", [(["3"], False), (["4"], True), (None, True)])
def test_a_backup_on_the_schema_that_a_rollback_kept_can_be_restored(
    site: Site, kept: list[str] | None, *, refused: bool
) -> None:
    write_backup(site.backups, "b2", {}, migrations=["1", "2", "3"])
    with site.ledger.locked():
        more = {} if kept is None else {"kept_migrations": kept}
        site.ledger.update(history=site.ledger.event("1.2.0", "taken back", to="1.1.0", **more))
    if not refused:
        restore(site, "b2", "r1-before", uploads=False)
        return
    with pytest.raises(SlipwayError, match=r"has beyond the migrations 3 of release 1\.1\.0"):
        restore(site, "b2", "r1-before", uploads=False)


def test_no_room_a_half_done_release_and_missing_uploads_are_refused_first(site: Site, world: World) -> None:
    write_backup(site.backups, "b2", {})
    with pytest.raises(SlipwayError, match="b2 holds no uploads of storage"):
        restore(site, "b2", "r1-before", uploads=True)
    world.room = False
    with pytest.raises(SlipwayError, match="make room there"):
        restore(site, "b1", "r1-before", uploads=False)
    with site.ledger.locked():
        site.ledger.update(candidate=Candidate("1.2.0", "migrating", Before("1.1.0", ["1", "2"], None)))
    with pytest.raises(SlipwayError, match=r"1\.2\.0 was left half done: run playbooks/rollback.yml"):
        restore(site, "b1", "r1-before", uploads=False)
    assert world.done == []


class Raced:
    """A runner of this host; when tar is to unpack, the owner of the parent directory does something first."""

    def __init__(self, before: Callable[[], object], after: Callable[[], object] = lambda: None) -> None:
        self.before, self.after = before, after

    def run(self, argv: list[str], **options: Any) -> Completed:  # noqa: ANN401 - as the runner has it
        if argv[0] == "tar":
            self.before()
        done = HostRunner().run(argv, **options)
        if argv[0] == "tar":
            self.after()
        return done


def replaced(target: Path, outside: Path) -> None:
    """What somebody does who may write in the directory of a `target`."""
    target.rename(target.with_name("theirs"))
    target.symlink_to(outside)


def test_root_unpacks_in_the_directory_that_it_made_whatever_bears_its_name(site: Site, tmp_path: Path) -> None:
    target, outside = site.directory / "storage_restored", tmp_path / "etc"
    outside.mkdir()
    site.runner = cast("Any", Raced(lambda: replaced(target, outside)))
    go(site)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("theirs", ["link", "open", "full"])
def test_a_directory_that_was_replaced_as_it_was_made_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    outside, mkdir = tmp_path / "etc", Path.mkdir
    outside.mkdir()

    def made(self: Path, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as mkdir has it
        mkdir(self, *arguments, **options)
        if self.name == "storage_restored" and theirs == "link":
            replaced(self, outside)
        elif self.name == "storage_restored" and theirs == "open":
            self.chmod(0o777)
        elif self.name == "storage_restored":
            (self / "theirs").touch()

    monkeypatch.setattr(Path, "mkdir", made)
    with pytest.raises(SlipwayError, match=r"Not a directory|storage_restored was replaced as it was made"):
        go(site)
    assert list(outside.iterdir()) == []
    assert not (site.directory / "storage_restored/new").exists()


def test_nobody_enters_uploads_before_they_are_whole_and_then_they_are_as_they_were(site: Site) -> None:
    fresh, modes = site.directory / "storage_restored", list[int]()
    site.runner = cast("Any", Raced(lambda: None, lambda: modes.append(fresh.stat().st_mode & 0o7777)))
    told = go(site)
    assert modes == [0o700]
    storage = site.directory / "storage"
    assert storage.stat().st_mode & 0o7777 == 0o2775
    assert (storage / "sub").stat().st_mode & 0o7777 == 0o2750
    assert (storage / "tool").stat().st_mode & 0o7777 == 0o755
    assert told["not restored of storage"] == "1 device nodes or bits: tool"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who alone may make device nodes")
def test_device_nodes_are_not_put_back(site: Site, tmp_path: Path) -> None:
    device = tarfile.TarInfo("./sub/disk")
    device.type, device.devmajor, device.devminor, device.mode = tarfile.CHRTYPE, 1, 3, 0o666
    with tarfile.open(tmp_path / "storage.tar", "a") as archive:
        archive.addfile(device)
    shutil.rmtree(site.backups / "b1")
    files = {"database/toc.dat": tmp_path / "toc", "uploads/storage.tar": tmp_path / "storage.tar"}
    write_backup(site.backups, "b1", files)
    assert "sub/disk" in go(site)["not restored of storage"]
    assert list((site.directory / "storage/sub").iterdir()) == []
