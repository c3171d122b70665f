"""One-off containers that a killed call left are waited for by a deploy, and ended by a way back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._compose import Docker
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._leftovers import await_leftovers, end_leftovers
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, Runner
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("R6")


class Engine:
    """A Docker engine with one-off containers, by name and label."""

    def __init__(self, **containers: str) -> None:
        self.containers = containers
        self.done: list[str] = []
        self.endless = False

    def run(self, argv: list[str], *, check: bool = True, timeout: float = 60) -> Completed:
        verb = argv[1]
        if verb == "ps":
            label = argv[-1].removeprefix("label=")
            return Completed(0, "\n".join(name for name, item in self.containers.items() if item == label), "")
        if verb == "inspect":
            return Completed(0, "172.18.0.9 \n", "")
        if verb == "wait" and self.endless:
            raise CommandError(argv, None, f"after {timeout:.0f} s")
        if verb in {"wait", "stop", "rm"}:
            self.done += [f"{verb} {name}" for name in argv if name in self.containers]
        if verb == "rm":
            for name in argv[2:]:
                self.containers.pop(name, None)
        assert verb in {"wait", "stop", "rm", "network"} or check
        return Completed(0, "", "")


def site(engine: Engine, asked: list[str], backups: Path = Path("/nonexistent")) -> Site:
    database = SimpleNamespace(query=lambda sql, database: asked.append(f"{database}: {sql}"))
    profile = SimpleNamespace(name="swarm")
    return cast(
        "Site",
        SimpleNamespace(
            docker=Docker(cast("Runner", engine)), runner=engine, profile=profile, database=database, backups=backups
        ),
    )


def test_where_nothing_is_left_nothing_is_done() -> None:
    engine = Engine(other="slipway.oneoff=another")
    assert await_leftovers(site(engine, []), 60).done()
    assert end_leftovers(site(engine, [])).done()


def test_a_deploy_lets_a_migration_come_to_its_end() -> None:
    engine = Engine(migrates="slipway.oneoff=swarm", other="slipway.oneoff=another")
    step = await_leftovers(site(engine, []), 60)
    assert not step.done()
    assert step.apply() == {"waited_for": ["migrates"]}
    assert engine.done[0] == "wait migrates"
    assert step.done()
    assert "other" in engine.containers


def test_one_that_never_ends_is_a_failure_and_not_removed_under_its_own_hands() -> None:
    engine = Engine(migrates="slipway.oneoff=swarm")
    engine.endless = True
    with pytest.raises(CommandError, match="ran out of time"):
        await_leftovers(site(engine, []), 60).apply()
    assert "migrates" in engine.containers


def test_a_way_back_ends_them_and_their_statements() -> None:
    engine, asked = Engine(migrates="slipway.oneoff=swarm", tries="slipway.scratch=swarm"), list[str]()
    step = end_leftovers(site(engine, asked))
    assert not step.done()
    assert step.apply() == {"ended": ["migrates"]}
    assert engine.containers == {}
    assert engine.done.index("stop migrates") < engine.done.index("rm migrates")
    assert len(asked) == 1
    assert asked[0].startswith("postgres: SELECT count(pg_terminate_backend(pid))")
    assert "'172.18.0.9'" in asked[0]
    assert step.done()


def test_a_rehearsal_s_containers_are_no_reason_to_speak_to_the_database() -> None:
    engine, asked = Engine(tries="slipway.scratch=swarm"), list[str]()
    end_leftovers(site(engine, asked)).apply()
    assert (engine.containers, asked) == ({}, [])


def test_a_dump_or_a_restore_that_nobody_waits_for_any_more_is_killed() -> None:
    engine = Engine(dumps="slipway.tools=swarm", other="slipway.tools=another")
    step = end_leftovers(site(engine, []))
    assert not step.done()
    step.apply()
    assert engine.done == ["rm dumps"]
    assert list(engine.containers) == ["other"]
    assert step.done()


def test_half_a_backup_goes_and_a_whole_one_stays(tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / ".partial" / "r2" / "database").mkdir(parents=True)
    step = end_leftovers(site(Engine(), [], tmp_path))
    assert not step.done()
    step.apply()
    assert step.done()
    assert [path.name for path in tmp_path.iterdir()] == ["r1"]
