# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback criteria as data, and the judge: a pure function of them, of what was seen before and of what is new."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ._errors import SlipwayError
from ._observation import NEW, PROBES, VULNERABILITY, WAY_BACK, Observation
from ._reader import Reader, like, one_of

MODES = ("enforce", "warn", "shadow")
HOLD, ROLLBACK, INCONCLUSIVE = "hold", "rollback", "inconclusive"

# The keys of a state are parted by spaces.
_IDENTITY = like(re.compile(r"[A-Za-z0-9_.-]{1,40}"), "must be up to 40 letters, digits, dots, dashes, underscores")
_HIGHEST, _MOST_LOOKS = 1e9, 1000


class CriteriaError(SlipwayError):
    """Criteria, or a state, that cannot be judged by; the message lists every problem."""


@dataclass(frozen=True)
class Criterion:
    """One reason to go back.

    :param probes: the kinds of observation that it looks at, the most telling first.
    :param over: a value above it is a breach; without it an observation that is not ok is one.
    :param unit: the unit of `over`; values in another unit are not looked at.
    :param looks: how many breaches of the same subject in a row it takes.
    :param required: kinds that must have been seen by the deadline: no evidence is never a pass.
    """

    id: str
    title: str
    mode: str
    probes: tuple[str, ...]
    over: float | None = None
    unit: str | None = None
    looks: int = 1
    required: tuple[str, ...] = ()

    def breached_by(self, item: Observation) -> bool | None:
        """Whether an observation breaches the criterion; None when it says nothing about it."""
        if item.probe not in self.probes or item.ok is None or _is_way_back(item):
            return None
        if self.over is None:
            return not item.ok
        if item.value is None or item.unit != self.unit:
            return None
        if item.value > self.over:
            return True
        # a failure that came fast shows nothing about how fast the subject is when it is well
        return False if item.ok else None


@dataclass(frozen=True)
class State:
    """What the judge remembers between looks, ready for JSON.

    :param breaches: for `CRITERION PROBE SUBJECT` the breaches in a row, the latest last, as mappings.
    :param seen: for each `CRITERION PROBE` of which at least one observation was evidence.
    """

    breaches: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> State:
        """Read what `to_dict` wrote; an empty mapping is a new beginning.

        :raises CriteriaError: it is something else.
        """
        breaches, seen = mapping.get("breaches", {}), mapping.get("seen", [])
        shaped = isinstance(breaches, Mapping) and all(isinstance(items, list) for items in breaches.values())
        if not shaped or not isinstance(seen, list) or set(mapping) - {"breaches", "seen"}:
            raise CriteriaError("state: is not what an earlier judgement returned as its state: hand it on unchanged")
        try:
            found = {str(key): [Observation.from_dict(item).to_dict() for item in breaches[key]] for key in breaches}
        except SlipwayError as error:
            raise CriteriaError(f"state: {error}") from error
        return cls(found, frozenset(map(str, seen)))

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return {"breaches": {key: list(value) for key, value in self.breaches.items()}, "seen": sorted(self.seen)}


@dataclass(frozen=True)
class Finding:
    """What one criterion says, with what a person needs to argue with it.

    :param count: the longest run of breaches of one subject.
    :param observations: the breaches; the last one decides.
    :param missing: the required kinds of evidence that were not seen.
    """

    id: str
    title: str
    mode: str
    verdict: str
    reason: str
    count: int
    looks: int
    missing: tuple[str, ...]
    threshold: float | None
    observations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Verdict:
    """What all criteria say together.

    :param overall: rollback as soon as one that is enforced says so.
    :param deadline: nothing more was to be seen.
    """

    overall: str
    deadline: bool
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        criteria = [asdict(finding) for finding in self.findings]
        return {"overall": self.overall, "deadline": self.deadline, "criteria": criteria}

    @property
    def message(self) -> str:
        """Why to go back, on one line: the reason of each enforced criterion that asks for it."""
        decisive = (item for item in self.findings if item.verdict == ROLLBACK and item.mode == "enforce")
        return "; ".join(f"{item.id} {item.title}: {item.reason}" for item in decisive)


def parse(criteria: object) -> tuple[Criterion, ...]:
    """Read criteria from plain data.

    :raises CriteriaError: listing every problem, each with its path.
    """
    problems: list[str] = []
    found = Reader("criteria", {"list": criteria}, problems).items("list", _criterion, required=True)
    names = [item.id for item in found]
    problems += [f"criteria: {name} stands there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise CriteriaError("; ".join(problem.replace("criteria.list", "criteria") for problem in problems))
    return found


def _criterion(reader: Reader) -> Criterion | None:
    identity = reader.text("id", _IDENTITY, required=True)
    title = reader.text("title", required=True)
    mode = reader.text("mode", one_of(MODES), default="enforce")
    given = reader.raw("probes", required=True)
    probes = reader.texts("probes", one_of(PROBES))
    required = reader.texts("required", one_of(PROBES))
    over = reader.number("over", 0, least=0, most=_HIGHEST) if reader.has("over") else None
    unit = reader.text("unit")
    looks = reader.number("looks", 1, least=1, most=_MOST_LOOKS) or 1
    if looks != int(looks):
        reader.problem("looks", f"must be a whole number, not {looks:g}")
    if given == []:
        reader.problem("probes", "must name at least one kind of observation")
    if (over is None) != (unit is None):
        reader.problem("over", "needs a unit, and a unit needs over")
    if set(required) - set(probes):
        reader.problem("required", "must be among probes")
    if identity is None or title is None:
        return None
    return Criterion(identity, title, mode or "enforce", probes, over, unit, int(looks), required)


def judge(
    criteria: Sequence[Criterion], state: State, observations: Iterable[Observation], *, deadline: bool = False
) -> tuple[State, Verdict]:
    """Judge what was seen.

    An observation that is well clears what the same subject did before, unless that was reason enough to go back: what
    has happened once is not undone by looking again. One that could not be made is no evidence.

    :param observations: in the order in which they were made.
    :param deadline: nothing more will be seen: required evidence that is missing is a reason to go back, and so is a
        breach that is not disproved.
    :returns: what to remember, and the verdict.
    """
    breaches = {key: list(value) for key, value in state.breaches.items()}
    seen = set(state.seen)
    for item in observations:
        for criterion in criteria:
            if _is_way_back(item) and item.probe in criterion.probes:
                breaches[_way_back(criterion)] = [item.to_dict()] if item.ok is False else []
            breached = criterion.breached_by(item)
            if breached is None:
                continue
            seen.add(f"{criterion.id} {item.probe}")
            key = f"{criterion.id} {item.probe} {item.subject}"
            if breached:
                breaches.setdefault(key, []).append(item.to_dict())
            elif len(breaches.get(key, ())) < criterion.looks:
                breaches.pop(key, None)
    after = State(breaches, frozenset(seen))
    findings = tuple(_finding(criterion, after, deadline=deadline) for criterion in criteria)
    overall = _overall([finding for finding in findings if finding.mode == "enforce"])
    return after, Verdict(overall, deadline, findings)


def _overall(enforced: Sequence[Finding]) -> str:
    """Sum up; what nobody asked to see leaves nothing open."""
    if any(finding.verdict == ROLLBACK for finding in enforced):
        return ROLLBACK
    return INCONCLUSIVE if any(finding.count or finding.missing for finding in enforced) else HOLD


def _finding(criterion: Criterion, state: State, *, deadline: bool) -> Finding:
    mine = _runs(criterion, state)
    worst: Sequence[Mapping[str, Any]] = mine[-1] if mine else ()
    looked = [probe for probe in criterion.probes if f"{criterion.id} {probe}" in state.seen]
    missing = tuple(probe for probe in criterion.required if probe not in looked)
    if len(worst) >= criterion.looks:
        confirmed = [items[-1] for items in reversed(mine) if len(items) >= criterion.looks]
        verdict, reason = ROLLBACK, "; ".join(_words(criterion, item) for item in confirmed)
        if _to_more(criterion, confirmed, state):
            verdict, reason = INCONCLUSIVE, f"going back is worse, a person decides: {reason}"
    elif missing:
        verdict = ROLLBACK if deadline else INCONCLUSIVE
        reason = f"no evidence of {', '.join(missing)}" + (" at the deadline" if deadline else " yet")
    elif worst:
        verdict = ROLLBACK if deadline else INCONCLUSIVE
        reason = f"{len(worst)} of {criterion.looks} looks: {_words(criterion, worst[-1])}"
    else:
        verdict = HOLD if looked else INCONCLUSIVE
        reason = f"seen well: {', '.join(sorted(looked))}" if looked else "no evidence"
    return Finding(
        criterion.id,
        criterion.title,
        criterion.mode,
        verdict,
        reason,
        len(worst),
        criterion.looks,
        missing,
        criterion.over,
        tuple(item for items in mine for item in items),
    )


def _runs(criterion: Criterion, state: State) -> list[Sequence[Mapping[str, Any]]]:
    """The breaches of each subject; what decides stands last, in whatever order the subjects were looked at."""
    mine = []
    for key, items in state.breaches.items():
        identity, _, rest = key.partition(" ")
        probe, _, subject = rest.partition(" ")
        if identity == criterion.id and probe in criterion.probes and items and key != _way_back(criterion):
            mine.append((len(items), -criterion.probes.index(probe), subject, items))
    return [items for *_, items in sorted(mine, key=lambda entry: entry[:3])]


def _is_way_back(item: Observation) -> bool:
    """Whether it is about the release to go back to, and so no reason to go."""
    return item.probe == VULNERABILITY and item.subject == WAY_BACK


def _way_back(criterion: Criterion) -> str:
    return f"{criterion.id} {VULNERABILITY} {WAY_BACK}"


def _to_more(criterion: Criterion, confirmed: Sequence[Mapping[str, Any]], state: State) -> bool:
    """Whether known vulnerabilities alone ask to go back, to a release that has more of them."""
    back = sum(item["value"] or 0 for item in state.breaches.get(_way_back(criterion), ()))
    new = sum(item["value"] or 0 for item in confirmed if item["subject"] == NEW)
    return all(item["probe"] == VULNERABILITY for item in confirmed) and back > new


def _words(criterion: Criterion, item: Mapping[str, Any]) -> str:
    if not criterion.over:
        return " ".join(f"{item['subject']}: {item['detail']}".split())
    return f"{item['subject']} took {item['value']:.1f} {item['unit']}, more than {criterion.over:g} {criterion.unit}"
