# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback criteria as data, and the judge: a pure function of them, of what was seen before and of what is new.

A criterion either looks at single observations (so many breaches in a row), or has `counts`: then it compares how often
something happens with how often it happened before the release, by the test of `_sequential`. What happened before is
the baseline, plain data that somebody collected before the release and hands to every judgement unchanged:

    {probe: {subject: {"events": 312, "trials": 86400, "blocks": [[events, trials], ...], "seconds": 600}}}

`blocks` are in order, of `seconds` each: ten minutes, at least 36 (six hours) with trials in them, or days, at least a
week of them. `events` and `trials` are their sums, for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from ._errors import SlipwayError
from ._observation import NEW, PROBES, VULNERABILITY, WAY_BACK, Observation, parse_timestamp
from ._reader import Reader, like, one_of
from ._sequential import BLOCK, Baseline, Evidence, Tally, decisive, shares

MODES = ("enforce", "warn", "shadow")
HOLD, ROLLBACK, INCONCLUSIVE = "hold", "rollback", "inconclusive"

_NO_STATE = "state: is not what an earlier judgement returned as its state: hand it on unchanged"
# The keys of a state are parted by spaces.
_IDENTITY = like(re.compile(r"[A-Za-z0-9_.-]{1,40}"), "must be up to 40 letters, digits, dots, dashes, underscores")
_HIGHEST, _MOST_LOOKS = 1e9, 1000
# Outsiders can cause lines of a log, so that one of our own probes must find something at the same time.
LOG, OWN = "log", frozenset(("page", "health", "flow", "service", "worker", "job"))
# Their probes speak of a subject only while something is wrong with it: silence says that it is well.
_SPARING = frozenset(("exposure", "log", "query"))
# The kinds of which a host notes counts before a release.
_COUNTED = ("log", "job", "latency")
# So many comparisons are shown.
_SHOWN = 10


class CriteriaError(SlipwayError):
    """Criteria, or a state, that cannot be judged by; the message lists every problem."""


@dataclass(frozen=True)
class Counts:
    """How counts are compared with the baseline.

    :param error: the probability that a release under which nothing became more frequent is ever found guilty: of all
        subjects and all looks together.
    :param growth: how many times as frequent is looked for. What grew by its square root speaks neither for it nor
        against it.
    """

    error: float
    growth: float = 2.0


@dataclass(frozen=True)
class Criterion:
    """One reason to go back.

    :param probes: the kinds of observation that it looks at, the most telling first.
    :param over: a value above it is a breach; without it an observation that is not ok is one.
    :param unit: the unit of `over`; values in another unit are not looked at.
    :param looks: how many breaches of the same subject in a row it takes.
    :param required: kinds that must have been seen by the deadline: no evidence is never a pass.
    :param attempted: kinds that must have been seen by the deadline where somebody looked for them.
    :param counts: compare counts with the baseline; a single observation is then no breach.
    """

    id: str
    title: str
    mode: str
    probes: tuple[str, ...]
    over: float | None = None
    unit: str | None = None
    looks: int = 1
    required: tuple[str, ...] = ()
    attempted: tuple[str, ...] = ()
    counts: Counts | None = None

    def breached_by(self, item: Observation) -> bool | None:
        """Whether an observation breaches the criterion; None when it says nothing about it."""
        if item.probe not in self.probes or item.ok is None or self.counts or _is_way_back(item):
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
    :param counts: for `CRITERION PROBE SUBJECT` what was counted since the release.
    :param tried: the kinds that somebody looked for, seen or not.
    """

    breaches: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tried: frozenset[str] = frozenset()

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> State:
        """Read what `to_dict` wrote; an empty mapping is a new beginning.

        :raises CriteriaError: it is something else.
        """
        breaches, counts = mapping.get("breaches", {}), mapping.get("counts", {})
        seen, tried = mapping.get("seen", []), mapping.get("tried", [])
        shaped = isinstance(breaches, Mapping) and all(
            isinstance(items, list) and len(str(key).split(" ", 2)) == len(("criterion", "probe", "subject"))
            for key, items in breaches.items()
        )
        counted = isinstance(counts, Mapping) and all(isinstance(item, Mapping) for item in counts.values())
        listed = isinstance(seen, list) and isinstance(tried, list)
        if not shaped or not counted or not listed or set(mapping) - {item.name for item in fields(cls)}:
            raise CriteriaError(_NO_STATE)
        try:
            found = {str(key): [Observation.from_dict(item).to_dict() for item in breaches[key]] for key in breaches}
        except SlipwayError as error:
            raise CriteriaError(f"state: {error}") from error
        told = {str(key): dict(item) for key, item in counts.items()}
        return cls(found, frozenset(map(str, seen)), told, frozenset(map(str, tried)))

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        breaches = {key: list(value) for key, value in self.breaches.items()}
        counts = {key: dict(item) for key, item in self.counts.items()}
        return {"breaches": breaches, "seen": sorted(self.seen), "counts": counts, "tried": sorted(self.tried)}


@dataclass(frozen=True)
class Finding:
    """What one criterion says, with what a person needs to argue with it.

    :param count: the longest run of breaches of one subject.
    :param observations: the breaches; the last one decides.
    :param missing: the required kinds of evidence that were not seen.
    :param compared: of a criterion with counts, what became more frequent, the strongest evidence first: the counts,
        what was expected, the baseline, and the logarithms of the statistic and of its threshold.
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
    compared: tuple[Mapping[str, Any], ...] = ()


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
    attempted = reader.texts("attempted", one_of(PROBES))
    over = reader.number("over", 0, least=0, most=_HIGHEST) if reader.has("over") else None
    unit = reader.text("unit")
    looks = reader.whole("looks", Criterion.looks, least=1, most=_MOST_LOOKS) or Criterion.looks
    if given == []:
        reader.problem("probes", "must name at least one kind of observation")
    counts = reader.inside("counts", _counts)
    if counts and (over is not None or unit is not None or looks != 1):
        reader.problem("counts", "needs no over, no unit and no looks")
    if (over is None) != (unit is None):
        reader.problem("over", "needs a unit, and a unit needs over")
    if set(required) - set(probes):
        reader.problem("required", "must be among probes")
    if set(attempted) - set(probes):
        reader.problem("attempted", "must be among probes")
    if identity is None or title is None:
        return None
    return Criterion(identity, title, mode or "enforce", probes, over, unit, looks, required, attempted, counts)


def _counts(reader: Reader) -> Counts | None:
    error = reader.number("error", None, least=1e-6, most=0.1)
    growth = reader.number("growth", Counts.growth, least=1.2, most=10)
    return None if error is None or growth is None else Counts(error, growth)


def judge(
    criteria: Sequence[Criterion],
    state: State,
    observations: Iterable[Observation],
    *,
    baseline: Mapping[str, Any] | None = None,
    deadline: bool = False,
) -> tuple[State, Verdict]:
    """Judge what was seen.

    An observation that is well clears what the same subject did before, unless that was reason enough to go back: what
    has happened once is not undone by looking again. One that could not be made is no evidence. Where a kind speaks of
    what is wrong alone, a subject that it does not name any more is well.

    :param observations: in the order in which they were made.
    :param baseline: how often things happened before the release, the same at each look; see the top of this file.
    :param deadline: nothing more will be seen: required evidence that is missing is a reason to go back, and so is a
        breach that is not disproved.
    :returns: what to remember, and the verdict.
    """
    breaches = {key: list(value) for key, value in state.breaches.items()}
    seen, tried = set(state.seen), set(state.tried)
    comparisons = _Comparisons(criteria, state.counts, baselines(baseline or {}))
    observations = list(observations)
    _clear_unnamed(criteria, breaches, observations)
    for item in observations:
        tried.add(item.probe)
        for criterion in criteria:
            if criterion.counts and item.probe in criterion.probes and item.ok is not None and item.of is not None:
                seen.add(f"{criterion.id} {item.probe}")
                comparisons.add(criterion, item)
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
        agreed = _own_breach(criteria, breaches)
        for key, decided in comparisons.decided():
            if decided.probe != LOG or agreed:
                breaches.setdefault(key, [decided.to_dict()])
    after = State(breaches, frozenset(seen), comparisons.to_dict(), frozenset(tried))
    findings = tuple(_finding(criterion, after, comparisons, deadline=deadline) for criterion in criteria)
    overall = _overall([finding for finding in findings if finding.mode == "enforce"])
    return after, Verdict(overall, deadline, findings)


def _clear_unnamed(
    criteria: Sequence[Criterion], breaches: dict[str, list[Mapping[str, Any]]], observations: Sequence[Observation]
) -> None:
    """Forget too few breaches of subjects that are not named any more, of kinds that speak of what is wrong alone.

    What could not be seen keeps what it did: an error in a log is `SERVICE: WHAT`, and a log that nobody could read is
    no log without it.
    """
    unseen = {(item.probe, item.subject) for item in observations if item.ok is None}
    looked = {item.probe for item in observations if item.ok is not None} & _SPARING
    named = {(item.probe, item.subject) for item in observations}
    looks = {criterion.id: criterion.looks for criterion in criteria}
    for key in list(breaches):
        identity, probe, subject = key.split(" ", 2)
        silent = (probe, subject) not in named and (probe, subject.partition(":")[0]) not in unseen
        if probe in looked and silent and len(breaches[key]) < looks.get(identity, 0):
            del breaches[key]


def counted_before(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Pick out of what was noted before a release what counts are compared with: the baseline of `judge`."""
    return {probe: noted[probe] for probe in _COUNTED if probe in noted}


def baselines(given: Mapping[str, Any]) -> dict[tuple[str, str], Baseline]:
    """Read a baseline; a subject of which too little is known has none.

    :raises CriteriaError: it has another shape.
    """
    found = {}
    try:
        for probe, subjects in given.items():
            for subject, counted in subjects.items():
                blocks = [(float(events), float(trials)) for events, trials in counted["blocks"]]
                estimated = Baseline.of(blocks, float(counted.get("seconds", BLOCK)))
                if estimated is not None:
                    found[probe, subject] = estimated
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CriteriaError(
            'baseline: must be {probe: {subject: {"events": n, "trials": n, "blocks": [[events, trials], ...]}}}'
        ) from error
    return found


def more_frequent(evidence: Mapping[tuple[str, str], Evidence | None]) -> set[tuple[str, str]]:
    """What has become more frequent, by what all subjects of a criterion say: places as a baseline has them.

    What logs say adds nothing to what others do, which decide by themselves.
    """
    others = {place: item for place, item in evidence.items() if place[0] != LOG}
    return {place for place in decisive(evidence) if place[0] == LOG} | set(decisive(others))


class _Comparisons:
    """The counts of every criterion that has some, beside their baselines."""

    def __init__(
        self,
        criteria: Sequence[Criterion],
        kept: Mapping[str, Mapping[str, Any]],
        known_before: Mapping[tuple[str, str], Baseline],
    ) -> None:
        self._tallies: dict[str, Tally] = {}
        self._errors: dict[str, float] = {}
        self._evidence: dict[str, Evidence | None] = {}
        self._latest: dict[str, str] = {}
        self._kept = kept
        for criterion in criteria:
            known = {place: item for place, item in known_before.items() if place[0] in criterion.probes}
            if criterion.counts is None or not known:
                continue
            for (place, item), share in zip(known.items(), shares(list(known.values()))):
                key = " ".join((criterion.id, *place))
                self._errors[key] = criterion.counts.error * share
                try:
                    self._tallies[key] = Tally(item, criterion.counts.growth, kept.get(key))
                    self._latest[key] = str(kept[key]["at"]) if key in kept else ""
                except (KeyError, OverflowError, TypeError, ValueError) as error:
                    raise CriteriaError(_NO_STATE) from error
                self._weigh(key)

    def _weigh(self, key: str) -> None:
        self._evidence[key] = self._tallies[key].evidence(self._errors[key])

    def add(self, criterion: Criterion, item: Observation) -> None:
        """Count what an observation counted; without a baseline there is nothing to compare it with."""
        key = f"{criterion.id} {item.probe} {item.subject}"
        if key not in self._tallies or item.value is None or item.of is None:
            return
        self._tallies[key].add(parse_timestamp(item.at).timestamp(), item.value, item.of)
        self._latest[key] = item.at
        self._weigh(key)

    def _grown(self) -> set[str]:
        """What is found to have become more frequent, by what all subjects of its criterion say."""
        criteria: dict[str, dict[tuple[str, str], Evidence | None]] = {}
        for key, evidence in self._evidence.items():
            identity, probe, subject = key.split(" ", 2)
            criteria.setdefault(identity, {})[probe, subject] = evidence
        return {" ".join((identity, *place)) for identity, items in criteria.items() for place in more_frequent(items)}

    def decided(self) -> list[tuple[str, Observation]]:
        """What is found to have become more frequent, as of now."""
        found, grown = [], self._grown()
        for key, evidence in self._evidence.items():
            if evidence is not None and key in grown:
                _, probe, subject = key.split(" ", 2)
                told, of = round(evidence.events, 1), round(evidence.trials, 1)
                at, detail = self._latest[key], _more(evidence)
                found.append((key, Observation(probe, subject, at, told, "events", ok=False, detail=detail, of=of)))
        return found

    def to_dict(self) -> dict[str, Mapping[str, Any]]:
        """What to remember, also of criteria that are not judged by now."""
        mine = {key: {**tally.to_dict(), "at": self._latest[key]} for key, tally in self._tallies.items()}
        return {**self._kept, **{key: item for key, item in mine.items() if item["at"]}}

    def known(self, criterion: Criterion) -> bool:
        """Whether there is a baseline for anything that a criterion counts."""
        return any(key.startswith(f"{criterion.id} ") for key in self._tallies)

    def shown(self, criterion: Criterion) -> list[dict[str, Any]]:
        """What became more frequent, the strongest evidence first, with all that a person needs to argue with it."""
        found, grown = [], self._grown()
        for key, evidence in self._evidence.items():
            identity, _, rest = key.partition(" ")
            if evidence is None or identity != criterion.id:
                continue
            probe, _, subject = rest.partition(" ")
            before = self._tallies[key].baseline
            numbers = {name: round(value, 4) for name, value in vars(evidence).items() if name != "since"}
            found.append(
                {
                    "probe": probe,
                    "subject": subject,
                    "since": _moment(evidence.since),
                    **numbers,
                    "decided": key in grown,
                    "before": {"events": before.events, "trials": before.trials},
                }
            )
        return sorted(found, key=lambda item: item["threshold"] - item["statistic"])[:_SHOWN]


def _more(evidence: Evidence) -> str:
    return (
        f"{evidence.events:.0f} of {evidence.trials:.0f} since {_moment(evidence.since)}, "
        f"{evidence.expected:.1f} were to be expected"
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _own_breach(criteria: Sequence[Criterion], breaches: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether one of our own probes finds something wrong now, by a criterion that is enforced."""
    enforced = {criterion.id for criterion in criteria if criterion.mode == "enforce"}
    parts = (key.split(" ", 2) for key, items in breaches.items() if items)
    return any(identity in enforced and probe in OWN for identity, probe, *_ in parts)


def _overall(enforced: Sequence[Finding]) -> str:
    """Sum up; what nobody asked to see leaves nothing open."""
    if any(finding.verdict == ROLLBACK for finding in enforced):
        return ROLLBACK
    return INCONCLUSIVE if any(finding.count or finding.missing for finding in enforced) else HOLD


def _finding(criterion: Criterion, state: State, comparisons: _Comparisons, *, deadline: bool) -> Finding:
    mine = _runs(criterion, state)
    worst: Sequence[Mapping[str, Any]] = mine[-1] if mine else ()
    looked = [probe for probe in criterion.probes if f"{criterion.id} {probe}" in state.seen]
    wanted = (*criterion.required, *(probe for probe in criterion.attempted if probe in state.tried))
    missing = tuple(probe for probe in dict.fromkeys(wanted) if probe not in looked)
    compared = comparisons.shown(criterion)
    grown = [item for item in compared if item["decided"]]
    count = len(worst)
    if len(worst) >= criterion.looks:
        confirmed = [items[-1] for items in reversed(mine) if len(items) >= criterion.looks]
        verdict, reason = ROLLBACK, "; ".join(_words(criterion, item) for item in confirmed)
        if _to_more(criterion, confirmed, state):
            verdict, reason = INCONCLUSIVE, f"going back is worse, a person decides: {reason}"
    elif grown:
        count, verdict = 1, INCONCLUSIVE
        more = "; ".join(f"{item['subject']}: {item['events']:.0f}, {item['expected']:.1f} expected" for item in grown)
        reason = f"the log alone does not decide, no probe of ours finds anything wrong: {more}"
    elif missing:
        verdict = ROLLBACK if deadline else INCONCLUSIVE
        reason = f"no evidence of {', '.join(missing)}" + (" at the deadline" if deadline else " yet")
    elif worst:
        verdict = ROLLBACK if deadline else INCONCLUSIVE
        reason = f"{len(worst)} of {criterion.looks} looks: {_words(criterion, worst[-1])}"
    elif criterion.counts and looked and not comparisons.known(criterion):
        verdict, reason = INCONCLUSIVE, "there is no baseline to compare with"
    else:
        verdict = HOLD if looked else INCONCLUSIVE
        reason = f"seen well: {', '.join(sorted(looked))}" if looked else "no evidence"
    return Finding(
        criterion.id,
        criterion.title,
        criterion.mode,
        verdict,
        reason,
        count,
        criterion.looks,
        missing,
        criterion.over,
        tuple(item for items in mine for item in items),
        tuple(compared),
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
