from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _plan_rollback
from ansible_collections.slipway.release.plugins.module_utils._certificate import CODE, DOWN, RESTORE, Certificate
from ansible_collections.slipway.release.plugins.module_utils._engine import Step
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    RESTORED,
    Before,
    Candidate,
    Ledger,
    Release,
    Run,
    State,
)
from ansible_collections.slipway.release.plugins.module_utils._plan_rollback import (
    AUTO,
    BACK,
    KEEP,
    _WayBack,
    died_early,
    migrations_to_undo,
    rollback,
    rollback_commands,
    way_back,
)
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("M4")

VERSIONS = st.lists(st.integers(1, 12).map(lambda number: str(20260000000000 + number)), unique=True)


def release(migrations: list[str]) -> Release:
    return Release("1.2.0", "a" * 40, {}, {}, migrations)


def test_the_newest_on_top_are_rolled_back_by_a_computed_step() -> None:
    applied = ["1", "2", "3", "4"]
    undo = migrations_to_undo(applied, ["1", "2"])
    assert undo == ["4", "3"]
    assert rollback_commands(release(applied), applied, undo) == [["bin/rails", "db:rollback", "STEP=2"]]


def test_a_migration_that_failed_is_not_counted() -> None:
    # 4 is in the files and was never applied: walking down from 3 undoes 3 alone
    assert rollback_commands(release(["1", "2", "3", "4"]), ["1", "2", "3"], ["3"]) == [
        ["bin/rails", "db:rollback", "STEP=1"]
    ]


def test_a_migration_that_came_in_between_is_taken_down_by_its_version() -> None:
    # 2 is new and older than 3, which was there before: STEP=1 would undo 3
    assert rollback_commands(release(["1", "2", "3"]), ["1", "2", "3"], ["2"]) == [
        ["bin/rails", "db:migrate:down", "VERSION=2"]
    ]


class Rails:
    """The rules by which Rails takes migrations down, over one release's own files; a kill leaves the first of them."""

    def __init__(self, applied: set[str], files: list[str]) -> None:
        self.applied = applied
        self.files = files

    def run(self, command: list[str], killed_after: int | None = None) -> bool:
        """Carry a command out as far as a kill lets it; False where Rails itself raises, with nothing done."""
        name, value = command[1], command[2].partition("=")[2]
        if name == "db:migrate:down":
            found = value in self.files
            down = [value] if found else []
        else:
            newest_first = sorted(self.files, key=int, reverse=True)
            current = max(self.applied, key=int)
            found = current in newest_first
            start = newest_first.index(current) if found else 0
            down = [version for version in newest_first[start : start + int(value)] if version in self.applied]
        if found:
            self.applied -= set(down[:killed_after])
        return found


@settings(deadline=None)
@given(data=st.data(), before=VERSIONS, new=VERSIONS, foreign=VERSIONS, gone=VERSIONS)
def test_carrying_the_commands_out_leaves_exactly_the_set_before_however_often_they_are_killed(
    data: st.DataObject, before: list[str], new: list[str], foreign: list[str], gone: list[str]
) -> None:
    """`foreign` were applied by somebody else since, `gone` have no file in the release any more."""
    applied = {*before, *new, *foreign}
    files = [version for version in {*before, *new} if version not in gone]
    rails = Rails(applied, files)
    possible = rails.applied - set(before) <= set(files)
    while undo := migrations_to_undo(sorted(rails.applied, key=int), before):
        assert undo == sorted(rails.applied - set(before), key=int, reverse=True)
        for command in rollback_commands(release(files), sorted(rails.applied, key=int), undo):
            killed_after = data.draw(st.none() | st.integers(1, 2))
            done = rails.run(command, killed_after)
            assert set(before) <= rails.applied
            if not done:
                # the only reason that there may be; the backup comes next
                assert not possible
                return
            if killed_after is not None:
                break
    assert rails.applied == set(before)


def after(current: str | None, verb: str, about: str | None, candidate: Candidate | None = None) -> State:
    return State(1, current, candidate, Run("r1", 1, verb, "anna@controller", "now", 0.0, about))


@pytest.mark.parametrize(
    "state, early",
    [
        (after("1.0.0", "deploy", "1.1.0"), True),
        (after("1.0.0", "deploy", "1.1.0", Candidate("1.1.0", "staged", Before("1.0.0", [], None))), False),
        # a rollback that was killed after its last step goes no further
        (after("1.0.0", "rollback", "1.1.0"), True),
        (after("1.1.0", "rollback", "1.1.0"), False),
        (after("1.1.0", "backup", None), False),
        (State(1, "1.1.0"), False),
    ],
)
def test_a_run_that_has_nothing_to_take_back_takes_nothing_else_back(state: State, *, early: bool) -> None:
    assert died_early(state) is early


def test_what_was_accepted_has_no_way_back(tmp_path: Path) -> None:
    site = cast("Site", SimpleNamespace(ledger=Ledger(tmp_path / "ledger")))
    with site.ledger.locked():
        site.ledger.save_release(Release("1.1.0", "a" * 40, {}, {}, []))
        site.ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))
        site.ledger.enter("switched")
        site.ledger.update(current="1.1.0", candidate=None)
        assert way_back(site, site.ledger.state())[0] == "1.1.0"
        site.ledger.accept("anna@controller")
        # what is put back under it leaves it what it is
        for history in (site.ledger.state().history, site.ledger.event("1.1.0", RESTORED, backup="b1")):
            site.ledger.update(history=history)
            with pytest.raises(SlipwayError, match=r"no way back from 1\.1\.0: anna@controller accepted it at"):
                way_back(site, site.ledger.state())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """1.1.0 with one migration stands, 1.0.0 was before it."""
    ledger = Ledger(tmp_path)
    with ledger.locked():
        ledger.save_release(replace(release(["1", "2"]), version="1.1.0"))
        ledger.update(candidate=Candidate("1.1.0", "staged", Before("1.0.0", [], None)))
        ledger.enter("backed_up", migrations=["1"], schema="s", backup="b1")
        ledger.update(candidate=None, current="1.1.0")
    database = SimpleNamespace(migrations=lambda: ["1", "2"])
    return cast("Site", SimpleNamespace(ledger=ledger, database=database))


def rehearsed(site: Site, **found: Any) -> None:  # noqa: ANN401 - plain data
    site.ledger.save_certificate(Certificate("1.1.0", "a" * 40, "b1", "now", ["2"], **found))


def road(site: Site, schema: str, *, reopened: bool = False) -> str:
    way = _WayBack(site, "r1-rollback", 60, schema=schema)
    if reopened:
        with site.ledger.locked():
            way.reopen()
        way = _WayBack(site, "r1-rollback", 60, schema=schema)
    return way.road


@pytest.mark.parametrize("schema, expected", [(AUTO, CODE), (KEEP, CODE), (BACK, DOWN)])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_release_that_stood_leaves_its_schema_where_that_was_rehearsed(
    site: Site, schema: str, expected: str, *, reopened: bool
) -> None:
    """Also when the rollback was killed after the release was named."""
    rehearsed(site, old_code_wrong=[])
    assert road(site, schema, reopened=reopened) == expected


@pytest.mark.parametrize("schema, expected", [(AUTO, DOWN), (KEEP, CODE), (BACK, DOWN)])
def test_a_release_on_its_way_in_leaves_no_trace(site: Site, schema: str, expected: str) -> None:
    rehearsed(site, old_code_wrong=[])
    with site.ledger.locked():
        site.ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", ["1"], "s", "b1")), current="1.0.0")
    assert road(site, schema) == expected


@pytest.mark.parametrize(
    "found, expected",
    [
        ({"side_by_side_wrong": [], "old_code_wrong": ["/agents: 500"]}, DOWN),
        ({"old_code_wrong": [], "destroyed": ["a column is gone"], "down_wrong": ["it raises"]}, RESTORE),
        ({"old_code_wrong": [], "down_wrong": ["it raises"]}, CODE),
        ({"old_code_wrong": None, "down_wrong": ["it raises"]}, RESTORE),
    ],
)
def test_nothing_is_left_that_was_not_seen_to_work(site: Site, found: dict[str, Any], expected: str) -> None:
    rehearsed(site, **found)
    assert road(site, AUTO) == expected


def test_other_migrations_than_those_rehearsed_are_taken_down(site: Site) -> None:
    assert road(site, AUTO) == DOWN
    site.ledger.save_certificate(Certificate("1.1.0", "a" * 40, "b1", "now", ["2", "3"], old_code_wrong=[]))
    assert road(site, AUTO) == DOWN


def test_a_part_of_migrations_that_destroy_values_is_put_back_by_the_backup(site: Site) -> None:
    """Taking down those that were applied may succeed, and leave columns empty."""
    known = Certificate("1.1.0", "a" * 40, "b1", "now", ["2", "3"], old_code_wrong=[], down_wrong=["a value is gone"])
    site.ledger.save_certificate(replace(known, destroyed=["column t.c is gone with its values"]))
    assert road(site, AUTO) == RESTORE
    # what only fails is tried, and the backup comes next
    site.ledger.save_certificate(known)
    assert road(site, AUTO) == DOWN
    # others than these are nobody's guess, and what stood here before is no part of them
    for migrations in (["3"], ["1", "2"]):
        site.ledger.save_certificate(replace(known, migrations=migrations, destroyed=["column t.c is gone"]))
        assert road(site, AUTO) == DOWN


@pytest.mark.parametrize("schema, expected", [(BACK, [False, True, False]), (AUTO, [True, True, True])])
def test_a_preview_names_the_backup_only_where_it_is_what_comes(
    site: Site, schema: str, expected: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed(site, old_code_wrong=[])
    way = _WayBack(site, "r1-rollback", 60, schema=schema)
    monkeypatch.setattr(way, "_undo", lambda *_: "it raises")
    monkeypatch.setattr(_plan_rollback, "start_database", lambda *_: Step("", lambda: True, lambda: None))
    monkeypatch.setattr(_plan_rollback, "end_leftovers", lambda *_: Step("", lambda: True, lambda: None))
    cast("Any", site).at_rest = nullcontext
    before = [way.undone(), way.needs_no_backup()]
    way.undo_migrations()
    assert [*before, way.needs_no_backup()] == expected


SEVERAL = (
    "bin/rails aborted!\nYou're using a multiple database application. To use `db:rollback` you must run the "
    "namespaced task with a VERSION. Available tasks are db:rollback:primary and db:rollback:queue.\n"
)


def test_of_several_databases_the_first_is_the_one_that_is_taken_down(site: Site) -> None:
    asked: list[tuple[str, ...]] = []

    def rails(_compose: object, *command: str, timeout: float) -> tuple[int, str]:
        del timeout
        asked.append(command)
        return (0, "") if command[1].endswith(":primary") else (1, SEVERAL)

    cast("Any", site).rails = rails
    cast("Any", site).compose_of = lambda _release: None
    cast("Any", site).log = lambda *_about: "/log"
    way = _WayBack(site, "r1-rollback", 60, schema=BACK)
    assert way.undo_migrations() == {"undone": ["2"]}
    assert asked == [("bin/rails", "db:rollback", "STEP=1"), ("bin/rails", "db:rollback:primary", "STEP=1")]


@pytest.mark.parametrize("schema, kept", [(AUTO, ["2"]), (BACK, None)])
def test_the_ledger_says_which_migrations_stayed(site: Site, schema: str, kept: list[str] | None) -> None:
    rehearsed(site, old_code_wrong=[])
    applied = ["1", "2"] if kept else ["1"]
    site.ledger.save_release(replace(release(["1"]), version="1.0.0"))
    site.runs = lambda _release, **_options: []  # type: ignore[method-assign]  # all of it runs
    site.database.migrations = lambda: applied  # type: ignore[method-assign]  # it was undone, or not
    with site.ledger.locked():
        way = _WayBack(site, "r1-rollback", 60, schema=schema)
        way.reopen()
        way.new = None
        assert way.verify() == []
    assert site.ledger.state().history[-1].get("kept_migrations") == kept
    assert site.ledger.kept_under("1.0.0") == set(kept or ())


UNDO, START, END = "db:rollback", "started", "what Docker was lost under is ended"


@pytest.mark.parametrize(
    "answers, comes_back, done, calls",
    [
        (False, True, {"undone": ["2"]}, [UNDO, START, END, UNDO]),
        (False, False, {"undo_failed": "it failed (all of it: a log)"}, [UNDO, START, END, UNDO]),
        # migrations that cannot be undone are not tried twice
        (True, False, {"undo_failed": "it failed (all of it: a log)"}, [UNDO, END]),
    ],
)
def test_a_database_that_went_away_while_migrations_were_undone_is_started_and_they_are_undone_then(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    *,
    answers: bool,
    comes_back: bool,
    done: dict[str, Any],
    calls: list[str],
) -> None:
    applied, seen = ["1", "2"], list[str]()

    def rails(_compose: object, _rails: str, command: str, _step: str, *, timeout: float) -> tuple[int, str]:
        assert timeout == 60
        seen.append(command)
        if not comes_back or len(seen) == 1:
            return 1, "it failed"
        applied.remove("2")
        return 0, ""

    step = Step("start the database", lambda: answers, lambda: seen.append(START))
    left = Step("end what a killed call left", lambda: False, lambda: seen.append(END))
    monkeypatch.setattr(_plan_rollback, "start_database", lambda _site, _version: step)
    monkeypatch.setattr(_plan_rollback, "end_leftovers", lambda _site: left)
    monkeypatch.setattr(_plan_rollback, "migration_reason", lambda printed: printed)
    monkeypatch.setattr(site, "database", SimpleNamespace(migrations=lambda: list(applied)))
    for name, value in {"rails": rails, "compose_of": id, "log": lambda *_: "a log", "at_rest": nullcontext}.items():
        monkeypatch.setattr(site, name, value, raising=False)
    with site.ledger.locked():
        site.ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", ["1"], "s", "b1")), current="1.0.0")
    assert _WayBack(site, "r1-rollback", 60, schema=BACK).undo_migrations() == done
    assert seen == calls


def test_a_release_whose_images_were_removed_is_none_to_go_back_to(site: Site) -> None:
    images = {"web": "sha256:w", "worker": "sha256:k", "proxy": "sha256:p"}
    site.ledger.save_release(replace(release(["1"]), version="1.0.0", images=images))
    here = {"sha256:w": None, "sha256:k": "sha256:k", "sha256:p": None}
    cast("Any", site).docker = SimpleNamespace(image_ids=lambda asked: {name: here[name] for name in asked})
    gone = r"^the image of web, proxy of release 1\.0\.0 is not on this host any more: load it again$"
    with pytest.raises(SlipwayError, match=gone):
        rollback(site, "r1-rollback", 60)
    assert site.ledger.state().candidate is None, "nothing was begun"


def test_migrations_that_cannot_be_undone_without_a_backup_stop_nothing(site: Site) -> None:
    cast("Any", site).code = unheard_of
    with site.ledger.locked():
        before = Before("1.0.0", ["1"], "s", None)
        site.ledger.update(candidate=Candidate("1.1.0", "switched", before), current="1.0.0")
        with pytest.raises(SlipwayError, match=r"^the migrations of 1\.1\.0 cannot be undone and there is no backup"):
            _WayBack(site, "r1-rollback", 60, schema=BACK).restore()


def unheard_of() -> None:
    raise AssertionError


@pytest.mark.promise("R6")
@pytest.mark.parametrize(
    "parks, told",
    [
        (lambda: 2, {"parked_jobs": 2}),
        (lambda: 0, {}),
        (lambda: raising("no container of redis is running"), {"not_parked": "no container of redis is running"}),
    ],
)
def test_jobs_that_cannot_be_parked_do_not_keep_anybody_from_going_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, parks: Callable[[], int], told: dict[str, Any]
) -> None:
    asked: list[tuple[str, str]] = []

    def park(_site: object, newer: str, older: str) -> int:
        asked.append((newer, older))
        return parks()

    site.ledger.save_release(replace(release(["1"]), version="1.0.0", commit="b" * 40))
    monkeypatch.setattr(_plan_rollback, "park", park)
    assert _WayBack(site, "r1-rollback", 60, schema=AUTO).park_jobs() == told
    assert asked == [("a" * 40, "b" * 40)]


def raising(reason: str) -> int:
    raise SlipwayError(reason)
