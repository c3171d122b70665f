# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: carries out a plan, step by step, under the site's flock, each step written down before and after."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Callable

from ._errors import SlipwayError
from ._observation import Observation

if TYPE_CHECKING:
    from ._site import Site


def _nothing() -> list[Any]:
    return []


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    :param done: whether the host is already as the step would leave it; read-only.
    :param apply: carries it out; what it returns goes into the journal and the result, so it holds no secret.
    :param probe: the kind of observation that its failure is, where that is another than its plan's.
    """

    name: str
    done: Callable[[], bool]
    apply: Callable[[], dict[str, Any] | None]
    probe: str | None = None


@dataclass(frozen=True)
class Plan:
    """A named sequence of steps for one release.

    :param steps: in their order; those in a tuple are carried out side by side.
    :param probe: the kind of observation that the plan makes.
    :param verify: asked after the last step, also when nothing was left to do: what is wrong, empty when all is well.
    :param evidence: what else is to be seen when all went well, for the judge.
    """

    name: str
    version: str
    probe: str
    steps: Sequence[Step | tuple[Step, ...]]
    verify: Callable[[], list[str]] = _nothing
    evidence: Callable[[], list[Observation]] = _nothing


@dataclass
class Outcome:
    """What a plan did, or would do: the steps that change something, the facts they gave, what was observed.

    :param since: when it began, by the host's clock; evidence of what it did is younger.
    """

    since: str
    changed: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)


class StepError(SlipwayError):
    """A step failed; carries the observation that the judge decides by, and the facts of the steps before it."""

    def __init__(self, message: str, observation: Observation, facts: dict[str, Any]) -> None:
        self.observations = [observation]
        self.facts = facts
        super().__init__(message)


def preview(site: Site, plan: Plan) -> Outcome:
    """What carrying out the plan would change as the host stands now."""
    with site.at_rest():
        return Outcome(site.ledger.now(), changed=[step.name for group in plan.steps for step in _undone(group)])


def _undone(group: Step | tuple[Step, ...]) -> list[Step]:
    """The steps of a group that are still to be carried out."""
    return [step for step in (group if isinstance(group, tuple) else (group,)) if not step.done()]


def _together(facts: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The facts of two steps: what both list stands in one list, what both count is added up."""

    def both(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever a step tells
        before = facts.get(name)
        if any(isinstance(before, kind) and isinstance(value, kind) for kind in (list, int)):
            return before + value
        return value

    return {**facts, **{name: both(name, value) for name, value in more.items()}}


def _name(group: Step | tuple[Step, ...]) -> str:
    return " and ".join(step.name for step in group) if isinstance(group, tuple) else group.name


def _side_by_side(run: Callable[[Step], None], steps: Sequence[Step]) -> None:
    """Run steps at once; returns, or raises what the first of them raised, when all have ended."""
    with ThreadPoolExecutor(max(1, len(steps) - 1)) as pool:
        running = [pool.submit(run, step) for step in steps[1:]]
        for step in steps[:1]:
            run(step)
    for ended in running:
        ended.result()


def carry_out(site: Site, plan: Plan) -> Outcome:
    """Carry out the steps that are not done yet and verify; the caller holds the site's flock.

    :raises StepError: at the first step that fails; those before it stay as they are.
    """
    outcome, telling = Outcome(site.ledger.now()), Lock()
    about = {"plan": plan.name, "release": plan.version}

    def failed(step: str, reason: str, probe: str | None = None) -> StepError:
        reason = site.hidden(reason)
        site.ledger.journal({**about, "step": step, "event": "failed", "reason": reason})
        observation = Observation(
            probe or plan.probe, f"{plan.name}: {step}", site.ledger.now(), None, None, ok=False, detail=reason
        )
        return StepError(f"{plan.name} of {plan.version}: {step}: {reason}", observation, outcome.facts)

    def run(step: Step) -> None:
        site.ledger.journal({**about, "step": step.name, "event": "begin"})
        try:
            facts = step.apply() or {}
        except (SlipwayError, OSError) as error:
            raise failed(step.name, str(error), step.probe) from error
        site.ledger.journal({**about, "step": step.name, "event": "done", **facts})
        outcome.changed.append(step.name)
        with telling:
            outcome.facts = _together(outcome.facts, facts)

    for group in plan.steps:
        try:
            with site.at_rest():
                todo = _undone(group)
        except (SlipwayError, OSError) as error:
            raise failed(_name(group), str(error)) from error
        _side_by_side(run, todo)
    try:
        with site.at_rest():
            wrong = plan.verify()
    except (SlipwayError, OSError) as error:
        raise failed("verify", str(error)) from error
    if wrong:
        raise failed("verify", "; ".join(wrong))
    observation = Observation(
        plan.probe,
        plan.name,
        site.ledger.now(),
        None,
        None,
        ok=True,
        detail=", ".join(outcome.changed) or "nothing to do",
    )
    with site.at_rest():
        outcome.observations += plan.evidence()
    outcome.observations.append(observation)
    return outcome
