"""A backup that is not whole leaves no trace, and is never noted as the one to go back to."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _plan_backup
from ansible_collections.slipway.release.plugins.module_utils._engine import Step, StepError, carry_out
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._plan_backup import backup, start_database, take_backup
from ansible_collections.slipway.release.plugins.module_utils._stored import StoredFile

pytestmark = pytest.mark.promise("M1")

NEW = Release("1.1.0", "c" * 40, {}, {}, ["1", "2"])
FULL = OSError(28, "No space left on device")
MANIFEST = {"migrations": ["1"], "database": {"schema": "s"}}


@pytest.fixture
def site(tmp_path: Path) -> Any:  # noqa: ANN401 a stand-in
    """1.1.0 is staged, 1.0.0 stands; the database runs."""
    ledger = Ledger(tmp_path)
    with ledger.locked():
        ledger.save_release(NEW)
        ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "staged", Before("1.0.0", [], None)))
    services = SimpleNamespace(database="postgres", cache="redis")
    database = SimpleNamespace(
        query=lambda *_about, **_options: [["1"]], migrations=lambda: ["1"], schema=lambda: "empty", tables=lambda: 1
    )
    return SimpleNamespace(
        ledger=ledger,
        backups=tmp_path / "backups",
        profile=SimpleNamespace(name="swarm", services=services),
        database=database,
        containers=lambda service: [service],
        at_rest=nullcontext,
        hidden=str,
    )


def fills(monkeypatch: pytest.MonkeyPatch, breaks: Exception | None = None) -> None:
    """Let a dump be a file of four bytes, which may be all that there is room for."""

    def fill(_site: object, directory: Path, _about: object, *, database_only: bool) -> dict[str, StoredFile]:
        assert not database_only
        (directory / "database/toc.dat").write_bytes(b"toc.")
        if breaks is not None:
            raise breaks
        return {"database/toc.dat": StoredFile(4, "0")}

    monkeypatch.setattr(_plan_backup, "_fill", fill)


def names(site: Any) -> list[str]:  # noqa: ANN401 a stand-in
    """What lies among the backups, but for directories that are empty."""
    return sorted(str(path.relative_to(site.backups)) for path in site.backups.rglob("*") if path.is_file())


def test_a_backup_has_its_name_when_it_is_whole(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 a stand-in
    # half of an earlier one is not taken for a part of this
    left = site.backups / ".partial/b1/database"
    left.mkdir(parents=True)
    (left / "old.dat").write_bytes(b"old")
    fills(monkeypatch)
    assert take_backup(site, "b1", "asked for") == {"backup": "b1", "bytes": 4}
    assert names(site) == ["b1/database/toc.dat"]


@pytest.mark.parametrize("breaks", [FULL, SlipwayError("the dump breaks off")])
def test_half_a_backup_goes_and_leaves_its_name_free(
    site: Any,  # noqa: ANN401 a stand-in
    monkeypatch: pytest.MonkeyPatch,
    breaks: Exception,
) -> None:
    fills(monkeypatch, breaks)
    with pytest.raises(type(breaks), match=str(breaks.args[-1])):
        take_backup(site, "b1", "asked for")
    assert list((site.backups / ".partial").iterdir()) == []
    assert not (site.backups / "b1").exists()


def test_one_that_cannot_be_made_durable_is_none(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 a stand-in
    def sync(_directory: Path) -> None:
        raise FULL

    fills(monkeypatch)
    monkeypatch.setattr(_plan_backup, "sync_tree", sync)
    with pytest.raises(OSError, match="No space left"):
        take_backup(site, "b1", "asked for")
    assert names(site) == []


def noting(site: Any) -> Step:  # noqa: ANN401 a stand-in
    """The step that notes the backup b1."""
    steps = backup(site, "b1", "1.1.0").steps
    (step,) = [item for item in steps if isinstance(item, Step) and item.name == "check the backup and note the schema"]
    return step


@pytest.mark.parametrize(
    "manifest, before",
    [
        (MANIFEST, Before("1.0.0", ["1"], "s", "b1")),
        # an empty database has nothing to lose
        (None, Before("1.0.0", ["1"], "empty", None)),
    ],
)
def test_what_the_release_replaces_is_noted(
    site: Any,  # noqa: ANN401 a stand-in
    monkeypatch: pytest.MonkeyPatch,
    manifest: dict[str, Any] | None,
    before: Before,
) -> None:
    monkeypatch.setattr(_plan_backup, "manifest_of", lambda _site, _backup: manifest)
    monkeypatch.setattr(_plan_backup, "check_backup", lambda _site, _backup: [])
    with site.ledger.locked():
        noting(site).apply()
    candidate = site.ledger.state().candidate
    assert (candidate.phase, candidate.before) == ("backed_up", before)


def test_a_damaged_backup_stops_the_release_and_is_not_noted(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 a stand-in
    monkeypatch.setattr(_plan_backup, "manifest_of", lambda _site, _backup: MANIFEST)
    monkeypatch.setattr(_plan_backup, "check_backup", lambda _site, _backup: ["toc.dat is missing", "x is strange"])
    with site.ledger.locked(), pytest.raises(StepError) as caught:
        carry_out(site, backup(site, "b1", "1.1.0"))
    assert str(caught.value).endswith("check the backup and note the schema: toc.dat is missing; x is strange")
    (seen,) = caught.value.observations
    assert (seen.probe, seen.ok) == ("backup", False)
    candidate = site.ledger.state().candidate
    assert (candidate.phase, candidate.before.backup) == ("staged", None)


@pytest.mark.parametrize(
    "phase, noted, done",
    [
        ("staged", None, False),
        ("backed_up", "b1", True),
        # what was dumped for another attempt is not what this one replaces
        ("backed_up", "b0", False),
        ("rehearsed", "b0", False),
        # the database is not what was before any more: what was noted then stays
        ("migrating", "b0", True),
        ("switched", "b0", True),
    ],
)
def test_a_backup_is_noted_once_migrations_began(
    site: Any,  # noqa: ANN401 a stand-in
    phase: str,
    noted: str | None,
    *,
    done: bool,
) -> None:
    with site.ledger.locked():
        site.ledger.update(candidate=Candidate("1.1.0", phase, Before("1.0.0", ["1"], "s", noted)))
    assert noting(site).done() is done


class Stopped:
    """An engine whose database is stopped and whose cache is gone; what is asked for comes up, or never does."""

    def __init__(self, *, comes_up: bool) -> None:
        self.comes_up = comes_up
        self.running: set[str] = set()
        self.started: list[list[str]] = []
        self.made: list[tuple[str, ...]] = []

    def containers(self, _project: str) -> list[Any]:
        shape = {"id": "p1", "service": "postgres", "running": "postgres" in self.running, "oneoff": False}
        # nobody starts a one-off container again
        return [SimpleNamespace(**shape), SimpleNamespace(**{**shape, "id": "p2", "running": False, "oneoff": True})]

    def start(self, ids: list[str]) -> None:
        self.started.append(ids)
        self.running |= {"postgres"} if self.comes_up else set()

    def up(self, *services: str) -> None:
        self.made.append(services)
        self.running |= set(services) if self.comes_up else set()


@pytest.fixture
def engine(site: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Stopped:  # noqa: ANN401 a stand-in
    made, seconds = Stopped(comes_up=request.param), iter(range(0, 100_000, 10))
    site.docker = made
    site.containers = lambda service: [service] if service in made.running else []
    site.compose_of = lambda release: made if release == NEW else None
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _seconds: None)
    monkeypatch.setattr(_plan_backup, "time", clock)
    return made


@pytest.mark.parametrize("engine", [True], indirect=True)
def test_a_database_that_is_stopped_is_started_as_it_is_and_what_is_gone_is_made(site: Any, engine: Stopped) -> None:  # noqa: ANN401 a stand-in
    step = start_database(site, "1.1.0")
    assert not step.done()
    step.apply()
    assert step.done()
    assert (engine.started, engine.made) == ([["p1"]], [("redis",)])


@pytest.mark.parametrize("engine", [False], indirect=True)
def test_a_database_that_never_answers_is_given_up(site: Any, engine: Stopped) -> None:  # noqa: ANN401 a stand-in
    with pytest.raises(SlipwayError, match=r"^postgres and redis did not answer within 120 s of their start$"):
        start_database(site, "1.1.0").apply()
    # what somebody else stops meanwhile is started again
    assert len(engine.started) > 1
