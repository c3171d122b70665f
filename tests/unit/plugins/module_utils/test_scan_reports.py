from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _scan_reports
from ansible_collections.slipway.release.plugins.module_utils._scan_reports import (
    Finding,
    Report,
    ReportError,
    parse_report,
    read_report,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.module_utils import scan_samples as samples


def read(document: object, form: str | None = None) -> Report:
    return parse_report(samples.written(document), "1.1.0", form, "file.json")


def test_trivy() -> None:
    report = read(samples.trivy(("CVE-2026-0001", "openssl", "CRITICAL")))
    assert report.findings == (Finding("CVE-2026-0001", "openssl", "3.0.1", "critical", "3.0.2", "trivy"),)
    assert report.about == ("swarm:1.1.0", samples.IMAGE)
    # the database's own age, not that of the report
    assert (report.scanner, report.subject, report.made) == ("trivy", "1.1.0", "2026-11-22T06:12:31.123Z")


def test_a_trivy_that_does_not_tell_its_database_s_age_is_as_old_as_its_report() -> None:
    assert read(samples.trivy(Trivy={"Version": "0.69.0"})).made == "2026-11-23T06:00:00.500Z"
    assert read(samples.trivy(Trivy=None, CreatedAt="0001-01-01T00:00:00Z")).made is None


def test_grype() -> None:
    report = read(samples.GRYPE)
    assert report.findings == (
        Finding("GHSA-aaaa-bbbb-cccc", "rack", "2.2.8", "critical", "2.2.8.1, 2.2.9", "grype"),
        Finding("CVE-2020-0001", "bash", "5.2-1", "negligible", "", "grype"),
    )
    assert (report.made, report.about) == ("2026-11-22T05:00:00.000Z", ("swarm:1.1.0", samples.IMAGE))


def test_an_older_grype_s_database() -> None:
    document = copy.deepcopy(samples.GRYPE)
    document["descriptor"]["db"] = {"built": "2026-10-01T01:00:00Z", "schemaVersion": 5}
    assert read(document).made == "2026-10-01T01:00:00.000Z"


def test_bundler_audit() -> None:
    report = read(samples.BUNDLER_AUDIT)
    assert report.findings == (
        Finding("CVE-2022-32209", "rails-html-sanitizer", "1.4.2", "medium", ">= 1.4.3", "bundler-audit"),
        Finding("OSVDB-1", "old", "1", "unknown", "", "bundler-audit"),
        Finding("insecure source", "http://gems.example/", "", "unknown", "https", "bundler-audit"),
    )
    assert (report.made, report.about) == ("2026-11-23T07:00:00.000Z", ())


def test_sarif_of_trivy_goes_by_the_vendor_s_severity_and_tells_no_time() -> None:
    report = read(samples.SARIF_TRIVY)
    assert report.findings == (Finding("CVE-2026-0003", "libssl3", "3.0.1", "high", "3.0.2", "trivy"),)
    assert (report.made, report.about) == (None, ("swarm:1.1.0", samples.IMAGE))


def test_sarif_of_grype_leaves_out_what_is_suppressed_or_passes() -> None:
    report = read(samples.SARIF_GRYPE)
    assert report.findings == (Finding("CVE-2026-0004", "rack", "2.2.8", "critical", "2.2.9", "grype"),)
    assert report.made == "2026-11-22T10:00:00.000Z"


def test_sarif_of_anything_else_goes_by_rule_file_and_level() -> None:
    report = read(samples.SARIF_CODE)
    assert report.findings == (Finding("BRAKE0000", "app/models/agent.rb", "", "high", "", "brakeman"),)
    assert report.about == ("c" * 40,)


def test_what_is_named_twice_counts_once_and_what_is_light_can_be_left_out() -> None:
    twice = samples.trivy(("CVE-1", "a", "LOW"), ("CVE-1", "a", "LOW"), ("CVE-2", "a", "HIGH"), ("CVE-3", "a", "odd"))
    report = read(twice)
    assert [item.id for item in report.findings] == ["CVE-1", "CVE-2", "CVE-3"]
    assert [item.id for item in report.at_least("high").findings] == ["CVE-2", "CVE-3"]
    assert Report.from_dict(report.to_dict()) == report


def deep(levels: int) -> bytes:
    return b'{"SchemaVersion": 2, "Results": ' + b"[" * levels + b"]" * levels + b"}"


def with_vulnerability(**changes: object) -> bytes:
    document = samples.trivy(("CVE-1", "a", "HIGH"))
    document["Results"][0]["Vulnerabilities"][0].update(changes)
    return samples.written(document)


HOSTILE = [
    (b"", None, "file.json: is no JSON"),
    (b"\xff\xfe\x00\x01", None, "file.json: is no JSON"),
    (b'{"SchemaVersion": 2, "Results": [', None, "file.json: is no JSON"),
    (deep(100_000), None, "file.json: is nested too deeply"),
    (b"[]", None, "file.json: the report must be a mapping, not a list"),
    (b"null", None, "file.json: the report must be a mapping, not nothing"),
    (b"12", "trivy", "file.json: the report must be a mapping, not a number"),
    (b"{}", None, "file.json: is none of trivy, grype, sarif, bundler-audit"),
    (b"{}", "trivy", "file.json: is none of trivy, grype, sarif, bundler-audit"),
    (samples.written(samples.GRYPE), "trivy", "file.json: is not trivy's, but looks like grype's"),
    (b'{"SchemaVersion": 3}', None, "file.json: SchemaVersion must be 2"),
    (b'{"SchemaVersion": 2, "Results": {"a": 1}}', None, "file.json: Results must be a list, not a mapping"),
    (b'{"SchemaVersion": 2, "Results": ["x"]}', None, "file.json: Results[0] must be a mapping, not text"),
    (
        b'{"SchemaVersion": 2, "Metadata": {"RepoTags": "x"}}',
        None,
        "file.json: Metadata.RepoTags must be a list, not text",
    ),
    (
        with_vulnerability(VulnerabilityID=7),
        None,
        "file.json: Results[0].Vulnerabilities[0].VulnerabilityID must be text, not a number",
    ),
    (with_vulnerability(PkgName=""), None, "file.json: Results[0].Vulnerabilities[0].PkgName must not be empty"),
    (with_vulnerability(Severity=["HIGH"]), None, "Severity must be text, not a list"),
    (b'{"matches": [{"vulnerability": "CVE-1"}]}', None, "file.json: matches[0].vulnerability must be a mapping"),
    (b'{"matches": [null]}', None, "file.json: matches[0] must not be empty"),
    (b'{"runs": []}', None, "file.json: runs must not be empty"),
    (b'{"runs": [{"results": []}]}', None, "file.json: runs[0].tool must not be empty"),
    (
        b'{"runs": [{"tool": {"driver": {"name": "x", "rules": 1}}}]}',
        None,
        "file.json: runs[0].tool.driver.rules must be",
    ),
    (
        b'{"results": [{"type": "unpatched_gem", "gem": []}]}',
        None,
        "file.json: results[0].advisory must be a mapping, not nothing",
    ),
    (b'{"results": [true]}', None, "file.json: results[0] must be a mapping, not true or false"),
]


@pytest.mark.parametrize("content, form, said", HOSTILE)
def test_what_is_no_report_is_one_line_that_says_where(content: bytes, form: str | None, said: str) -> None:
    with pytest.raises(ReportError) as caught:
        parse_report(content, "1.1.0", form, "file.json")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_texts_of_a_report_become_lines_that_a_log_can_hold() -> None:
    hostile = with_vulnerability(
        VulnerabilityID="CVE-1\n\x1b[31mrm \ud800" + "x" * 1000, InstalledVersion="1\r\n2", FixedVersion="\u202e3" * 500
    )
    finding = parse_report(hostile, "1.1.0").findings[0]
    assert finding.id.startswith("CVE-1 [31mrm x")
    assert finding.installed == "1 2"
    assert max(map(len, (finding.id, finding.fixed))) <= 200
    assert all(text.isprintable() for text in (finding.id, finding.installed, finding.fixed))


def test_a_report_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(samples.written(samples.trivy()))
    assert read_report(path, "1.1.0").findings == ()
    monkeypatch.setattr(_scan_reports, "SIZE_LIMIT", 100)
    with pytest.raises(ReportError, match=r"large\.json: is larger than"):
        read_report(path, "1.1.0")
    monkeypatch.setattr(_scan_reports, "SIZE_LIMIT", 10_000_000)
    monkeypatch.setattr(_scan_reports, "FINDINGS_LIMIT", 1)
    with pytest.raises(ReportError, match="has 2 findings, more than 1"):
        read(samples.trivy(("CVE-1", "a", "LOW"), ("CVE-2", "a", "LOW")))


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"none\.json: No such file or directory"):
        read_report(tmp_path / "none.json", "1.1.0")
    with pytest.raises(ReportError, match="Is a directory"):
        read_report(tmp_path, "1.1.0")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
    (samples.trivy(("CVE-1", "a", "HIGH")), path)
    for path in [
        ("Results",),
        ("Results", 0, "Vulnerabilities"),
        ("Results", 0, "Vulnerabilities", 0, "Severity"),
        ("Trivy",),
        ("CreatedAt",),
        ("Metadata",),
    ]
]
PLACES += [(samples.GRYPE, path) for path in [("source",), ("descriptor", "db"), ("matches", 0, "vulnerability")]]
PLACES += [(samples.BUNDLER_AUDIT, path) for path in [("results", 0, "advisory"), ("created_at",)]]
PLACES += [
    (samples.SARIF_GRYPE, ("runs", 0, *path))
    for path in [
        ("invocations",),
        ("results", 0, "ruleIndex"),
        ("results", 0, "kind"),
        ("results", 0, "baselineState"),
        ("results", 1, "suppressions", 0, "status"),
        ("tool", "driver", "rules", 0),
        ("properties",),
    ]
]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_whatever_stands_somewhere_in_a_report_it_is_read_or_refused(
    place: tuple[dict[str, Any], tuple[str | int, ...]], value: object
) -> None:
    sample, path = place
    document = copy.deepcopy(sample)
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    said = ""
    findings: tuple[Finding, ...] = ()
    try:
        findings = read(document).findings
    except ReportError as error:
        said = str(error)
    assert said.isprintable()
    assert all(item.severity in _scan_reports.SEVERITIES for item in findings)
