"""The ledger under calls in any order, by runs that live or lost the site, some killed at any line of a write."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from ansible_collections.slipway.release.plugins.module_utils import _files
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    PHASES,
    Before,
    Candidate,
    Ledger,
    Release,
    State,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

# where fsync takes no time; it is the order of the writes that is tested
MEMORY = "/dev/shm"  # noqa: S108 - each directory in it has a name of its own
WRITERS = {(_files.__file__, "write_file"), (Path.write_bytes.__code__.co_filename, "write_bytes")}
# after how many lines of what writes a call is killed; None lets it end
MOMENTS = st.none() | st.integers(1, 48)
# which run calls: 0 the last one that was let in, others before it
AGO = st.sampled_from([0, 0, 0, 1, 2])
VERSIONS = st.sampled_from(["1.1.0", "1.2.0", "1.3.0"])


class Killing:
    """Copies a directory as it is when a call has written for some lines: all that a SIGKILL there would leave."""

    def __init__(self, root: Path, copy: Path, moment: int | None) -> None:
        self.root = root
        self.copy = copy
        self.left = moment
        self._outer = sys.gettrace()

    def __enter__(self) -> Self:
        if self.left is not None:
            sys.settrace(self._trace)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        sys.settrace(self._outer)

    @property
    def happened(self) -> bool:
        return self.copy.exists()

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - as sys.settrace has it
        if (frame.f_code.co_filename, frame.f_code.co_name) not in WRITERS:
            return None
        if event == "line" and self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                shutil.copytree(self.root, self.copy)
        return self._trace


@dataclass(frozen=True)
class Model:
    """What the ledger must say; `run` is the token of the open run."""

    token: int = 0
    current: str | None = "1.0.0"
    candidate: Candidate | None = None
    run: int | None = None

    @classmethod
    def of(cls, state: State) -> Model:
        return cls(state.token, state.current, state.candidate, None if state.run is None else state.run.token)


class LedgerMachine(RuleBasedStateMachine):
    """Each rule is one call: a process that takes the lock, shows its token, writes, and may be killed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="slipway-ledger-", dir=MEMORY))
        self.root = self.directory / "site"
        self.model = Model()
        self.calls = 0
        self.killed = False
        self.runs: dict[int, str] = {}
        self.given: list[int] = []
        self.ended: set[str] = set()
        # what before.json of a release may say: more than one thing after a kill
        self.notes: dict[str, list[Before | None]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @initialize()
    def adopt(self) -> None:
        ledger = self.ledger
        with ledger.locked():
            ledger.update(current=self.model.current)
        self.open("run-0", None, free=True)
        self.stage(0, None, "1.1.0")

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root, lambda: float(self.calls))

    def call(self, moment: int | None, act: Callable[[Ledger], object], then: Model | None) -> None:
        """Make one call, after which the ledger must say `then`; None where it must refuse."""
        self.calls += 1
        was, ledger, refused = self.model, self.ledger, False
        with Killing(self.root, self.directory / str(self.calls), moment) as killing, ledger.locked():
            try:
                act(ledger)
            except SlipwayError:
                refused = True
        self.model = Model.of(ledger.state())
        assert refused == (then is None)
        assert self.model == (then or was)
        self.killed = killing.happened
        if self.killed:
            self.root = killing.copy
            self.model = Model.of(self.ledger.state())
            assert self.model in (was, then or was)

    def token(self, ago: int) -> int:
        return self.given[-1 - min(ago, len(self.given) - 1)]

    def work(self, token: int, moment: int | None, act: Callable[[Ledger], object], then: Model) -> None:
        """Make a call as a run does: refused unless that run has the site."""

        def checked(ledger: Ledger) -> None:
            ledger.check_run(token)
            act(ledger)

        self.call(moment, checked, then if token == self.model.run else None)

    # whose site it is

    def open(self, name: str, moment: int | None, *, free: bool) -> None:
        token = self.model.token + 1
        then = replace(self.model, token=token, run=token) if free else None
        self.call(moment, lambda ledger: ledger.open_run(name, "deploy", f"{name}@controller"), then)
        if self.model.run == token:
            self.runs[token] = name
        # whoever was refused, or killed before it could say so, has no token
        if free and not self.killed:
            self.given.append(token)

    @precondition(lambda self: self.model.run is None or self.calls % 4 == 0)
    @rule(moment=MOMENTS)
    def open_run(self, moment: int | None) -> None:
        self.open(f"run-{self.calls}", moment, free=self.model.run is None)

    @precondition(lambda self: self.model.run is not None)
    @rule(moment=MOMENTS)
    def open_the_same_run(self, moment: int | None) -> None:
        self.open(self.runs[self.model.run or 0], moment, free=True)

    @precondition(lambda self: self.model.run is not None)
    @rule(moment=MOMENTS)
    def unlock(self, moment: int | None) -> None:
        self.call(moment, lambda ledger: ledger.update(run=None), replace(self.model, run=None))

    @rule(ago=AGO, moment=MOMENTS, promote=st.booleans())
    def close_run(self, ago: int, moment: int | None, promote: bool) -> None:
        then = replace(self.model, run=None)
        if promote and then.candidate is not None:
            then = replace(then, current=then.candidate.version, candidate=None)
        token = self.token(ago)
        has_the_site = token == self.model.run

        def close(ledger: Ledger) -> None:
            ledger.close_run(ledger.check_run(token), {"verdict": token}, promote=promote)

        self.call(moment, close, then if has_the_site else None)
        if has_the_site and self.model == then:
            self.ended.add(self.runs[token])

    # what comes in and goes back

    @precondition(lambda self: self.model.candidate is None)
    @rule(ago=AGO, moment=MOMENTS, version=VERSIONS)
    def stage(self, ago: int, moment: int | None, version: str) -> None:
        candidate = Candidate(version, PHASES[0], Before(self.model.current, ["1"], None))

        def stage(ledger: Ledger) -> None:
            ledger.save_release(Release(version, version, {}, {}, []))
            ledger.update(candidate=candidate)

        self.work(self.token(ago), moment, stage, replace(self.model, candidate=candidate))

    @precondition(lambda self: self.model.candidate is not None)
    @rule(ago=AGO, moment=MOMENTS, phase=st.sampled_from(PHASES), backup=st.sampled_from(["b1", "b2"]))
    def enter(self, ago: int, moment: int | None, phase: str, backup: str) -> None:
        was = self.model.candidate
        assert was is not None
        furthest = max(was.phase, phase, key=PHASES.index)
        then = replace(was, phase=furthest, before=replace(was.before, backup=backup))
        token = self.token(ago)
        has_the_site = token == self.model.run
        self.work(token, moment, lambda ledger: ledger.enter(phase, backup=backup), replace(self.model, candidate=then))
        if has_the_site:
            known = self.notes.get(was.version, [None])
            behind = self.killed and self.model.candidate == was
            self.notes[was.version] = [*(known if behind else []), then.before]

    @precondition(lambda self: self.model.candidate is not None)
    @rule(ago=AGO, moment=MOMENTS)
    def take_back(self, ago: int, moment: int | None) -> None:
        self.work(
            self.token(ago), moment, lambda ledger: ledger.update(candidate=None), replace(self.model, candidate=None)
        )

    # what is true at every moment

    @invariant()
    def every_record_is_whole(self) -> None:
        for path in self.root.rglob("*.json"):
            json.loads(path.read_text("utf-8"))

    @invariant()
    def the_newest_token_is_the_only_one_that_counts(self) -> None:
        assert self.model.run in {None, self.model.token}
        assert self.model.token >= self.given[-1]

    @invariant()
    def what_a_release_replaced_is_known(self) -> None:
        for version in ("1.1.0", "1.2.0", "1.3.0"):
            assert self.ledger.before(version) in self.notes.get(version, [None])

    @invariant()
    def no_run_ends_without_its_record(self) -> None:
        assert self.ended <= {path.stem for path in (self.root / "runs").glob("*.json")}


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
