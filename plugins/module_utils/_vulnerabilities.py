# SPDX-License-Identifier: GPL-3.0-or-later
"""What scanners know of two releases, compared: only what is new against the release before counts.

A report that is stale, or about something else, says nothing: neither that all is well nor that anything is new. Nor
is a vulnerability new where the scanner that found it has not looked at the release before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ._errors import SlipwayError
from ._observation import NEW, VULNERABILITY, WAY_BACK, Observation, parse_timestamp, timestamp
from ._reader import Reader, a_day, like, one_of
from ._scan_reports import FORMATS, SEVERITIES, Finding, Report

COUNT, WARNINGS = "vulnerabilities", "warnings"
HOST, CONTROLLER = "host", "controller"
THRESHOLDS = SEVERITIES[2:]
# How many are shown one by one, and how many are named in a line; the summary counts all.
_SHOWN, _NAMED = 50, 3
_AHEAD = timedelta(days=1)
_HEX = re.compile(r"[0-9a-f]{7,40}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[^\s@]*:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})(?:@.*)?")
_HAND_ON = "security: is not what slipway.release.read_reports returned: hand it on"


class SecurityError(SlipwayError):
    """Variables that make no sense; the message lists every problem."""


@dataclass(frozen=True)
class Waiver:
    """That a vulnerability counts for nothing for a while.

    :param until: the last day on which it holds, ISO 8601.
    :param package: only of this package; of any when None.
    """

    id: str
    until: str
    reason: str
    package: str | None = None

    def covers(self, finding: Finding) -> bool:
        """Whether it is about that vulnerability, expired or not."""
        return self.id == finding.id and self.package in {None, finding.package}


@dataclass(frozen=True)
class Scanner:
    """A scanner that the operator names.

    :param command: its argv, in which `${image}` stands for the image.
    :param where: it runs on HOST or on CONTROLLER.
    :param image: what `${image}` stands for on the controller; `${version}` in it for the release.
    :param form: the format that it prints; found out when None.
    :param timeout: seconds for all images together, well below those after which a silent run counts as dead.
    """

    command: tuple[str, ...]
    where: str = HOST
    image: str | None = None
    form: str | None = None
    timeout: float = 300


@dataclass(frozen=True)
class Given:
    """A report that lies on the controller.

    :param subject: the release that it is about, a version or a commit.
    :param made: when its database was made, for one that does not tell itself.
    """

    path: str
    subject: str
    form: str | None = None
    made: str | None = None


@dataclass(frozen=True)
class Policy:
    """What counts.

    :param severity: from this one on, a new vulnerability is a reason to go back.
    :param warn: from this one on, it is shown.
    :param max_age: days after which a vulnerability database is stale.
    """

    severity: str = "critical"
    warn: str = "high"
    max_age: float = 7
    waivers: tuple[Waiver, ...] = ()
    scanner: Scanner | None = None

    @property
    def least(self) -> str:
        """What weighs less than this plays no part."""
        return min(self.severity, self.warn, key=SEVERITIES.index)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Policy:
        """Read what `asdict` made of one; what is not there keeps its default."""
        try:
            given = dict(mapping)
            if given.get("scanner"):
                given["scanner"] = Scanner(**{**given["scanner"], "command": tuple(given["scanner"]["command"])})
            return cls(**{**given, "waivers": tuple(Waiver(**item) for item in given.get("waivers", ()))})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SecurityError(_HAND_ON) from error


@dataclass(frozen=True)
class ScanEvidence:
    """All that the controller knows, as it is handed to the host."""

    policy: Policy
    reports: tuple[Report, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON, without what weighs too little to play a part."""
        return {
            "policy": asdict(self.policy),
            "reports": [report.at_least(self.policy.least).to_dict() for report in self.reports],
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> ScanEvidence:
        """Read what `to_dict` wrote."""
        try:
            reports = tuple(Report.from_dict(item) for item in mapping["reports"])
            return cls(Policy.from_dict(mapping["policy"]), reports)
        except (KeyError, TypeError, AttributeError) as error:
            raise SecurityError(_HAND_ON) from error


def parse(mapping: Mapping[str, Any]) -> tuple[Policy, tuple[Given, ...]]:
    """Read the variables of the role security.

    :raises SecurityError: listing every problem, each with its path.
    """
    problems: list[str] = []
    reader = Reader("security", mapping, problems)
    policy = Policy(
        reader.text("severity", one_of(THRESHOLDS), default="critical") or "critical",
        reader.text("warn", one_of(THRESHOLDS), default="high") or "high",
        reader.number("max_age", 7, least=0, most=3650) or 0,
        reader.items("waivers", _waiver),
        reader.inside("scanner", _scanner),
    )
    given = reader.items("reports", _given)
    reader.refuse_unknown()
    if problems:
        raise SecurityError("; ".join(problems))
    return policy, given


def _anything(_value: str) -> None:
    """Any text will do."""


def _time(value: str) -> str | None:
    try:
        parse_timestamp(value)
    except ValueError:
        return f"must be an ISO 8601 time with a zone, not {value!r}"
    return None


_subject = like(re.compile(r"[A-Za-z0-9._-]{1,100}"), "must be a release's version or commit")


def _given(reader: Reader) -> Given | None:
    path = reader.text("path", required=True)
    subject = reader.text("for", _subject, required=True)
    form = reader.text("format", one_of(FORMATS))
    made = reader.text("made", _time)
    return None if path is None or subject is None else Given(path, subject, form, made)


def _waiver(reader: Reader) -> Waiver | None:
    identity = reader.text("id", required=True)
    until = reader.text("until", a_day, required=True)
    reason = reader.text("reason", required=True)
    package = reader.text("package")
    return None if None in {identity, until, reason} else Waiver(identity or "", until or "", reason or "", package)


def _scanner(reader: Reader) -> Scanner | None:
    command = reader.texts("command", _anything, repeated=True)
    where = reader.text("where", one_of((HOST, CONTROLLER)), default=HOST) or HOST
    image = reader.text("image")
    form = reader.text("format", one_of(FORMATS))
    timeout = reader.number("timeout", 300, least=1, most=600) or 300
    if not any("${image}" in part for part in command):
        reader.problem("command", "must have an element with ${image}, which stands for what is to be scanned")
    if where == CONTROLLER and "${version}" not in (image or ""):
        reader.problem("image", "must name the image on the controller, with ${version} in it")
    if where == HOST and image is not None:
        reader.problem("image", "has no meaning on the host, whose images are known")
    return Scanner(command, where, image, form, timeout)


@dataclass(frozen=True)
class Known:
    """What is known of a release whatever a report says.

    :param commit: None when nobody knows it.
    :param images: the ids of its images; empty before they are there.
    :param names: names of images that it is known to use.
    """

    version: str
    commit: str | None = None
    images: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def named_by(self, subject: str) -> bool:
        """Whether a version or a commit means this release."""
        return subject == self.version or (bool(_HEX.fullmatch(subject)) and (self.commit or "").startswith(subject))

    def foreign(self, about: Sequence[str]) -> str | None:
        """What a report says that it is about, when that is certainly something else."""
        claims = [claim for claim in about if self._is_claim(claim)]
        return None if not claims or any(self._is_mine(claim) for claim in claims) else claims[0]

    def _is_claim(self, text: str) -> bool:
        if _IMAGE_ID.fullmatch(text):
            return bool(self.images)
        return bool(_TAGGED.fullmatch(text)) or (self.commit is not None and bool(_HEX.fullmatch(text)))

    def _is_mine(self, text: str) -> bool:
        tag = _TAGGED.fullmatch(text)
        return (
            text in self.images
            or text in self.names
            or (not _IMAGE_ID.fullmatch(text) and tag is not None and tag[1] == self.version)
            or (bool(_HEX.fullmatch(text)) and (self.commit or "").startswith(text))
        )


@dataclass(frozen=True)
class Seen:
    """What usable reports say of one release.

    :param sources: the scanners that looked at all of it.
    :param problems: why other reports say nothing.
    :param made: by scanner, when the database was made by which it looked, the oldest where there are several.
    """

    version: str
    findings: tuple[Finding, ...] = ()
    sources: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    made: Mapping[str, datetime] = field(default_factory=dict)


def seen_of(known: Known, reports: Iterable[Report], policy: Policy, now: datetime) -> Seen:
    """Take what is usable of the reports about a release."""
    findings: list[Finding] = []
    sources: set[str] = set()
    silent: set[str] = set()
    problems: list[str] = []
    made: dict[str, datetime] = {}
    for report in reports:
        if not known.named_by(report.subject):
            continue
        wrong = _unusable(report, known, policy, now)
        if wrong:
            silent.add(report.scanner)
            whose = f"{report.scanner}'s" if report.scanner else "a"
            problems.append(f"{whose} report for {known.version} {wrong}")
        else:
            findings += report.findings
            sources.add(report.scanner)
            moment = parse_timestamp(report.made or "")
            made[report.scanner] = min(moment, made.get(report.scanner, moment))
    if not sources and not problems:
        problems.append(f"there is no report for {known.version}")
    # where it is not known which scanner is silent, it may be any
    looked = frozenset() if "" in silent else frozenset(sources - silent)
    return Seen(known.version, tuple(dict.fromkeys(findings)), looked, tuple(problems), made)


def _unusable(report: Report, known: Known, policy: Policy, now: datetime) -> str | None:
    if report.problem:
        return report.problem
    foreign = known.foreign(report.about)
    if foreign:
        return f"is about {foreign}"
    if report.made is None:
        return "does not tell how old its database is: say it by made"
    age = now - parse_timestamp(report.made)
    if age > timedelta(days=policy.max_age):
        return f"has a database of {age.days} days ago, more than {policy.max_age:g}"
    return "comes from the future" if -age > _AHEAD else None


class Comparison:
    """One release beside the one before.

    :param before: what is known of the release to go back to; None where none stands behind it: all is new then.
    :param lag: how much older its database may be where a report is to show that the release before has something not;
        None where that is the affair of whoever gives the reports.
    """

    def __init__(
        self, present: Seen, before: Seen | None, policy: Policy, now: datetime, lag: timedelta | None = None
    ) -> None:
        self.present, self.before, self.policy, self._now = present, before, policy, now
        self._today = now.astimezone(timezone.utc).date().isoformat()
        self._late = _late(present, before, lag) if before is not None and lag is not None else frozenset()
        looked = before.sources - self._late if before else frozenset()
        old = {finding.key for finding in before.findings} if before else set()
        came = [finding for finding in present.findings if finding.key not in old]
        told = _distinct(finding for finding in came if before is None or finding.source in looked)
        known = old | {finding.key for finding in told}
        untold = _distinct(finding for finding in came if finding.key not in known)
        self.waived = [finding for finding in told if self._waiver(finding) is not None]
        counted = [finding for finding in told if self._waiver(finding) is None]
        self.new = [finding for finding in counted if self._weighs(finding)]
        self.warned = [finding for finding in counted if self._shown(finding) and not self._weighs(finding)]
        self.untold = [finding for finding in untold if self._weighs(finding) and self._waiver(finding) is None]

    def _weighs(self, finding: Finding) -> bool:
        return SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.policy.severity)

    def _shown(self, finding: Finding) -> bool:
        least = SEVERITIES.index(self.policy.warn)
        return finding.severity == "unknown" or SEVERITIES.index(finding.severity) >= least

    def _waiver(self, finding: Finding) -> Waiver | None:
        mine = (waiver for waiver in self.policy.waivers if waiver.covers(finding))
        return next((waiver for waiver in mine if waiver.until >= self._today), None)

    def _expired(self, finding: Finding) -> str:
        mine = [waiver for waiver in self.policy.waivers if waiver.covers(finding)]
        return f", its waiver ended on {max(waiver.until for waiver in mine)}" if mine else ""

    @property
    def inconclusive(self) -> str | None:
        """Why it cannot be told that nothing is new."""
        reasons = list(self.present.problems)
        if self.untold and self.before is not None:
            sources = {finding.source for finding in self.untold}
            missing, late = sorted(sources - self.before.sources), sorted(sources & self._late)
            reasons += self.before.problems
            if missing and not self.before.problems:
                reasons.append(f"there is no report of {', '.join(missing)} for {self.before.version}")
            reasons += [self._is_late(late)] if late else []
            reasons.append(f"{len(self.untold)} {self.policy.severity} may be new or not: {_named(self.untold)}")
        return "; ".join(reasons) or None

    def _is_late(self, sources: Iterable[str]) -> str:
        version = self.before.version if self.before else "nothing"
        return f"{', '.join(sources)} looked at {version} with an older database than at {self.present.version}"

    @property
    def brought_back(self) -> list[Finding] | str:
        """What going back would bring back; a text says why nobody knows."""
        if self.before is None:
            return []
        if self.before.problems or self.present.problems:
            return "; ".join((*self.before.problems, *self.present.problems))
        if self._late:
            return self._is_late(sorted(self._late))
        mine = {finding.key for finding in self.present.findings}
        gone = _distinct(finding for finding in self.before.findings if finding.key not in mine)
        weighty = [finding for finding in gone if self._weighs(finding) and self._waiver(finding) is None]
        unseen = sorted({finding.source for finding in weighty} - self.present.sources)
        return f"there is no report of {', '.join(unseen)} for {self.present.version}" if unseen else weighty

    @property
    def summary(self) -> str:
        """What is new, in words."""
        against = f"against {self.before.version}" if self.before else "on a first install"
        parts = [f"{len(self.new)} new of {self.policy.severity} severity {against}"]
        if self.warned:
            parts.append(f"{len(self.warned)} that weigh less")
        for finding in self.waived:
            waiver = self._waiver(finding)
            if waiver is not None:
                parts.append(f"{finding.id} waived until {waiver.until} ({waiver.reason})")
        if self.inconclusive:
            parts.append(self.inconclusive)
        return "; ".join(parts)

    def described(self, finding: Finding) -> str:
        """What is known of a vulnerability, on one line."""
        fixed = f"fixed in {finding.fixed}" if finding.fixed else "not fixed yet"
        return f"{finding.severity}, {finding.package} {finding.installed}, {fixed}{self._expired(finding)}"

    def observations(self, most: int = _SHOWN) -> list[Observation]:
        """Each new one, their count, and how many going back would bring back.

        :param most: how many of each weight are shown one by one; the count is that of all.
        """

        def seen(subject: str, value: float | None, unit: str | None, detail: str, *, ok: bool | None) -> Observation:
            return Observation(VULNERABILITY, subject, timestamp(self._now), value, unit, ok=ok, detail=detail)

        found = [
            seen(f"{item.id} {item.package}", None, None, self.described(item), ok=False) for item in self.new[:most]
        ]
        found += [
            seen(f"{item.id} {item.package}", 1, WARNINGS, self.described(item), ok=True) for item in self.warned[:most]
        ]
        well = False if self.new else None if self.inconclusive else True
        found.append(seen(NEW, len(self.new), COUNT, self.summary, ok=well))
        back = self.brought_back
        if isinstance(back, str):
            found.append(seen(WAY_BACK, None, None, back, ok=None))
        elif self.before is not None:
            detail = f"{self.before.version} has {_named(back) or 'nothing'} that this one has not"
            found.append(seen(WAY_BACK, len(back), COUNT, detail, ok=not back))
        return found


def _late(present: Seen, before: Seen, lag: timedelta) -> frozenset[str]:
    """The scanners whose database was older when they looked at the release before: what is known since it lacked."""
    moments = before.made.items()
    return frozenset(source for source, moment in moments if moment + lag < present.made.get(source, moment))


def _named(findings: Sequence[Finding]) -> str:
    """The first few, for a line."""
    shown = ", ".join(f"{item.id} in {item.package}" for item in findings[:_NAMED])
    return f"{shown} and more" if findings[_NAMED:] else shown


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    """One of each, the weightiest where scanners differ, the weightiest first."""
    worst: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        known = worst.get(finding.key)
        if known is None or SEVERITIES.index(known.severity) < SEVERITIES.index(finding.severity):
            worst[finding.key] = finding
    return sorted(worst.values(), key=lambda item: (-SEVERITIES.index(item.severity), item.key))


def dated(report: Report, given: Given) -> Report:
    """A report with the time that the operator gives for it, where it tells none itself."""
    return replace(report, made=given.made) if report.made is None and given.made else report
