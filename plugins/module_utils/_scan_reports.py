# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of vulnerability scanners, read into one plain form.

Formats: the JSON of Trivy (schema 2, pkg/types/report.go), of Grype (grype/presenter/models/document.go) and of
bundler-audit (lib/bundler/audit/cli/formats/json.rb), and SARIF 2.1.0 (OASIS) as these and others write it. A report is
somebody else's file: whatever it holds, reading it ends with a Report or a ReportError of one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

from ._errors import SlipwayError
from ._observation import timestamp

TRIVY, GRYPE, SARIF, BUNDLER_AUDIT = "trivy", "grype", "sarif", "bundler-audit"
FORMATS = (TRIVY, GRYPE, SARIF, BUNDLER_AUDIT)
# Bytes of a report, and findings in it. A report of an image with everything in it has a tenth of either.
SIZE_LIMIT, FINDINGS_LIMIT = 64_000_000, 100_000
# In the order of their weight.
SEVERITIES = ("unknown", "negligible", "low", "medium", "high", "critical")
_OTHER_NAMES = {"none": "negligible", "info": "negligible", "moderate": "medium", "important": "high"}
_LEVELS = {"error": "high", "warning": "medium", "note": "low", "none": "negligible"}
# The scores of CVSS from which a severity begins: https://www.first.org/cvss/v3.1/specification-document, section 5.
_SCORES = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
_SHORT, _LONG = 100, 200
_LINE = re.compile(r"^(Package|Installed Version|Version|Fixed Version|Fix Version|Severity): *(.*)$", re.MULTILINE)
_VULNERABILITY = re.compile(r"^Vulnerability (\S+)$", re.MULTILINE)
_KINDS = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing", bool: "true or false"}


class ReportError(SlipwayError):
    """A file that is no report that can be read; the text says where in it."""


@dataclass(frozen=True)
class Finding:
    """One known vulnerability of one package.

    :param severity: one of SEVERITIES.
    :param fixed: the versions that mend it; empty when there are none.
    :param source: the scanner that says so.
    """

    id: str
    package: str
    installed: str
    severity: str
    fixed: str
    source: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is, whatever version of the package is installed."""
        return self.id, self.package


@dataclass(frozen=True)
class Report:
    """What one scanner found in one release.

    :param subject: the release that it is said to be about, a version or a commit.
    :param scanner: the scanner's name, in lower case.
    :param made: when its vulnerability database was made, or the report where it does not tell (ISO 8601); None when
        it tells neither.
    :param about: what it says itself that it scanned: ids and names of images, commits.
    :param problem: why it says nothing, where there is no report after all.
    """

    subject: str
    scanner: str
    made: str | None
    about: tuple[str, ...]
    findings: tuple[Finding, ...]
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Report:
        """Read what `to_dict` wrote."""
        findings = tuple(Finding(**item) for item in mapping["findings"])
        about = tuple(mapping["about"])
        return cls(mapping["subject"], mapping["scanner"], mapping["made"], about, findings, mapping.get("problem"))

    @classmethod
    def missing(cls, subject: str, reason: SlipwayError) -> Report:
        """Stand for a report that could not be had, nobody knows of which scanner."""
        return cls(subject, "", None, (), (), f"could not be had: {reason}")

    def at_least(self, severity: str) -> Report:
        """The report without what weighs less; what has no known severity stays."""
        least = SEVERITIES.index(severity)
        kept = tuple(f for f in self.findings if f.severity == "unknown" or SEVERITIES.index(f.severity) >= least)
        return replace(self, findings=kept)


def read_report(path: Path, subject: str, form: str | None = None) -> Report:
    """Read a report from a file.

    :param form: one of FORMATS; found out when None.
    :raises ReportError: it cannot be read; the message begins with its path.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or error}") from error
    return parse_report(content, subject, form, str(path))


def parse_report(content: bytes, subject: str, form: str | None = None, name: str = "report") -> Report:
    """Read a report's content, as `read_report` does."""
    if len(content) > SIZE_LIMIT:
        raise ReportError(f"{name}: is larger than {SIZE_LIMIT // 1_000_000} MB, which no report is")
    try:
        document = json.loads(content)
    except RecursionError:
        raise ReportError(f"{name}: is nested too deeply to be a report") from None
    except ValueError as error:
        raise ReportError(f"{name}: is no JSON ({' '.join(str(error).split())[:_SHORT]})") from None
    try:
        root = _Node("the report", document)
        kind = form or _form(root)
        report = _READERS[kind](root, _clean(subject, _SHORT))
    except ReportError as error:
        raise ReportError(f"{name}: {error}") from None
    if len(report.findings) > FINDINGS_LIMIT:
        raise ReportError(f"{name}: has {len(report.findings)} findings, more than {FINDINGS_LIMIT}")
    return replace(report, findings=tuple(dict.fromkeys(report.findings)))


class _Node:
    """A value somewhere in a report, which says where it is when it is not what it should be."""

    def __init__(self, path: str, value: object) -> None:
        self.path, self.value = path, value

    def _of(self, kind: type, name: str) -> Any:  # noqa: ANN401 - an instance of `kind`
        if isinstance(self.value, kind):
            return self.value
        raise ReportError(f"{self.path} must be {name}, not {_KINDS.get(type(self.value), 'a number')}")

    def get(self, key: str) -> _Node:
        """The value at a key of a mapping; nothing where there is none."""
        path = key if self.path == "the report" else f"{self.path}.{key}"
        return _Node(path, self._of(dict, "a mapping").get(key))

    def at(self, *keys: str) -> _Node:
        """The value at the end of a path; nothing where the path ends early."""
        node = self
        for key in keys:
            if node.value is None:
                return node
            node = node.get(key)
        return node

    def items(self) -> Iterator[_Node]:
        """The elements of a list; none where there is nothing."""
        if self.value is not None:
            yield from (_Node(f"{self.path}[{n}]", item) for n, item in enumerate(self._of(list, "a list")))

    def text(self, width: int = _LONG) -> str:
        """A text of one line; empty where there is nothing."""
        return "" if self.value is None else _clean(self._of(str, "text"), width)

    def lines(self) -> str:
        """A text as it is; empty where there is nothing."""
        return "" if self.value is None else str(self._of(str, "text"))

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text() for item in self.items())

    def name(self) -> str:
        """A text that must be there."""
        text = self.text(_SHORT)
        if not text:
            raise ReportError(f"{self.path} must not be empty")
        return text


def _clean(text: str, width: int) -> str:
    """A text that a line of a log can hold."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * width])
    return " ".join(shown.split())[:width]


def _form(root: _Node) -> str:
    marks = {
        TRIVY: ("SchemaVersion", int),
        GRYPE: ("matches", list),
        SARIF: ("runs", list),
        BUNDLER_AUDIT: ("results", list),
    }
    for form, (key, kind) in marks.items():
        if isinstance(root.get(key).value, kind):
            return form
    raise ReportError(f"is none of {', '.join(FORMATS)}: has the scanner written its JSON?")


def _marked(root: _Node, form: str) -> None:
    """Make sure that a document is of the format it is said to be."""
    if _form(root) != form:
        raise ReportError(f"is not {form}'s, but looks like {_form(root)}'s")


def severity_of(text: str) -> str:
    """One of SEVERITIES for a scanner's word."""
    word = text.strip().lower()
    word = _OTHER_NAMES.get(word, word)
    return word if word in SEVERITIES else "unknown"


def _moment(*candidates: _Node) -> str | None:
    """The first time among them, in UTC; a time that is none is left out."""
    for node in candidates:
        if isinstance(node.value, str):
            # Python 3.9 takes three or six decimals, Go writes nine; Ruby writes "2026-11-23 08:00:00 +0000"
            text = re.sub(r"(\.\d{6})\d+", r"\1", node.value.strip())
            text = re.sub(r" ?([+-]\d{2}):?(\d{2})$", r"\1:\2", text)
            text = re.sub(r"\.(\d{1,5})(?=[Z+-]|$)", lambda found: "." + found[1].ljust(6, "0"), text)
            try:
                moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
                # Go's zero time says that nobody knows
                if moment.year > 1:
                    return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
            except (ValueError, OverflowError):
                continue
    return None


def _some(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def _trivy(root: _Node, subject: str) -> Report:
    _marked(root, TRIVY)
    if root.get("SchemaVersion").value != 2:  # noqa: PLR2004 - the only version since 0.20
        raise ReportError("SchemaVersion must be 2: a newer or older Trivy wrote it")
    meta, tool = root.get("Metadata"), root.get("Trivy")
    about = _some(
        root.get("ArtifactName").text(),
        *(meta.at(key).text() for key in ("ImageID", "Commit")),
        *meta.at("RepoTags").texts(),
        *meta.at("RepoDigests").texts(),
    )
    made = _moment(
        tool.at("VulnerabilityDB", "UpdatedAt"),
        tool.at("Server", "VulnerabilityDB", "UpdatedAt"),
        root.get("CreatedAt"),
    )
    findings = [
        Finding(
            item.get("VulnerabilityID").name(),
            item.get("PkgName").name(),
            item.get("InstalledVersion").text(_SHORT),
            severity_of(item.get("Severity").text(_SHORT)),
            item.get("FixedVersion").text(),
            TRIVY,
        )
        for result in root.get("Results").items()
        for item in result.get("Vulnerabilities").items()
    ]
    return Report(subject, TRIVY, made, about, tuple(findings))


def _grype(root: _Node, subject: str) -> Report:
    _marked(root, GRYPE)
    database, target = root.at("descriptor", "db"), root.at("source", "target")
    about: tuple[str, ...] = ()
    if isinstance(target.value, dict):
        names = (target.at(key).text() for key in ("userInput", "imageID", "manifestDigest"))
        about = _some(*names, *target.at("tags").texts(), *target.at("repoDigests").texts())
    elif isinstance(target.value, str):
        about = _some(target.text())
    made = _moment(database.at("status", "built"), database.at("built"), root.at("descriptor", "timestamp"))
    findings = [
        Finding(
            item.at("vulnerability", "id").name(),
            item.at("artifact", "name").name(),
            item.at("artifact", "version").text(_SHORT),
            severity_of(item.at("vulnerability", "severity").text(_SHORT)),
            ", ".join(item.at("vulnerability", "fix", "versions").texts())[:_LONG],
            GRYPE,
        )
        for item in root.get("matches").items()
    ]
    return Report(subject, GRYPE, made, about, tuple(findings))


def _bundler_audit(root: _Node, subject: str) -> Report:
    _marked(root, BUNDLER_AUDIT)
    findings = []
    for item in root.get("results").items():
        if item.get("type").text() == "insecure_source":
            source = item.get("source").name()
            findings.append(Finding("insecure source", source, "", "unknown", "https", BUNDLER_AUDIT))
            continue
        advisory = item.get("advisory")
        cve, ghsa = advisory.at("cve").text(_SHORT), advisory.at("ghsa").text(_SHORT)
        findings.append(
            Finding(
                f"CVE-{cve}" if cve else f"GHSA-{ghsa}" if ghsa else advisory.get("id").name(),
                item.at("gem", "name").name(),
                item.at("gem", "version").text(_SHORT),
                severity_of(advisory.get("criticality").text(_SHORT)),
                ", ".join(advisory.get("patched_versions").texts())[:_LONG],
                BUNDLER_AUDIT,
            )
        )
    return Report(subject, BUNDLER_AUDIT, _moment(root.get("created_at")), (), tuple(findings))


def _sarif(root: _Node, subject: str) -> Report:
    _marked(root, SARIF)
    scanners: list[str] = []
    about: list[str] = []
    times: list[str | None] = []
    findings: list[Finding] = []
    for run in root.get("runs").items():
        scanner = run.at("tool", "driver", "name").name().lower()
        scanners.append(scanner)
        properties = run.get("properties")
        about += [properties.at(key).text() for key in ("imageName", "imageID")]
        about += [*properties.at("repoTags").texts(), *properties.at("repoDigests").texts()]
        about += [item.get("revisionId").text() for item in run.get("versionControlProvenance").items()]
        ends = [_moment(item.get("endTimeUtc"), item.get("startTimeUtc")) for item in run.get("invocations").items()]
        times.append(min((end for end in ends if end), default=None))
        rules = list(run.at("tool", "driver", "rules").items())
        by_id = {rule.get("id").text(): rule for rule in rules}
        for result in run.get("results").items():
            if result.get("kind").text() in {"pass", "notApplicable"} or result.get("baselineState").text() == "absent":
                continue
            if any(item.get("status").text() in {"", "accepted"} for item in result.get("suppressions").items()):
                continue
            findings.append(_sarif_finding(result, _rule_of(result, rules, by_id), scanner))
    if not scanners:
        raise ReportError("runs must not be empty")
    made = None if None in times else min(time for time in times if time)
    return Report(subject, ", ".join(_some(*scanners)), made, _some(*about), tuple(findings))


def _rule_of(result: _Node, rules: list[_Node], by_id: Mapping[str, _Node]) -> _Node:
    index = result.get("ruleIndex").value
    if isinstance(index, int) and 0 <= index < len(rules):
        return rules[index]
    name = result.get("ruleId").text() or result.at("rule", "id").text()
    return by_id.get(name, _Node("rule", {}))


def _sarif_finding(result: _Node, rule: _Node, scanner: str) -> Finding:
    """What a result says; scanners of packages write what they know as lines into its message, or its rule's help."""
    texts = (result.at("message", "text").lines(), rule.at("help", "text").lines())
    said: dict[str, str] = {}
    for text in texts:
        for key, value in _LINE.findall(text):
            said.setdefault(key, value)
    named = next((found[1] for found in map(_VULNERABILITY.search, texts) if found), "")
    uri = next(
        (item.at("physicalLocation", "artifactLocation", "uri").text() for item in result.get("locations").items()), ""
    )
    identity = _clean(named, _SHORT) or result.get("ruleId").text(_SHORT) or rule.get("id").name()
    return Finding(
        identity,
        _clean(said.get("Package", ""), _SHORT) or uri or "the application",
        _clean(said.get("Installed Version") or said.get("Version") or "", _SHORT),
        _sarif_severity(result, rule, said.get("Severity", "")),
        _clean(said.get("Fixed Version") or said.get("Fix Version") or "", _LONG),
        scanner,
    )


def _sarif_severity(result: _Node, rule: _Node, word: str) -> str:
    if severity_of(word) != "unknown":
        return severity_of(word)
    for place in (result, rule):
        score = place.at("properties", "security-severity").value
        try:
            figure = float(score) if isinstance(score, (str, int, float)) else 0.0
        except (ValueError, OverflowError):
            continue
        found = next((name for least, name in _SCORES if figure >= least), None)
        if found:
            return found
    level = result.get("level").value or rule.at("defaultConfiguration", "level").value or "warning"
    return _LEVELS.get(str(level), "unknown")


_READERS: dict[str, Callable[[_Node, str], Report]] = {
    TRIVY: _trivy,
    GRYPE: _grype,
    SARIF: _sarif,
    BUNDLER_AUDIT: _bundler_audit,
}
