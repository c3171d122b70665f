# SPDX-License-Identifier: GPL-3.0-or-later
"""How a release did: five measures, judged from what the host saw and from what people wrote down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from ._errors import SlipwayError
from ._observation import AGAIN
from ._reader import Reader, a_day, like, one_of

SEVERITIES = ("critical", "high", "medium", "low")
PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"
SUCCESS, MIXED, FAILED = "success", "mixed", "failed"
# What customers and the service itself cannot do without: one of these that fails makes the release a failure.
BUGS, SERVICES, SOCKETS, VOICES, SUPPORT = "bugs", "services", "websockets", "feedback", "support"
_GRAVE = (BUGS, SERVICES)
TITLES = {
    BUGS: "No critical bugs",
    SERVICES: "All services healthy",
    SOCKETS: "No WebSocket errors in the logs",
    VOICES: "Customer feedback neutral or better",
    SUPPORT: "Support burden down",
}
# The kinds of observation that show whether services are healthy, and the one that log lines come as.
HEALTH_KINDS, LOG_KIND = ("service", "worker", "health"), "log"
# Of the looks, so many may have seen a service that was not well: a restart is no illness.
UNWELL_SHARE = 0.01
# Of the looks, so many must have seen them, as for a release that is proven.
SEEN_SHARE = 0.9
MOST_ENTRIES, LONGEST_TEXT = 500, 300
_MOST_TICKETS = 1_000_000

_RELEASE = like(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"), "must be a release version")
# What was there before the release is no error of the release.
_AGAIN = re.compile(rf"\S+{AGAIN}[0-9a-f]{{12}}:")
_SOCKET = re.compile(r"web.?socket|action.?cable|turbo.?stream|/cable\b", re.IGNORECASE)


@dataclass(frozen=True)
class Bug:
    """A bug that was reported.

    :param date: when, YYYY-MM-DD; `fixed` is the day on which it was mended.
    """

    severity: str
    date: str
    text: str
    fixed: str | None = None


@dataclass(frozen=True)
class Voice:
    """What a customer said: -1 is bad, 0 is neutral, 1 is good."""

    score: int
    text: str | None = None
    customer: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class Support:
    """Tickets in the week after the release, and in the one before it."""

    this_week: int
    week_before: int


@dataclass(frozen=True)
class Issue:
    """Something that the next deployment should know of."""

    date: str
    text: str


@dataclass(frozen=True)
class Feedback:
    """What people wrote down about a release; None is what nobody wrote down."""

    release: str
    bugs: tuple[Bug, ...] | None = None
    voices: tuple[Voice, ...] | None = None
    support: Support | None = None
    issues: tuple[Issue, ...] = ()

    @classmethod
    def parse(cls, given: object) -> Feedback:
        """Read plain data.

        :raises SlipwayError: one line with every problem, each with its path.
        """
        problems: list[str] = []
        reader = Reader("feedback", _one_line(given), problems)
        release = reader.text("release", _RELEASE, required=True)
        bugs = _entries(reader, "bugs", _bug)
        voices = _entries(reader, "feedback", _voice)
        support = reader.inside("support", _support)
        issues = _entries(reader, "issues", _issue) or ()
        reader.refuse_unknown()
        if problems or release is None:
            raise SlipwayError("; ".join(re.sub(r"^feedback(\.|: )", "", problem) for problem in problems))
        return cls(release, bugs, voices, support, issues)

    def to_dict(self) -> dict[str, Any]:
        """Return what `parse` reads, ready for JSON."""
        told = asdict(self)
        told["feedback"] = told.pop("voices")
        return told


@dataclass(frozen=True)
class Measure:
    """One of the five: whether it holds, and the evidence in words."""

    name: str
    title: str
    result: str
    reason: str


@dataclass(frozen=True)
class Scorecard:
    """How a release did.

    :param outcome: SUCCESS when all five hold; FAILED when it was taken back, or what nobody can do without fails, or
        nothing holds beside what fails; MIXED when something else fails; UNKNOWN when evidence is missing.
    """

    outcome: str
    reasons: tuple[str, ...]
    measures: tuple[Measure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return asdict(self)


def score(history: Mapping[str, Any], feedback: Feedback | None) -> Scorecard:
    """Judge a release. Missing evidence is never a pass.

    :param history: what `_history.gather` returns, of which `gone`, `watch` and `runs` are looked at.
    """
    told = feedback or Feedback("")
    found = {
        BUGS: _bugs(told.bugs),
        SERVICES: _services(history["watch"]),
        SOCKETS: _sockets(history),
        VOICES: _voices(told.voices),
        SUPPORT: _tickets(told.support),
    }
    measures = tuple(Measure(name, TITLES[name], *found[name]) for name in TITLES)
    by_result = {result: [item for item in measures if item.result == result] for result in (PASS, FAIL, UNKNOWN)}
    gone = history["gone"]
    failing = by_result[FAIL]
    if gone is not None:
        outcome = FAILED
    elif failing:
        outcome = FAILED if not by_result[PASS] or any(item.name in _GRAVE for item in failing) else MIXED
    else:
        outcome = UNKNOWN if by_result[UNKNOWN] else SUCCESS
    decisive = failing if failing or gone is not None else by_result[UNKNOWN]
    reasons = [f"{item.title}: {item.reason}" for item in decisive]
    return Scorecard(outcome, (*([] if gone is None else [gone]), *reasons), measures)


def _one_line(value: object) -> object:
    """The same data with each text on one line and of a bounded length: people write paragraphs."""
    if isinstance(value, str):
        text = " ".join("".join(char if char.isprintable() else " " for char in value).split())
        return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 4]} ..."
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_one_line(str(key)): _one_line(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_one_line(item) for item in value]
    return value


def _entries(reader: Reader, key: str, build: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - as Reader.items has it
    """A list of entries; None where there is no list: nobody looked, which is another thing than an empty one."""
    if not reader.has(key):
        return None
    found: tuple[Any, ...] = reader.items(key, build)
    if len(found) > MOST_ENTRIES:
        reader.problem(key, f"must have at most {MOST_ENTRIES} entries")
    return found


def _bug(reader: Reader) -> Bug | None:
    severity = reader.text("severity", one_of(SEVERITIES), required=True)
    day, text = reader.text("date", a_day, required=True), reader.text("text", required=True)
    fixed = reader.text("fixed", a_day)
    return None if severity is None or day is None or text is None else Bug(severity, day, text, fixed)


def _voice(reader: Reader) -> Voice | None:
    given = reader.whole("score", None, least=-1, most=1)
    text, customer, day = reader.text("text"), reader.text("customer"), reader.text("date", a_day)
    return None if given is None else Voice(given, text, customer, day)


def _support(reader: Reader) -> Support | None:
    this_week = reader.whole("this_week", None, least=0, most=_MOST_TICKETS)
    week_before = reader.whole("week_before", None, least=0, most=_MOST_TICKETS)
    return None if this_week is None or week_before is None else Support(this_week, week_before)


def _issue(reader: Reader) -> Issue | None:
    day, text = reader.text("date", a_day, required=True), reader.text("text", required=True)
    return None if day is None or text is None else Issue(day, text)


def _bugs(bugs: Sequence[Bug] | None) -> tuple[str, str]:
    if bugs is None:
        return UNKNOWN, "nobody wrote down which bugs were reported"
    critical = [item for item in bugs if item.severity == SEVERITIES[0]]
    if critical:
        mended = sum(item.fixed is not None for item in critical)
        return FAIL, f"{len(critical)} reported, {mended} of them fixed: {critical[0].text}"
    counts = [f"{sum(item.severity == name for item in bugs)} {name}" for name in SEVERITIES[1:]]
    return PASS, f"none reported; {', '.join(counts)}" if bugs else "no bug reported at all"


def _services(watch: Mapping[str, Any] | None) -> tuple[str, str]:
    if watch is None or not watch["looks"]:
        return UNKNOWN, "the host did not look after the release"
    looks = watch["looks"]
    kinds = [watch["kinds"][name] for name in HEALTH_KINDS if name in watch["kinds"]]
    seen = min((item["seen"] for item in kinds), default=0)
    if watch["breach"] is not None:
        return FAIL, watch["breach"]
    ill = next((item["ill"] for item in kinds if item["ill"] is not None), None)
    if ill is not None:
        return FAIL, f"not well at the last look: {ill}"
    worst = max(kinds, key=lambda item: int(item["bad"]), default=None)
    unwell = worst["bad"] if worst is not None else 0
    if worst is not None and unwell > looks * UNWELL_SHARE:
        return FAIL, f"not well in {unwell} of {looks} looks: {worst['worst']}"
    if watch["short"] is not None or seen < looks * SEEN_SHARE:
        return UNKNOWN, watch["short"] or f"seen in {seen} of {looks} looks"
    return PASS, f"well in {looks - unwell} of {looks} looks from {watch['first'][:10]} to {watch['last'][:10]}"


def socket_error(item: Mapping[str, Any]) -> bool:
    """Whether an observation is about an error of a WebSocket in a log, however rare."""
    if item["probe"] != LOG_KIND or (item["ok"] is True and not item["value"]) or _AGAIN.match(item["subject"]):
        return False
    return _SOCKET.search(f"{item['subject']}: {item['detail']}") is not None


def _sockets(history: Mapping[str, Any]) -> tuple[str, str]:
    """Judge by log lines alone: whether a broadcast arrives is another thing, and a criterion of the deploy."""
    watch = history["watch"]
    seen = watch["kinds"].get(LOG_KIND, {}).get("seen", 0) if watch is not None else 0
    if watch is not None and watch["sockets"] is not None:
        return FAIL, f"in {watch['sockets']['looks']} looks: {watch['sockets']['last']}"
    deploys = [run for run in history["runs"] if run["release"] == history["version"] and run["verb"] == "deploy"]
    errors = [item for run in deploys for item in run["observations"] if socket_error(item)]
    if errors:
        return FAIL, f"in the deploy: {errors[-1]['subject']}: {errors[-1]['detail']}"
    if not seen:
        return UNKNOWN, "no logs were read after the deploy"
    if seen < watch["looks"] * SEEN_SHARE:
        return UNKNOWN, f"logs were read in {seen} of {watch['looks']} looks"
    return PASS, f"none in the logs of {seen} looks"


def _voices(voices: Sequence[Voice] | None) -> tuple[str, str]:
    if not voices:
        return UNKNOWN, "no customer was heard"
    mean = sum(item.score for item in voices) / len(voices)
    counts = {-1: "bad", 0: "neutral", 1: "good"}
    told = ", ".join(f"{sum(item.score == value for item in voices)} {name}" for value, name in counts.items())
    return (PASS if mean >= 0 else FAIL), f"{mean:+.1f} on average of {len(voices)}: {told}"


def _tickets(support: Support | None) -> tuple[str, str]:
    if support is None:
        return UNKNOWN, "nobody counted the tickets"
    down = support.this_week < support.week_before or not support.this_week
    return (PASS if down else FAIL), f"{support.this_week} tickets, {support.week_before} in the week before"
