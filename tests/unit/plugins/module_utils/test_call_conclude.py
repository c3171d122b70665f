"""A release that is good stands, whatever fails when its run is closed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_conclude, _guard
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, Step
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, LockedError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.module_utils._ledger import Armed, Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._prune import Policy
from ansible_collections.slipway.release.plugins.module_utils._site import Site

TOLD: dict[str, Any] = {"pruned": [], "not_pruned": None, "not_stopped": None, "not_watched": None}
APPLICATION, CRITERIA = {"name": "swarm"}, [{"id": "R2"}]


class World:
    """A site on which 1.1.0 was switched to, and what becomes of the three things that are done at the end."""

    def __init__(self, root: Path) -> None:
        self.ledger = Ledger(root)
        self.let_go: Exception | None = None
        self.watch: Exception | str | None = None
        self.remove: Exception | None = None
        self.did: list[str] = []
        with self.ledger.locked():
            self.ledger.save_release(Release("1.1.0", "c" * 40, {}, {}, []))
            candidate = Candidate("1.1.0", "switched", Before("1.0.0", [], None))
            self.ledger.update(current="1.0.0", candidate=candidate)
            self.run = self.ledger.open_run("r1", "deploy", "anna@controller", "1.1.0")
            self.ledger.update(armed=Armed("1.1.0", 900.0, 0.0))
        runner = SimpleNamespace(run=lambda *_about, **_options: None)
        profile = SimpleNamespace(name="swarm")
        stand_in = SimpleNamespace(ledger=self.ledger, profile=profile, runner=runner, at_rest=nullcontext, hidden=str)
        self.site = cast("Site", stand_in)

    def step(self, name: str, breaks: Exception | None) -> Step:
        def apply() -> None:
            self.did.append(name)
            if breaks is not None:
                raise breaks

        return Step(name, lambda: False, apply)

    def let_replaced_go(self, _site: Site, release: Release) -> Step:
        return self.step(f"stop what {release.version} replaced", self.let_go)

    def begin(self, site: Site, version: str, **given: object) -> str | None:
        assert site.ledger.state().run is not None, "who kills this leaves a run that is open"
        assert given == {"application": APPLICATION, "criteria": CRITERIA, "undo_timeout": 60.0, "security": {}}
        self.did.append(f"watch {version}")
        if isinstance(self.watch, Exception):
            raise self.watch
        return self.watch

    def prune(self, _site: Site, policy: Policy) -> Plan:
        assert policy == Policy(5, 30.0)
        return Plan("prune", "backups", "backup", [self.step("remove backup b0", self.remove)])

    def conclude(self, *, promote: bool = True, token: int | None = None, check: bool = False) -> dict[str, Any]:
        given = {
            "run": {"token": self.run.token if token is None else token},
            "promote": promote,
            "verdict": {"overall": "hold"},
            "observations": [],
            "keep": 5,
            "keep_days": 30.0,
            "application": APPLICATION,
            "criteria": CRITERIA,
            "undo_timeout": 60.0,
            "security": {},
        }
        return _call_conclude.answer(Module(given, check_mode=check), self.site)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(_guard, "UNITS", tmp_path / "units")
    for name in ("let_replaced_go", "begin", "prune"):
        monkeypatch.setattr(_call_conclude, name, getattr(made, name))
    return made


def stands(world: World, version: str) -> None:
    """Make sure that this release stands, and that nobody is at work any more."""
    state = world.ledger.state()
    assert state.current == version
    assert (state.run, state.armed) == (None, None)


def test_a_good_release_stands_and_is_looked_after(world: World) -> None:
    assert world.conclude() == {**TOLD, "changed": True, "current": "1.1.0", "pruned": ["remove backup b0"]}
    assert world.did == ["stop what 1.1.0 replaced", "watch 1.1.0", "remove backup b0"]
    stands(world, "1.1.0")
    assert world.ledger.state().candidate is None


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "what, breaks, told",
    [
        (
            "let_go",
            CommandError(["docker", "stop"], 1, "no such one"),
            {"not_stopped": "conclude of 1.1.0: stop what 1.1.0 replaced: docker stop ended with code 1: no such one"},
        ),
        ("let_go", FULL, {"not_stopped": f"conclude of 1.1.0: stop what 1.1.0 replaced: {FULL}"}),
        ("watch", "systemd does not run here", {"not_watched": "systemd does not run here"}),
        ("watch", SlipwayError("the host cannot be armed"), {"not_watched": "the host cannot be armed"}),
        ("watch", FULL, {"not_watched": str(FULL)}),
        (
            "remove",
            FULL,
            {"not_pruned": f"prune of backups: remove backup b0: {FULL}", "pruned": [], "changed": False},
        ),
    ],
)
def test_what_fails_at_the_end_is_told_and_is_no_reason_to_take_a_good_release_back(
    world: World, what: str, breaks: Exception | str, told: dict[str, Any]
) -> None:
    setattr(world, what, breaks)
    well = {**TOLD, "changed": True, "current": "1.1.0", "pruned": ["remove backup b0"]}
    assert world.conclude() == {**well, **told}
    # the others were done all the same
    assert world.did == ["stop what 1.1.0 replaced", "watch 1.1.0", "remove backup b0"]
    stands(world, "1.1.0")


def test_one_that_is_not_promoted_keeps_what_it_needs_to_go_back(world: World) -> None:
    assert world.conclude(promote=False) == {**TOLD, "changed": False, "current": "1.0.0"}
    assert world.did == []
    state = world.ledger.state()
    assert (state.run, state.candidate is None) == (None, False)


def test_whoever_lost_the_site_concludes_nothing(world: World) -> None:
    with pytest.raises(LockedError, match="this run has lost the site"):
        world.conclude(token=world.run.token - 1)
    assert world.did == []
    assert world.ledger.state().current == "1.0.0"


def test_check_mode_does_nothing(world: World) -> None:
    before = (world.ledger.root / "ledger.json").read_bytes()
    assert world.conclude(check=True) == {**TOLD, "changed": False, "current": "1.0.0"}
    assert ((world.ledger.root / "ledger.json").read_bytes(), world.did) == (before, [])
