from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, Step, StepError, carry_out, preview
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger
from ansible_collections.slipway.release.plugins.module_utils._site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    # the engine itself uses nothing of a site but its ledger
    return cast("Site", SimpleNamespace(ledger=Ledger(tmp_path / "swarm"), at_rest=nullcontext, hidden=str))


class World:
    """What the steps change."""

    def __init__(self) -> None:
        self.there: set[str] = set()

    def step(self, name: str, error: Exception | None = None) -> Step:
        def apply() -> dict[str, Any]:
            if error is not None:
                raise error
            self.there.add(name)
            return {name: True}

        return Step(name, lambda: name in self.there, apply)


def test_only_what_is_missing_is_done_and_each_step_is_written_before_and_after(site: Site) -> None:
    world = World()
    world.there.add("one")
    plan = Plan("switch", "1.1.0", "switch", [world.step("one"), world.step("two")])
    with site.ledger.locked():
        outcome = carry_out(site, plan)
    assert outcome.changed == ["two"]
    assert outcome.facts == {"two": True}
    assert [item.ok for item in outcome.observations] == [True]
    assert [(entry["step"], entry["event"]) for entry in site.ledger.journal_tail(9)] == [
        ("two", "begin"),
        ("two", "done"),
    ]
    with site.ledger.locked():
        assert carry_out(site, plan).changed == []


@pytest.mark.parametrize("error", [SlipwayError("no room"), OSError(28, "No space left on device")])
def test_a_failure_stops_is_written_down_and_becomes_evidence(site: Site, error: Exception) -> None:
    world = World()
    plan = Plan("migrate", "1.2.0", "migration", [world.step("one"), world.step("two", error), world.step("three")])
    with site.ledger.locked(), pytest.raises(StepError, match=r"migrate of 1\.2\.0: two: ") as caught:
        carry_out(site, plan)
    assert world.there == {"one"}
    observation = caught.value.observations[0]
    assert (observation.probe, observation.ok) == ("migration", False)
    assert site.ledger.journal_tail(1)[0]["event"] == "failed"


def test_what_verify_finds_is_a_failure(site: Site) -> None:
    plan = Plan("switch", "1.1.0", "switch", [], lambda: ["web runs image 1, not 2"])
    with site.ledger.locked(), pytest.raises(StepError, match="web runs image 1, not 2"):
        carry_out(site, plan)


def test_a_preview_names_the_steps_and_does_none(site: Site) -> None:
    world = World()
    assert preview(site, Plan("stage", "1.1.0", "stage", [world.step("one")])).changed == ["one"]
    assert world.there == set()
    assert not site.ledger.root.exists()


def test_steps_in_a_tuple_are_carried_out_side_by_side_and_what_is_done_is_left_out(site: Site) -> None:
    world, met = World(), threading.Barrier(2, timeout=5)

    def meeting(name: str) -> Step:
        def apply() -> dict[str, Any]:
            met.wait()
            world.there.add(name)
            return {name: True}

        return Step(name, lambda: name in world.there, apply)

    world.there.add("two")
    plan = Plan("stage", "1.1.0", "stage", [(meeting("one"), world.step("two"), meeting("three")), world.step("four")])
    assert preview(site, plan).changed == ["one", "three", "four"]
    with site.ledger.locked():
        outcome = carry_out(site, plan)
    assert set(outcome.changed) == {"one", "three", "four"}
    assert outcome.changed[-1] == "four"
    assert outcome.facts == {"one": True, "three": True, "four": True}


@pytest.mark.parametrize("failing", ["one", "two"])
def test_what_runs_beside_a_failure_comes_to_its_end_and_nothing_follows(site: Site, failing: str) -> None:
    world = World()

    def slow() -> None:
        time.sleep(0.2)
        world.there.add("slow")

    bad = replace(world.step("bad", SlipwayError("no room")), probe="backup")
    good = Step("slow", lambda: "slow" in world.there, slow)
    group = (bad, good) if failing == "one" else (good, bad)
    plan = Plan("stage", "1.1.0", "stage", [group, world.step("next")])
    with site.ledger.locked(), pytest.raises(StepError, match=r"stage of 1\.1\.0: bad: no room") as caught:
        carry_out(site, plan)
    assert world.there == {"slow"}
    assert [(item.probe, item.ok) for item in caught.value.observations] == [("backup", False)]
    events = [(entry["step"], entry["event"]) for entry in site.ledger.journal_tail(9)]
    assert ("bad", "failed") in events
    assert ("slow", "done") in events


def pushed(world: World, name: str, jobs: int, *, beside: str | None = None) -> Step:
    def apply() -> dict[str, Any]:
        world.there.add(name)
        return {"pushed_back": jobs, "at_work": [f"job of {name}"], "stopped": beside}

    return Step(name, lambda: name in world.there, apply)


def test_what_two_steps_count_is_added_up_and_what_they_list_stands_in_one_list(site: Site) -> None:
    world = World()
    plan = Plan("switch", "1.1.0", "switch", [pushed(world, "one", 1), pushed(world, "two", 2, beside="w")])
    with site.ledger.locked():
        facts = carry_out(site, plan).facts
    assert facts == {"pushed_back": 3, "at_work": ["job of one", "job of two"], "stopped": "w"}


def test_what_was_done_before_a_failure_is_told_with_it(site: Site) -> None:
    world = World()
    plan = Plan("switch", "1.1.0", "switch", [pushed(world, "one", 1), world.step("two", SlipwayError("no"))])
    with site.ledger.locked(), pytest.raises(StepError) as caught:
        carry_out(site, plan)
    assert caught.value.facts["pushed_back"] == 1
