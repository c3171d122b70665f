from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._engine import carry_out, preview
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    Before,
    Candidate,
    Ledger,
    Release,
    Restoring,
)
from ansible_collections.slipway.release.plugins.module_utils._manifest import write_manifest
from ansible_collections.slipway.release.plugins.module_utils._prune import DAY, Policy, listing, prune
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("M1")

NOW = 1_795_421_000.0


def moment(days: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - days * DAY))


def make(root: Path, ages: list[float]) -> Site:
    """A site whose backups b0, b1, ... are so many days old."""
    ledger = Ledger(root / "ledger", lambda: NOW)
    with ledger.locked():
        pass
    site = cast("Site", SimpleNamespace(ledger=ledger, backups=ledger.root / "backups", at_rest=nullcontext))
    for number, age in enumerate(ages):
        place = site.backups / f"b{number}"
        place.mkdir()
        write_manifest(place, {"id": place.name, "created": moment(age), "release": "1.0.0", "reason": "asked for"}, {})
    return site


def removed(site: Site, policy: Policy) -> list[str]:
    with site.ledger.locked():
        return [name.rpartition(" ")[2] for name in carry_out(site, prune(site, policy)).changed]


def left(site: Site) -> list[str]:
    return sorted(path.name for path in site.backups.iterdir() if not path.name.startswith("."))


def test_a_backup_goes_when_neither_count_nor_age_keeps_it(tmp_path: Path) -> None:
    site = make(tmp_path, [0, 1, 2, 31, 40, 50])
    assert [item.kept for item in listing(site, Policy(2, 30))] == [
        "the newest",
        "one of the 2 newest",
        "younger than 30 days",
        None,
        None,
        None,
    ]
    assert removed(site, Policy(2, 30)) == ["b3", "b4", "b5"]
    assert left(site) == ["b0", "b1", "b2"]
    assert removed(site, Policy(2, 30)) == []


def test_what_a_rollback_or_a_restore_needs_stays_however_old(tmp_path: Path) -> None:
    site = make(tmp_path, [1, 40, 50, 60, 70, 80])
    with site.ledger.locked():
        site.ledger.save_release(Release("1.1.0", "a" * 40, {}, {}, []))
        site.ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "staged", Before("1.0.0", [], None)))
        site.ledger.enter("backed_up", backup="b4")
        site.ledger.update(current="1.1.0", candidate=Candidate("1.2.0", "staged", Before("1.1.0", [], None, "b5")))
        site.ledger.update(restoring=Restoring("b2", "b3", "t", uploads=False))
    assert removed(site, Policy(0, 0)) == ["b1"]
    assert left(site) == ["b0", "b2", "b3", "b4", "b5"]


@settings(max_examples=25)
@given(
    ages=st.lists(st.floats(0, 400), min_size=1, max_size=6),
    keep=st.integers(0, 7),
    days=st.integers(0, 400),
)
def test_the_newest_always_stays(
    tmp_path_factory: pytest.TempPathFactory, ages: list[float], keep: int, days: int
) -> None:
    site = make(tmp_path_factory.mktemp("site"), ages)
    removed(site, Policy(keep, days))
    kept = left(site)
    assert len(kept) >= min(max(keep, 1), len(ages))
    assert all(ages[int(name[1:])] >= days for name in {f"b{n}" for n in range(len(ages))} - set(kept))


def test_leftovers_of_killed_runs_go_and_damaged_backups_stay_for_people(tmp_path: Path) -> None:
    site = make(tmp_path, [0])
    (site.backups / ".partial/half/database").mkdir(parents=True)
    (site.ledger.root / "exports").mkdir()
    (site.ledger.root / "exports/b0.tar.age").touch()
    (site.backups / "damaged").mkdir()
    (site.backups / "damaged/manifest.json").write_text("{")
    (site.backups / "bare").mkdir()
    assert removed(site, Policy(1, 0)) == ["half", "b0.tar.age"]
    assert left(site) == ["b0", "bare", "damaged"]
    told = {item.id: item.kept for item in listing(site, Policy(1, 0))}
    assert "cannot be trusted" in str(told["damaged"])
    assert told["bare"] == "it has no manifest: look at it"


def test_each_backup_that_goes_is_named_in_the_journal_before_it_goes(tmp_path: Path) -> None:
    site = make(tmp_path, [0, 40])
    assert preview(site, prune(site, Policy(1, 30))).changed == ["remove backup b1"]
    assert left(site) == ["b0", "b1"]
    removed(site, Policy(1, 30))
    told = [(entry["step"], entry["event"]) for entry in site.ledger.journal_tail(9)]
    assert told == [("remove backup b1", "begin"), ("remove backup b1", "done")]


def test_killed_on_the_way_no_half_of_a_backup_is_left_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make(tmp_path, [0, 40])

    def killed(_path: Path, **_options: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", lambda path, ignore_errors=False: None if ignore_errors else killed(path))
    with pytest.raises(KeyboardInterrupt):
        removed(site, Policy(1, 30))
    assert left(site) == ["b0"]
    monkeypatch.undo()
    assert removed(site, Policy(1, 30)) == ["b1"]
    assert list((site.backups / ".partial").iterdir()) == []
