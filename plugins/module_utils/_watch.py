# SPDX-License-Identifier: GPL-3.0-or-later
"""The host looks after a release that stands: it looks, judges, tells people, and goes back where that loses nothing.

watch/state.json      what is remembered from one look to the next
watch/looks.jsonl     a line a look; the older half is looks.1.jsonl
watch/alerts.jsonl    what people were told
"""

from __future__ import annotations

import json
import resource
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _alert as alert
from ._armed import OWNER, take_back
from ._bounded import bounded
from ._certificate import DOWN
from ._criteria import ROLLBACK, Criterion, Finding, State, Verdict, counted_before, judge, parse
from ._errors import LockedError, SlipwayError
from ._files import entries, write_file
from ._guard import WATCH, Guard, cannot_arm, packed
from ._ledger import WATCHED, Watch
from ._maintenance import Maintenance
from ._metrics import ended, render
from ._observation import NEW, VULNERABILITY, WAY_BACK
from ._plan_rollback import migrations_to_undo, way_back
from ._probe import Request, prober
from ._profile import secrets
from ._scorecard import socket_error
from ._vulnerabilities import Policy

if TYPE_CHECKING:
    from ._ledger import State as LedgerState
    from ._observation import Observation
    from ._site import Site

# A breach counts when so many looks in a row saw it; the later ones follow after so many seconds.
LOOKS, AGAIN = 3, 30.0
# What is looked at each time, and what after so many seconds.
EACH_TIME = ("services", "workers", "health", "pages", "jobs", "figures", "logs")
SELDOM = {"data": 600.0, "exposure": 3600.0, "queries": 600.0}
# Reports of scanners on the host: read when they have changed.
REPORTS = "vulnerabilities"
# A health document that was made so many seconds ago says nothing about now.
STALE = 3600.0
# So many looks in a row without a kind of evidence are told; so large a share must have had all for a proof.
BLIND, SHARE = 5, 0.9
# How often a way back is begun that a reboot or the like cuts short.
TRIES = 3
# What only warns is told once, and anew after so many looks in a row that saw it well.
WELL = 10
PROVEN, UNPROVEN, WARNING = "proven", "unproven", "warning"
FLOW = "flow"
_LONGEST_LOG = 2_000_000
_LONGEST_REASON = 400
# So many breaches in a row of one subject are remembered, or as many as its criterion takes.
_MOST_BREACHES = 100
# So many alerts, and so many things that were not well, are shown to people.
_SHOWN = 5
_PATIENT = 60.0


@dataclass
class Memory:
    """What one look leaves to the next, ready for JSON.

    :param judged: the judge's state.
    :param restarts: how often each container had restarted.
    :param counted: what the probes counted.
    :param looks: how many there were; `whole` of them had all the evidence that is required.
    :param at: when each kind was last looked at, in seconds since the epoch; "" stands for any.
    :param blind: looks in a row without a required kind.
    :param warned: criteria that only warn, and did; for each the looks in a row that saw it well since. Flows, too.
    :param waits: what reports of scanners say that a person has to decide, and in how many looks in a row they said so.
    :param pending: what has still to be told, and by which channel.
    :param tried: how often the release was begun to be taken back.
    """

    release: str
    judged: dict[str, Any] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    counted: dict[str, Any] = field(default_factory=dict)
    looks: int = 0
    whole: int = 0
    at: dict[str, float] = field(default_factory=dict)
    blind: dict[str, int] = field(default_factory=dict)
    warned: dict[str, int] = field(default_factory=dict)
    waits: dict[str, int] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)
    tried: int = 0


def begin(  # noqa: PLR0913, PLR0917 - what a watch is told
    site: Site,
    version: str,
    application: Mapping[str, Any],
    criteria: Sequence[Any],
    undo_timeout: float,
    security: Mapping[str, Any],
) -> str | None:
    """Let the host look after `version` from now on; returns why it does not, where it cannot.

    :param application: the profile as it was given, with the login: the pages lie behind it.
    :param undo_timeout: seconds for one command that undoes migrations.
    :param security: what counts of the reports of scanners, as `Policy` has it; empty for its defaults.
    """
    policy = site.profile.watch
    if not policy.hours:
        return None
    if cannot_arm() is not None:
        return "systemd does not run here: nobody looks after the release but you, by playbooks/monitor.yml"
    given = {name: value for name, value in application.items() if value is not None}
    settings = {"application": given, "criteria": list(criteria), "timeout": undo_timeout}
    settings["security"] = asdict(Policy.from_dict(security))
    directory = site.ledger.root / "watch"
    directory.mkdir(mode=0o700, exist_ok=True)
    _remember(directory, Memory(version))
    Guard(site).start(packed(), WATCH, settings, policy.every)
    now = time.time()
    site.ledger.update(watch=Watch(version, now, now + policy.hours * 3600))
    return None


def look(site: Site, settings: Mapping[str, Any]) -> tuple[str, int]:
    """Look once; returns what was found, in words, and the exit code of a release that did not prove itself."""
    watch = site.ledger.state().watch
    return ("nothing to watch", 0) if watch is None else _Watcher(site, settings, watch).look()


def told(site: Site) -> dict[str, Any] | None:
    """How the watch stands, for people; None when nothing is watched."""
    watch = site.ledger.state().watch
    if watch is None:
        return None
    memory = _recall(site.ledger.root / "watch", watch.release)
    left = max(0.0, watch.until - time.time())
    return {
        "release": watch.release,
        "hours_left": round(left / 3600, 1),
        "looks": memory.looks,
        "breach": watch.breach,
        "not_told": len(memory.pending),
    }


def saw(site: Site) -> list[str]:
    """What the host has seen and told by itself of the release that stands, in a few lines for people."""
    state, root = site.ledger.state(), site.ledger.root / "watch"
    if state.watch is None:
        watches = [item for item in state.history if item["event"] == WATCHED and item["release"] == state.current]
        if not watches:
            return [f"the host looks after nothing: {state.current or 'no release'} stands, and no watch of it began"]
        version, last = str(state.current), watches[-1]
        lines = [f"{version} was watched until {last['at']}: {last['outcome']}, {last['reason']}"]
    else:
        version, memory = state.watch.release, _recall(root, state.watch.release)
        left, looks = max(0.0, state.watch.until - time.time()) / 3600, f"{memory.looks} looks, {memory.whole} saw all"
        lines = [f"{version} is watched for {left:.1f} h more: {looks} they had to"]
        looked = deque(entries(root / "looks.jsonl"), 1)
        lines += [f"last look {item['at']}: {_told_of(item)}" for item in looked if memory.looks]
        blind = sorted(kind for kind, looks in memory.blind.items() if looks >= BLIND)
        lines += [f"no evidence of {', '.join(blind)}"] if blind else []
        lines += [f"breach: {state.watch.breach}"] if state.watch.breach else []
        lines += [f"{len(memory.pending)} messages could not be handed over yet"] if memory.pending else []
    alerts = [item for item in entries(root / "alerts.jsonl") if item.get("release") == version]
    return lines + [f"told {item['at']}: {item['event']}: {item['reason']}" for item in alerts[-_SHOWN:]]


def _told_of(look: Mapping[str, Any]) -> str:
    """What a look saw, in words."""
    bad = dict.fromkeys(f"{item['subject']}: {item['detail']}" for item in look["not_ok"] if item["ok"] is False)
    return "; ".join([str(look["verdict"]), *list(bad)[:_SHOWN]])


def lossless(site: Site, version: str) -> str | None:
    """Why going back from `version` might lose something, or cannot be done at all; None when it loses nothing."""
    try:
        _, before = way_back(site, site.ledger.state())
        if before.version is None:
            return f"{version} is the first release here"
        applied = migrations_to_undo(site.database.migrations(), before.migrations)
    except SlipwayError as error:
        return str(error)
    if not applied:
        return None
    certificate = site.ledger.certificate(version)
    if certificate is None or sorted(certificate.migrations) != sorted(applied):
        return f"the way back from {version} was not rehearsed"
    if certificate.may_keep or (certificate.road == DOWN and not certificate.drops):
        return None
    dropped = ", ".join(certificate.drops) or "what came in since"
    return f"going back from {version} would drop {dropped}"


class _Watcher:
    """One look at one site."""

    def __init__(self, site: Site, settings: Mapping[str, Any], watch: Watch) -> None:
        self.site, self.settings, self.watch = site, settings, watch
        self.policy = site.profile.watch
        self.directory = site.ledger.root / "watch"
        given = parse(settings["criteria"])
        # counts have been confirmed by their test
        self.criteria = [item if item.counts else replace(item, looks=max(item.looks, LOOKS)) for item in given]
        self.memory = _recall(self.directory, watch.release)
        # what is in no criterion is not looked at
        asked = any(VULNERABILITY in item.probes for item in self.criteria)
        self.reports = Policy.from_dict(settings["security"]) if asked else None

    def look(self) -> tuple[str, int]:
        state = self.site.ledger.state()
        if self._unfinished(state) and not self.site.ledger.busy():
            return self._go_on()
        at_work = state.run is not None and self.site.ledger.silence() <= state.run.timeout
        if at_work or state.candidate is not None or self.site.ledger.busy():
            return "somebody is at work", 0
        if state.current != self.watch.release:
            return self._leave(state.current)
        now = time.time()
        if now >= self.watch.until:
            return self._close()
        pointless = self._pointless(now)
        if pointless:
            return pointless, 0
        verdict, observations = self._see(now)
        self._log(now, verdict, observations)
        self._tell_blind(observations)
        self._tell_flows(observations)
        self._tell_warnings(verdict, observations)
        self._tell_reports(verdict, observations)
        said = self._act(verdict, observations) if verdict.overall == ROLLBACK else verdict.overall
        self._deliver()
        return said, 0

    def _unfinished(self, state: LedgerState) -> bool:
        """Whether a way back of the host's own was cut short, or failed half way: nobody else goes on with it."""
        run, candidate = state.run, state.candidate
        if run is not None:
            return (run.owner, run.release) == (OWNER, self.watch.release)
        return candidate is not None and candidate.version == self.watch.release and 0 < self.memory.tried < TRIES

    def _leave(self, standing: str | None) -> tuple[str, int]:
        """Watch no more what stands no more."""
        if 0 < self.memory.tried < TRIES:
            # killed when it had gone back, before it could say so
            reason = self.watch.breach or "a way back was cut short"
            self._tell("taken back", reason, what_next=f"{standing} runs")
            self._deliver()
            self._end("taken back", reason)
        else:
            self._end("left", f"{standing} stands now")
        return f"{self.watch.release} stands no more", 0

    def _pointless(self, now: float) -> str | None:
        """Why a look now would say nothing about the release."""
        if 0 <= now - self.memory.at.get("", 0.0) < self.policy.every / 2:
            return "looked a moment ago"
        try:
            return None if Maintenance(self.site).container is None else "the maintenance page is up"
        except SlipwayError:
            # an engine that does not answer is for the probes to find
            return None

    def _see(self, now: float) -> tuple[Verdict, list[Observation]]:
        """Look, and look again after a while at what looks bad: a breach counts when it lasts."""
        due = {**SELDOM, **({"flows": self.policy.flows_every} if self.policy.flows_every else {})}
        # flows are for when the first hour is over: the deploy has just gone through them; a clock may go back
        seldom = [kind for kind, pause in due.items() if not 0 <= now - self.memory.at.setdefault(kind, now) < pause]
        kinds: Sequence[str] = [*EACH_TIME, *([REPORTS] if self.reports else []), *seldom]
        seen: list[Observation] = []
        baseline = counted_before(self.site.ledger.baseline(self.watch.release))
        for _ in range(LOOKS):
            found = self._probe(kinds)
            seen += found
            remembered = State.from_dict(self.memory.judged)
            judged, verdict = judge(self.criteria, remembered, found, baseline=baseline)
            self.memory.judged = judged.to_dict()
            # what breaches a criterion that only warns may do so for a day
            most = max([_MOST_BREACHES, *(item.looks for item in self.criteria)])
            kept = {key: items[-most:] for key, items in self.memory.judged["breaches"].items()}
            self.memory.judged["breaches"] = kept
            if verdict.overall == ROLLBACK or not any(map(self._breaches, found)):
                break
            # flows write, so that they are not gone through again
            kinds = [kind for kind in kinds if kind != "flows"]
            time.sleep(AGAIN)
        self.memory.looks += 1
        self.memory.at.update(dict.fromkeys(["", *seldom], now))
        self._remember()
        return verdict, seen

    def _breaches(self, item: Observation) -> bool:
        """Whether an observation breaches a criterion that is enforced."""
        return any(each.mode == "enforce" and each.breached_by(item) for each in self.criteria)

    def _probe(self, kinds: Sequence[str]) -> list[Observation]:
        hidden = secrets(self.settings["application"])
        # what was logged before is the deploy's affair
        self.memory.counted.setdefault("logs", self.watch.begun)
        looking = prober(self.site.profile, hidden, restarts=self.memory.restarts, counted=self.memory.counted)
        stale = datetime.now(timezone.utc) - timedelta(seconds=STALE)
        found = looking.run(Request(tuple(kinds), since=stale, reports=self.reports))
        self.memory.restarts, self.memory.counted = looking.restarts, looking.counted
        return list(found.observations)

    def _act(self, verdict: Verdict, observations: Sequence[Observation]) -> str:
        """Tell people, then go back, and only where that loses nothing."""
        reason = verdict.message
        if self.memory.tried >= TRIES:
            return f"{reason}; it was tried to go back"
        try:
            with self.site.ledger.locked(_PATIENT):
                state = self.site.ledger.state()
                if state.run is not None and not self.site.ledger.may_take_over(OWNER):
                    return "somebody is at work"
                if state.watch is None or state.current != self.watch.release or state.candidate is not None:
                    return "somebody was at work"
                hindrance = lossless(self.site, self.watch.release) or _no_better(verdict, observations)
                if self.watch.breach is None:
                    self._tell("breach", reason, what_next=hindrance or "the host goes back by itself")
                    self.watch = replace(self.watch, breach=reason)
                    self.site.ledger.update(watch=self.watch)
                if hindrance is not None:
                    return f"{reason}; {hindrance}: a person decides"
                return self._go_back(reason)
        except LockedError:
            return "a process is at work"

    def _go_on(self) -> tuple[str, int]:
        """Go on with a way back that is unfinished, after a reboot or a failure."""
        try:
            with self.site.ledger.locked(_PATIENT):
                state = self.site.ledger.state()
                if not self._unfinished(state):
                    return "somebody was at work", 0
                return self._go_back(self.watch.breach or "a way back was cut short"), 0
        except LockedError:
            return "a process is at work", 0

    def _go_back(self, reason: str) -> str:
        version, ledger = self.watch.release, self.site.ledger
        if self.memory.tried >= TRIES:
            ledger.end_run(OWNER)
            return self._failed(reason, f"it was cut short {TRIES} times")
        self.memory.tried += 1
        self._remember()
        run = ledger.open_run(f"{ledger.stamp()}-watch", "rollback", OWNER, version)
        try:
            take_back(self.site, run, self.settings["timeout"])
        except Exception as error:  # noqa: BLE001 - nobody sees a traceback here: people are told
            return self._failed(reason, str(error))
        standing = ledger.state().current
        self.memory.restarts = {}
        # what the caches hold was made by the release that is gone
        found = self._probe(("warm", *EACH_TIME))
        # what counts since its own release, such as dead jobs, says nothing about now
        bad = [f"{item.subject}: {item.detail}" for item in found if self._breaches(item)]
        after = f"{standing} runs" + (f", and does not hold either: {'; '.join(bad)}" if bad else " and is well")
        self._tell("taken back", reason, what_next=after)
        self._deliver()
        self._end("taken back", reason)
        return f"{reason}; {version} was taken back, {after}"

    def _failed(self, reason: str, why: str) -> str:
        """Tell people that a way back did not come to its end; after TRIES it is left to them."""
        left = self.memory.tried >= TRIES
        told = "playbooks/status.yml says where it stands" if left else "the next look tries it again"
        self._tell("not taken back", why, what_next=told)
        self._deliver()
        return f"{reason}; {self.watch.release} could not be taken back: {why}: {told}"

    def _close(self) -> tuple[str, int]:
        """The time is over: a release has proven itself where enough was seen and nothing asked to go back."""
        expected = (self.watch.until - self.watch.begun) / self.policy.every
        share = self.memory.whole / max(1.0, expected)
        if self.watch.breach is None and share >= SHARE:
            self._end(PROVEN, f"{self.memory.looks} looks")
            return f"{self.watch.release} is proven", 0
        reason = self.watch.breach or f"{self.memory.whole} looks saw all that is required, {expected:.0f} were to be"
        self._tell(UNPROVEN, reason, what_next="playbooks/monitor.yml, then accept it or take it back")
        self._deliver()
        self._end(UNPROVEN, reason)
        return f"{self.watch.release} is unproven: {reason}", 1

    def _end(self, outcome: str, reason: str) -> None:
        ledger, version = self.site.ledger, self.watch.release

        def forget() -> None:
            history = ledger.event(version, WATCHED, by=OWNER, outcome=outcome, reason=reason)
            ledger.update(watch=None, history=history)
            Guard(self.site).end(WATCH)

        self._expose(ended(self._labels, outcome, time.time()))
        if ledger.held:
            forget()
            return
        with ledger.locked(_PATIENT):
            forget()

    def _tell_blind(self, observations: Iterable[Observation]) -> None:
        """Tell people when a kind of evidence stays away that the criteria ask for, and when it is back."""
        enforced = [item for item in self.criteria if item.mode == "enforce"]
        tried, seen = set(), set()
        for item in observations:
            tried.add(item.probe)
            if item.ok is not None:
                seen.add(item.probe)
        # what is looked at seldom is asked for by the looks that looked for it
        required = {kind for item in enforced for kind in item.required}
        required |= {kind for item in enforced for kind in item.attempted if kind in tried}
        self.memory.whole += required <= seen
        for kind in sorted(required):
            before = self.memory.blind.get(kind, 0)
            self.memory.blind[kind] = 0 if kind in seen else before + 1
            if self.memory.blind[kind] == BLIND:
                self._tell("blind", f"no evidence of {kind} in {BLIND} looks", what_next="see watch/looks.jsonl")
            if before >= BLIND and kind in seen:
                self._tell("seeing again", f"evidence of {kind} is back", what_next="nothing")
        self._remember()

    def _tell_warnings(self, verdict: Verdict, observations: Sequence[Observation]) -> None:
        """Tell people once what a criterion that only warns has found, and anew when it was well for a while."""
        for criterion, finding in zip(self.criteria, verdict.findings):
            if criterion.mode != "warn" or finding.verdict != ROLLBACK:
                continue
            name = criterion.id
            if name not in self.memory.warned:
                reason = f"{name} {criterion.title}: {finding.reason}"
                self._tell(WARNING, bounded(reason, _LONGEST_REASON), what_next="nothing is taken back for it")
                self.memory.warned[name] = 0
                continue
            well = _well(criterion, finding, observations)
            if well is not None:
                self.memory.warned[name] = self.memory.warned[name] + 1 if well else 0
            if self.memory.warned[name] >= WELL:
                del self.memory.warned[name]
                breaches = self.memory.judged["breaches"]
                self.memory.judged["breaches"] = {
                    key: items for key, items in breaches.items() if not key.startswith(f"{name} ")
                }
        self._remember()

    def _tell_flows(self, observations: Iterable[Observation]) -> None:
        """Tell people once that a flow fails: the next look at it comes late, and three have to see it."""
        flows = [item for item in observations if item.probe == FLOW and item.ok is not None]
        bad = [f"{item.subject}: {item.detail}" for item in flows if self._breaches(item)]
        if not bad:
            if flows:
                self.memory.warned.pop(FLOW, None)
            return
        if FLOW not in self.memory.warned:
            again = f"it is tried again in {self.policy.flows_every / 60:.0f} min, and counts when {LOOKS} looks saw it"
            self._tell(WARNING, bounded("; ".join(bad), _LONGEST_REASON), what_next=again)
            self.memory.warned[FLOW] = 0

    def _tell_reports(self, verdict: Verdict, observations: Iterable[Observation]) -> None:
        """Tell people once what reports say that decides nothing: nobody can tell what is new, or going back is worse.

        A report that is just being written says so, too, so that three looks have to see it.
        """
        unclear = [item.detail for item in observations if _is_count(item) and item.ok is None]
        worse = [
            f"{item.id} {item.title}: {item.reason}"
            for item in verdict.findings
            if item.mode == "enforce" and item.verdict != ROLLBACK and _confirmed(item) == {VULNERABILITY}
        ]
        reason = bounded("; ".join([*worse, *unclear[-1:]]), _LONGEST_REASON)
        self.memory.waits = {reason: self.memory.waits.get(reason, 0) + 1} if reason else {}
        if self.memory.waits.get(reason) == LOOKS:
            self._tell(WARNING, reason, what_next="nothing is taken back for it: a person decides")
        self._remember()

    def _tell(self, event: str, reason: str, *, what_next: str) -> None:
        message = {
            "at": self.site.ledger.now(),
            "host": socket.gethostname(),
            "application": self.site.profile.name,
            "release": self.watch.release,
            "event": event,
            **self.site.hidden({"reason": reason, "next": what_next}),
        }
        alert.note(self.directory / "alerts.jsonl", message)
        self.memory.pending += [{"channel": name, "message": message} for name in alert.channels(self.policy.alert)]
        self._remember()

    def _deliver(self) -> None:
        if not self.memory.pending:
            return
        self.memory.pending, problems = alert.deliver(self.policy.alert, self.memory.pending)
        for problem in problems:
            alert.note(
                self.directory / "alerts.jsonl", {"at": self.site.ledger.now(), "not_told": self.site.hidden(problem)}
            )
        self._remember()

    def _remember(self) -> None:
        _remember(self.directory, self.memory)

    def _log(self, now: float, verdict: Verdict, observations: Sequence[Observation]) -> None:
        path = self.directory / "looks.jsonl"
        if path.exists() and path.stat().st_size > _LONGEST_LOG / 2:
            path.replace(self.directory / "looks.1.jsonl")
        bad = [item.to_dict() for item in observations if item.ok is not True]
        pages = {item.subject: item.value for item in observations if item.probe == "page"}
        seen = sorted({item.probe for item in observations if item.ok is not None})
        line: dict[str, Any] = {"at": self.site.ledger.now(), "verdict": verdict.overall, "seen": seen}
        line.update(pages=pages, not_ok=bad, cost=_cost())
        sockets = [item for item in map(asdict, observations) if socket_error(item)]
        if sockets:
            # a few are no reason to go back, and all of them one in the scorecard
            line["sockets"] = sockets
        with path.open("a", encoding="utf-8") as stream:
            path.chmod(0o600)
            stream.write(json.dumps(line) + "\n")
        self._expose(render(self._labels, (now, self.watch.until), verdict, observations))

    @property
    def _labels(self) -> dict[str, str]:
        return {"application": self.site.profile.name, "release": self.watch.release}

    def _expose(self, text: str) -> None:
        """Let the node exporter read what Prometheus is to know."""
        if self.policy.textfile_directory is not None:
            place = Path(self.policy.textfile_directory) / f"slipway_{self.site.profile.name}.prom"
            # another user reads it
            write_file(place, text.encode(), mode=0o644)


def _well(criterion: Criterion, finding: Finding, observations: Iterable[Observation]) -> bool | None:
    """Whether a look saw nothing that breaches a criterion; None when it did not see what the criterion is about."""
    if criterion.counts is not None:
        seen = any(item.probe in criterion.probes and item.of is not None for item in observations)
        return not any(item["decided"] for item in finding.compared) if seen else None
    answers = [answer for answer in map(criterion.breached_by, observations) if answer is not None]
    return not any(answers) if answers else None


def _is_count(item: Observation) -> bool:
    """Whether an observation says how many vulnerabilities are new."""
    return item.probe == VULNERABILITY and item.subject == NEW


def _confirmed(finding: Finding) -> set[str]:
    """The kinds of which enough looks in a row saw a breach."""
    counts = Counter((item["probe"], item["subject"]) for item in finding.observations)
    return {probe for (probe, _), count in counts.items() if count >= finding.looks}


def _no_better(verdict: Verdict, observations: Sequence[Observation]) -> str | None:
    """Why known vulnerabilities alone are no reason to go back by itself; None where something else asks for it, too.

    Reports have to say now that one is new, and that the release before has no more of them.
    """
    asking = [item for item in verdict.findings if item.mode == "enforce" and item.verdict == ROLLBACK]
    if set().union(*map(_confirmed, asking)) != {VULNERABILITY}:
        return None
    known = {item.subject: item for item in observations if item.probe == VULNERABILITY}
    new, back = known.get(NEW), known.get(WAY_BACK)
    if new is None or back is None or new.ok is not False:
        return "no report says any more that going back is better"
    return f"nobody knows what going back would bring back: {back.detail}" if back.ok is None else None


def _cost() -> dict[str, float]:
    """What this look has taken: seconds of processor time, those of the commands that it ran, and bytes of memory."""
    own, commands = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "own": round(own.ru_utime + own.ru_stime, 3),
        "commands": round(commands.ru_utime + commands.ru_stime, 3),
        "memory": own.ru_maxrss * 1024,
    }


def _remember(directory: Path, memory: Memory) -> None:
    write_file(directory / "state.json", (json.dumps(vars(memory)) + "\n").encode())


def _recall(directory: Path, release: str) -> Memory:
    """What the look before left; a new beginning where it is about another release, or cannot be read."""
    try:
        memory = Memory(**json.loads((directory / "state.json").read_text("utf-8")))
        State.from_dict(memory.judged)
    except (FileNotFoundError, ValueError, TypeError, AttributeError, SlipwayError):
        return Memory(release)
    new = Memory(release)
    shaped = all(type(vars(memory)[name]) is type(value) for name, value in vars(new).items())
    numbers = (memory.restarts, memory.at, memory.blind, memory.warned, memory.waits) if shaped else ()
    whole = all(isinstance(value, (int, float)) for each in numbers for value in each.values())
    return memory if shaped and whole and memory.release == release else new
