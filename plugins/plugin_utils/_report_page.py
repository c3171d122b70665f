# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a release: what a page shows of its history, put into words and figures for the template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from statistics import median
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._certificate import CODE, DOWN, RESTORE
from ansible_collections.slipway.release.plugins.module_utils._observation import PROBES, parse_timestamp
from ansible_collections.slipway.release.plugins.module_utils._scorecard import (
    FAIL,
    FAILED,
    MIXED,
    PASS,
    SUCCESS,
    UNKNOWN,
)
from jinja2 import Environment, StrictUndefined

from ._report_chart import charts

GOOD, BAD, UNSURE, PLAIN = "good", "bad", "unsure", "plain"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_KINDS = {
    "page": "Pages",
    "health": "Health",
    "flow": "Critical flows",
    "service": "Services",
    "worker": "Workers",
    "cache": "Caches",
    "migration": "Migrations",
    "backup": "Backup",
    "rehearsal": "Rehearsal",
    "data": "Data",
    "schema": "Schema",
    "exposure": "What stands open",
    "vulnerability": "Known vulnerabilities",
    "log": "Log signatures",
    "job": "Jobs",
    "latency": "Latency",
    "query": "Slow queries",
    "figure": "Figures of the application",
}
_PLANS = {
    "adopt": "Adopt what ran",
    "stage": "Stage",
    "backup": "Back up",
    "rehearse": "Rehearse",
    "migrate": "Migrate",
    "switch": "Switch",
    "rollback": "Go back",
    "conclude": "Conclude",
    "accept": "Accept",
}
_ROADS = {
    DOWN: "its migrations are taken down",
    CODE: "the release before runs on the schema as it is",
    RESTORE: "the backup is restored",
}
_VERDICTS = {"hold": ("holds", GOOD), "rollback": ("go back", BAD), "inconclusive": ("undecided", UNSURE)}
_MODES = {"enforce": "decides", "warn": "warns only", "shadow": "is shown only"}
_RESULTS = {PASS: ("holds", GOOD), FAIL: ("fails", BAD), UNKNOWN: ("unknown", UNSURE)}
_OUTCOMES = {SUCCESS: GOOD, MIXED: UNSURE, FAILED: BAD, UNKNOWN: UNSURE}
_DELIVERED = {"sent": GOOD, "failed": BAD}
_UNSENT = {"unknown": "may have been sent", "prepared": "not sent yet"}
_SCORES = {-1: ("bad", BAD), 0: ("neutral", PLAIN), 1: ("good", GOOD)}
# What the judge says of a criterion today; whatever else it comes to say is shown as it stands.
_FINDING = ("id", "title", "mode", "verdict", "reason", "count", "looks", "missing", "threshold", "observations")
_MOST_ROWS, _MOST_QUOTES, _LONGEST = 25, 20, 400


@dataclass(frozen=True)
class Report:
    """What the page is made of.

    :param site: what the site is called in the inventory.
    :param history: what the ledger knows of the release.
    :param scorecard: how it did.
    :param assessed: when and by whom that was kept.
    :param host: the host as a support archive shows it, where the page is made from one.
    :param announced: what customers were told of the release; None where nobody looked.
    """

    site: str
    history: Mapping[str, Any]
    scorecard: Mapping[str, Any]
    assessed: Mapping[str, Any] | None = None
    host: Mapping[str, Any] | None = None
    announced: Sequence[Mapping[str, Any]] | None = None

    @property
    def version(self) -> str:
        """The release."""
        return str(self.history["version"])

    @cached_property
    def deployed(self) -> Mapping[str, Any] | None:
        """The event with which it came in last."""
        return self._event("deployed")

    @cached_property
    def run(self) -> Mapping[str, Any] | None:
        """The deploy that the page tells of: the newest, but one that came to nothing hides none that was judged."""
        runs = [item for item in self.history["runs"] if item["verb"] == "deploy"]
        judged = [item for item in runs if item["verdict"]]
        return next(iter(runs if self.history["phase"] is not None or not judged else judged), None)

    def _event(self, what: str) -> Mapping[str, Any] | None:
        own = [item for item in self.history["history"] if item["release"] == self.version and item["event"] == what]
        return own[-1] if own else None

    @cached_property
    def status(self) -> tuple[str, str]:
        """How the release stands, in two words at most, and the tone."""
        if self.history["gone"] is not None:
            return ("taken back" if self.history["gone"].startswith("taken") else "stopped"), BAD
        if self.history["phase"] is not None:
            return "half done", UNSURE
        if self.history["current"] != self.version:
            return ("replaced", PLAIN) if self.deployed is not None or self.history["adopted"] else ("not in", BAD)
        if self.deployed is None:
            return "adopted", PLAIN
        return self._watched

    @property
    def _watched(self) -> tuple[str, str]:
        """What the host found of a release that stands."""
        watch = self.history["watch"]
        if watch is None or watch["outcome"] == "left":
            return "stands", GOOD
        if watch["breach"] is not None:
            return "in breach", BAD
        return {"proven": ("proven", GOOD), "unproven": ("unproven", UNSURE)}.get(watch["outcome"], ("watched", GOOD))

    @cached_property
    def sentence(self) -> str:
        """What happened."""
        name = f"{self.history['application']} {self.version}"
        word, _ = self.status
        runs = f"{self.history['current']} runs" if self.history["current"] else "nothing runs"
        if word in {"taken back", "stopped"}:
            when = self._event(word)
            reason = self.history["gone"].partition(": ")[2]
            return f"{name} was {word}{_at(when)}, {runs}. {reason}"
        if word == "half done":
            return f"{name} is on its way in or was left half done; it has reached the phase {self.history['phase']}."
        if word == "not in":
            return f"{name} was tried and did not come in; {runs}."
        if word == "adopted":
            return f"{name} ran here before Slipway came, and was adopted."
        if word == "replaced":
            came = f"stood{_at(self.deployed, ' from ')}" if self.deployed is not None else "stood"
            return f"{name} {came} until another release took its place; {runs}."
        return f"{name} {self._came_in}{self._since}"

    @property
    def _came_in(self) -> str:
        event = self.deployed or {}
        taken = f"took the place of {event['from']}" if event.get("from") else "was installed"
        seconds = _seconds(self.run)
        return f"{taken}{_at(event)}" + (f", {span(seconds)} after its gates were passed" if seconds else "")

    @property
    def _since(self) -> str:
        watch = self.history["watch"]
        word, _ = self.status
        if watch is None:
            return "; the host did not look after it."
        if word == "in breach":
            return f", and went wrong since: {watch['breach']}"
        if word == "proven":
            return f", was watched for {span(_between(watch['begun'], watch['ended']))} and has proven itself."
        if word == "unproven":
            return f", and did not prove itself: {watch['reason']}"
        return f"; the host looks after it until {moment(watch['until'])}." if watch["until"] else "."

    @property
    def outcome(self) -> str:
        """How it did, on one line."""
        reasons = "; ".join(self.scorecard["reasons"])
        return f"scorecard: {self.scorecard['outcome']}" + (f": {reasons}" if reasons else "")


def render(template: str, report: Report) -> str:
    """Return the page. Whatever comes from outside is text there, never markup."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(moment=moment, brief=brief)
    return environment.from_string(template).render(view(report)) + "\n"


def view(report: Report) -> dict[str, Any]:
    """What the template shows, section by section."""
    history, run = report.history, report.run
    word, tone = report.status
    phases = timeline(history["journal"], run) if run is not None else []
    return {
        "report": report,
        "status": {"word": word, "tone": tone},
        "facts": list(_facts(report)),
        "score": _score(report),
        "phases": phases,
        "phases_took": span(_seconds(run)) if run is not None and _seconds(run) else None,
        "criteria": [_criterion(item) for item in ((run or {}).get("verdict") or {}).get("criteria", ())],
        "verdict": _VERDICTS.get(str(((run or {}).get("verdict") or {}).get("overall"))),
        "charts": charts(_deploy_pages(run), _watch_pages(history["watch"]), _limit(run)),
        "watch": _watch(history["watch"]),
        "kinds": _kinds(run, history["watch"]),
        "backups": [{**item, "size": size(item["bytes"])} for item in history["backups"]],
        "certificate": _certificate(history["certificate"]),
        "plan": history["plan"],
        "pushed_back": [_pushed_back(item) for item in reversed(history["journal"]) if item.get("pushed_back")],
        "alerts": list(reversed(history["alerts"])),
        "told": history["told"],
        "announced": None if report.announced is None else [_announced(item) for item in report.announced],
        "events": [_event(item) for item in reversed(history["history"])],
        "met": history["met_before"],
        "runs": [_run(item) for item in history["runs"]],
        "host": None if report.host is None else {"at": report.host["at"], "tables": list(_host(report.host))},
    }


def _announced(item: Mapping[str, Any]) -> dict[str, Any]:
    state = str(item["state"])
    return {**item, "tone": _DELIVERED.get(state, UNSURE), "state": _UNSENT.get(state, state)}


def moment(text: object) -> str:
    """A time for people; what is none as it stands."""
    return _written(text, "%-d %b %Y, %H:%M:%S UTC")


def brief(text: object) -> str:
    """A time where there is little room."""
    return _written(text, "%-d %b, %H:%M")


def _written(text: object, form: str) -> str:
    try:
        return f"{parse_timestamp(str(text)):{form}}"
    except ValueError:
        return str(text or "not known")


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 1:
        return "under 1 s"
    for unit, length, until in (("s", 1, 2 * _MINUTE), ("min", _MINUTE, 2 * _HOUR), ("h", _HOUR, 3 * _DAY)):
        if seconds < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / _DAY:.0f} days"


def size(count: float | None) -> str:
    """Bytes for people."""
    if count is None:
        return "not known"
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count:.0f} bytes"


def figure(value: object, unit: object) -> str:
    """A value with its unit; nothing where there is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return ""
    text = f"{value:.2f}" if isinstance(value, float) and value != int(value) else f"{value:.0f}"
    return f"{text} {unit}" if unit else text


def _between(begun: object, ended: object) -> float:
    try:
        return (parse_timestamp(str(ended)) - parse_timestamp(str(begun))).total_seconds()
    except ValueError:
        return 0.0


def _seconds(run: Mapping[str, Any] | None) -> float:
    return _between(run["started"], run["ended"]) if run is not None else 0.0


def _at(event: Mapping[str, Any] | None, word: str = " on ") -> str:
    return f"{word}{moment(event['at'])}" if event else ""


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    history, run = report.history, report.run
    if history["commit"]:
        yield "Commit", history["commit"][:12]
    if history["replaced"]:
        yield "Release before", history["replaced"]
    yield "Runs now", history["current"] or "nothing"
    if run is not None:
        yield "Deployed by", run["owner"]
    first, *others = history["migrations"] or ["none"]
    yield "Migrations", f"{first} and {len(others)} more" if others else first
    certificate = history["certificate"]
    if certificate is not None:
        yield "Way back", _ROADS.get(certificate["road"], certificate["road"])


def _score(report: Report) -> dict[str, Any]:
    card = report.scorecard
    feedback = card.get("feedback") or {}
    measures = [
        dict(item, word=_RESULTS[item["result"]][0], tone=_RESULTS[item["result"]][1]) for item in card["measures"]
    ]
    voices = [
        {**item, "word": _SCORES[item["score"]][0], "tone": _SCORES[item["score"]][1]}
        for item in (feedback.get("feedback") or ())[:_MOST_QUOTES]
    ]
    return {
        "outcome": card["outcome"],
        "tone": _OUTCOMES[card["outcome"]],
        "reasons": card["reasons"],
        "measures": measures,
        "assessed": report.assessed,
        "bugs": (feedback.get("bugs") or ())[:_MOST_QUOTES],
        "voices": voices,
        "issues": (feedback.get("issues") or ())[:_MOST_QUOTES],
    }


@dataclass(frozen=True)
class Phase:
    """A part of a deploy as a bar: where it begins and how long it is, in hundredths of the whole."""

    name: str
    tone: str
    seconds: float
    steps: tuple[str, ...]
    left: float
    width: float

    @property
    def took(self) -> str:
        """How long it took, for people."""
        return span(self.seconds)


@dataclass
class _Part:
    name: str
    begun: str
    ended: str
    tone: str = GOOD
    steps: list[str] = field(default_factory=list)


def timeline(journal: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> list[Phase]:
    """The phases of a deploy, by what the journal has of its steps; what lies after the switch is its proof."""
    ended = run["ended"] or (run.get("interrupted") or {}).get("at")
    own = [item for item in journal if run["started"] <= item["at"] and (not ended or item["at"] <= ended)]
    parts = [_part(plan, list(items)) for plan, items in groupby(own, key=lambda item: str(item.get("plan")))]
    if not parts:
        return []
    ended = ended or parts[-1].ended
    switched = max((number for number, part in enumerate(parts) if part.name == _PLANS["switch"]), default=None)
    if switched is not None:
        until = parts[switched + 1].begun if switched + 1 < len(parts) else ended
        parts.insert(switched + 1, _Part("Prove", parts[switched].ended, until, PLAIN, ["warm", "smoke test", "watch"]))
    whole = max(_between(parts[0].begun, max(part.ended for part in parts)), 1.0)
    return [
        Phase(
            part.name,
            part.tone,
            _between(part.begun, part.ended),
            tuple(part.steps),
            round(100 * _between(parts[0].begun, part.begun) / whole, 2),
            round(max(100 * _between(part.begun, part.ended) / whole, 0.8), 2),
        )
        for part in parts
    ]


def _part(plan: str, items: Sequence[Mapping[str, Any]]) -> _Part:
    failed = [f"{item.get('step')}: {item.get('reason')}" for item in items if item.get("event") == "failed"]
    done = [str(item.get("step")) for item in items if item.get("event") == "done"]
    open_ended = {item.get("step") for item in items if item.get("event") == "begin"}
    open_ended -= {item.get("step") for item in items if item.get("event") in {"done", "failed"}}
    broken = [*failed, *(f"{step}: did not end" for step in sorted(map(str, open_ended)))]
    name = _PLANS.get(plan, plan.capitalize())
    return _Part(name, items[0]["at"], items[-1]["at"], BAD if broken else GOOD, [*done, *broken])


def _criterion(item: Mapping[str, Any]) -> dict[str, Any]:
    word, tone = _VERDICTS.get(str(item.get("verdict")), (str(item.get("verdict")), PLAIN))
    observations = item.get("observations") or ()
    unit = next((seen.get("unit") for seen in observations if seen.get("unit")), "")
    threshold, looks = item.get("threshold"), item.get("looks") or 1
    return {
        "id": item.get("id"),
        "title": item.get("title"),
        "word": word,
        "tone": tone if item.get("mode") == "enforce" or tone == GOOD else UNSURE,
        "mode": _MODES.get(str(item.get("mode")), str(item.get("mode"))),
        "reason": item.get("reason"),
        "statistic": f"{item.get('count') or 0} of {looks} breaches in a row",
        "threshold": "anything not well" if threshold is None else f"above {figure(threshold, unit)}",
        "more": [(name, _plain(value)[:_LONGEST]) for name, value in item.items() if value and name not in _FINDING],
        "observations": [
            {**seen, "figure": figure(seen.get("value"), seen.get("unit"))} for seen in observations if seen
        ],
    }


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _deploy_pages(run: Mapping[str, Any] | None) -> list[tuple[str, str, float]]:
    seen = (run or {}).get("observations") or ()
    return [
        (item["subject"], item["at"], item["value"])
        for item in seen
        if item["probe"] == "page" and item["unit"] == "s" and item["value"] is not None
    ]


def _watch_pages(watch: Mapping[str, Any] | None) -> list[tuple[str, str, float]]:
    points = watch["points"] if watch is not None else ()
    return [(page, item["at"], value) for item in points for page, value in item["pages"].items()]


def _limit(run: Mapping[str, Any] | None) -> float | None:
    """The seconds above which a page is a reason to go back."""
    criteria = ((run or {}).get("verdict") or {}).get("criteria", ())
    limits = [item["threshold"] for item in criteria if item.get("threshold") and item.get("mode") == "enforce"]
    return min(limits) if limits else None


def _watch(watch: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if watch is None:
        return None
    tones = {"hold": GOOD, "rollback": BAD}
    strip = [
        {"tone": tones.get(item["verdict"], UNSURE), "left": number} for number, item in enumerate(watch["points"])
    ]
    ended = {"proven": GOOD, "unproven": UNSURE, "taken back": BAD}
    running = ("in breach", BAD) if watch["breach"] is not None else ("goes on", GOOD)
    outcome = watch["outcome"]
    word, tone = running if outcome is None else (outcome, ended.get(outcome, PLAIN))
    return {
        **watch,
        "word": word,
        "tone": tone,
        "strip": [item for item in strip if item["tone"] != GOOD],
        "width": max(len(strip), 1),
        "span": span(_between(watch["begun"], watch["ended"] or watch["last"] or watch["begun"])),
    }


def _kinds(run: Mapping[str, Any] | None, watch: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What was seen, by kind; a kind that nobody thought of yet comes last, under its own name."""
    seen = (run or {}).get("observations") or ()
    watched = watch["subjects"] if watch is not None else ()
    counted = watch["kinds"] if watch is not None else {}
    names = {item["probe"] for item in (*seen, *watched)} | set(counted)
    order = [*(name for name in PROBES if name in names), *sorted(names - set(PROBES))]
    found = []
    for name in order:
        rows = [*_in_deploy([item for item in seen if item["probe"] == name])]
        rows += _in_watch([item for item in watched if item["probe"] == name])
        kind = counted.get(name)
        note = None if kind is None else f"Seen in {kind['seen']} looks of the watch, not well in {kind['bad']}."
        bad = any(row["tone"] == BAD for row in rows)
        found.append(
            {
                "title": _KINDS.get(name, name.capitalize()),
                "tone": BAD if bad else GOOD,
                "note": note,
                "rows": rows[:_MOST_ROWS],
                "more": max(0, len(rows) - _MOST_ROWS),
            }
        )
    return found


def _in_deploy(items: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for subject in dict.fromkeys(item["subject"] for item in items):
        own = [item for item in items if item["subject"] == subject]
        bad = [item for item in own if item["ok"] is False]
        telling = (bad or own)[-1]
        ok = False if bad else telling["ok"]
        values = [item["value"] for item in own if item["value"] is not None]
        value = figure(telling["value"], telling["unit"])
        if len(values) > 1 and telling["unit"] == "s":
            value = f"median {figure(float(median(values)), 's')}, at most {figure(float(max(values)), 's')}"
        yield _row(subject, "deploy", ok, value, telling["detail"])


def _in_watch(items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        counts = [
            f"{item[name]} x {word}" for name, word in (("bad", "not well"), ("unseen", "not seen")) if item[name]
        ]
        detail = f"{', '.join(counts)}, last {moment(item['last'])}: {item['detail']}"
        yield _row(
            item["subject"], "watch", False if item["bad"] else None, figure(item["value"], item["unit"]), detail
        )


def _row(subject: str, when: str, ok: object, value: str, detail: str) -> dict[str, Any]:
    word, tone = {True: ("well", GOOD), False: ("not well", BAD)}.get(ok, ("not seen", UNSURE))  # type: ignore[call-overload]  # None is neither
    return {"subject": subject, "when": when, "word": word, "tone": tone, "value": value, "detail": detail}


def _certificate(certificate: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if certificate is None:
        return []
    took = ", ".join(f"{name} {span(seconds)}" for name, seconds in certificate["seconds"].items())
    code = {None: "was not tried", True: "passes its critical flows"}
    old = certificate["old_code_wrong"]
    lines = [
        ("Tried on", f"a copy of this site's data, backup {certificate['backup']}"),
        ("Result", certificate["failed"] or "; ".join(certificate["losses"]) or "good"),
        ("Way back", _ROADS.get(certificate["road"], certificate["road"])),
        ("Release before on the new schema", code.get(None if old is None else old == []) or "; ".join(old or ())),
        ("Destroyed on purpose", "; ".join(certificate["destroyed"])),
        ("Written anew", ", ".join(certificate["rewritten"])),
        ("Locks", ", ".join(f"{table}: {lock}" for table, lock in certificate["locks"].items())),
        (
            "Rows written",
            ", ".join(f"{table} {sum(map(int, counts))}" for table, counts in certificate["writes"].items()),
        ),
        ("Took", took),
        ("Notes", "; ".join(certificate["notes"])),
    ]
    return [(name, text) for name, text in lines if text]


def _pushed_back(item: Mapping[str, Any]) -> dict[str, Any]:
    named = item.get("at_work") or []
    more = f" and {len(named) - _MOST_QUOTES} more" if named[_MOST_QUOTES:] else ""
    return {
        "at": item["at"],
        "plan": _PLANS.get(str(item.get("plan")), str(item.get("plan")).capitalize()),
        "jobs": item["pushed_back"],
        "at_work": f"{', '.join(named[:_MOST_QUOTES])}{more}" or "not known",
    }


def _event(item: Mapping[str, Any]) -> dict[str, Any]:
    known = ("at", "release", "event", "by")
    more = ", ".join(f"{name} {value}" for name, value in item.items() if name not in known and value is not None)
    return {**{name: item.get(name) for name in known}, "more": more}


def _run(item: Mapping[str, Any]) -> dict[str, Any]:
    verdict = (item.get("verdict") or {}).get("overall")
    word, tone = _VERDICTS.get(str(verdict), ("", PLAIN))
    if item.get("interrupted"):
        word, tone = "interrupted", BAD
    if item.get("failure"):
        word, tone = str(item["failure"]), BAD
    seconds = _seconds(item)
    return {**item, "word": word or "no verdict", "tone": tone, "took": span(seconds) if seconds else "not known"}


def _host(host: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[object]], list[int]]]:
    """Tables of the host: a title, heads, rows, and the widths of the columns in hundredths."""
    containers = [
        [item["name"], item["state"], item["health"] or "", item["restarts"], item["started"], str(item["image"])[:19]]
        for item in host["containers"] or ()
    ]
    yield (
        "Containers",
        ["Name", "State", "Health", "Restarts", "Started", "Image"],
        containers,
        [26, 11, 11, 10, 22, 20],
    )
    yield "Versions", ["What", "Version"], [[name, text] for name, text in (host["versions"] or {}).items()], [30, 70]
    disks = [[item["what"], item["path"], size(item["free"]), size(item["total"])] for item in host["disk"] or ()]
    yield "Disk", ["What", "Where", "Free", "Of"], disks, [18, 46, 18, 18]
    said = [
        [service, item["level"], item["count"], item["text"], item["last"]]
        for service, log in ((host["logs"] or {}).get("services") or {}).items()
        for item in log["signatures"][:_MOST_ROWS]
        if item["error"]
    ]
    yield (
        "Errors in the logs of the last day",
        ["Service", "Level", "Times", "Signature", "Last"],
        said,
        [13, 9, 9, 47, 22],
    )
    yield "Left out", ["What", "Why"], [[name, text] for name, text in host["left_out"].items()], [35, 65]
