"""Only what is new against the release before counts, and only where that can be told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._scan_reports import Finding, Report
from ansible_collections.slipway.release.plugins.module_utils._vulnerabilities import (
    Comparison,
    Given,
    Known,
    Policy,
    ScanEvidence,
    SecurityError,
    Waiver,
    parse,
    seen_of,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
FRESH, STALE = "2026-11-22T00:00:00Z", "2026-10-01T00:00:00Z"
POLICY = Policy()
IMAGE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
OLD = Known("1.0.0", "b" * 40, (OTHER,), ("swarm:1.0.0",))
NEW = Known("1.1.0", "a" * 40, (IMAGE,), ("swarm:1.1.0", "swarm-postgres:17"))


def finding(name: str, severity: str = "critical", source: str = "trivy", package: str = "openssl") -> Finding:
    return Finding(name, package, "3.0.1", severity, "3.0.2", source)


def report(subject: str, *findings: Finding, made: str | None = FRESH, about: tuple[str, ...] = ()) -> Report:
    source = findings[0].source if findings else "trivy"
    return Report(subject, source, made, about, findings)


def compare(*reports: Report, policy: Policy = POLICY, first: bool = False) -> Comparison:
    before = None if first else seen_of(OLD, reports, policy, NOW)
    return Comparison(seen_of(NEW, reports, policy, NOW), before, policy, NOW)


def told(comparison: Comparison) -> dict[str, tuple[float | None, bool | None]]:
    return {item.subject: (item.value, item.ok) for item in comparison.observations()}


def test_what_the_release_before_has_too_is_not_new() -> None:
    found = compare(report("1.1.0", finding("CVE-1"), finding("CVE-2")), report("1.0.0", finding("CVE-1")))
    assert told(found) == {"CVE-2 openssl": (None, False), "new": (1, False), "way back": (0, True)}
    assert found.observations()[0].detail == "critical, openssl 3.0.1, fixed in 3.0.2"


def test_the_same_vulnerability_in_another_package_is_new() -> None:
    other = finding("CVE-1", package="libressl")
    assert told(compare(report("1.1.0", other), report("1.0.0", finding("CVE-1"))))["new"] == (1, False)


def test_nothing_new_is_well() -> None:
    found = compare(report("1.1.0", finding("CVE-1")), report("1.0.0", finding("CVE-1")))
    assert told(found) == {"new": (0, True), "way back": (0, True)}


def test_what_weighs_less_is_shown_and_decides_nothing() -> None:
    light = (finding("CVE-2", "high"), finding("CVE-3", "medium"), finding("CVE-4", "unknown"))
    found = compare(report("1.1.0", *light), report("1.0.0"))
    assert told(found)["new"] == (0, True)
    warned = [item for item in found.observations() if item.unit == "warnings"]
    assert [(item.subject, item.value, item.ok) for item in warned] == [
        ("CVE-2 openssl", 1, True),
        ("CVE-4 openssl", 1, True),
    ]


def test_the_threshold_is_policy() -> None:
    strict = Policy(severity="high", warn="low")
    found = compare(report("1.1.0", finding("CVE-2", "high"), finding("CVE-3", "low")), report("1.0.0"), policy=strict)
    assert told(found)["new"] == (1, False)
    assert told(found)["CVE-3 openssl"] == (1, True)


def test_going_back_to_more_is_said() -> None:
    found = compare(report("1.1.0", finding("CVE-9")), report("1.0.0", finding("CVE-1"), finding("CVE-2")))
    assert told(found)["way back"] == (2, False)
    assert "1.0.0 has CVE-1 in openssl, CVE-2 in openssl that this one has not" in found.observations()[-1].detail
    light = compare(report("1.1.0"), report("1.0.0", finding("CVE-1", "high")))
    assert told(light)["way back"] == (0, True)


@pytest.mark.parametrize(
    "reports, said",
    [
        ((), "there is no report for 1.1.0"),
        ((report("1.0.0"),), "there is no report for 1.1.0"),
        ((report("1.1.0", made=STALE), report("1.0.0")), "trivy's report for 1.1.0 has a database of 53 days ago"),
        ((report("1.1.0", made=None), report("1.0.0")), "does not tell how old its database is"),
        ((report("1.1.0", made="2026-12-23T00:00:00Z"), report("1.0.0")), "comes from the future"),
        ((report("1.1.0", about=("swarm:1.0.0",)), report("1.0.0")), "trivy's report for 1.1.0 is about swarm:1.0.0"),
        ((report("1.1.0", about=(OTHER,)), report("1.0.0")), f"is about {OTHER}"),
        ((report("1.1.0", about=("c" * 40,)), report("1.0.0")), f"is about {'c' * 40}"),
        ((report("1.1.0", finding("CVE-1")),), "there is no report for 1.0.0; 1 critical may be new or not"),
        (
            (report("1.1.0", finding("CVE-1")), report("1.0.0", made=STALE)),
            "trivy's report for 1.0.0 has a database of 53 days ago, more than 7; 1 critical may be new or not",
        ),
        (
            (report("1.1.0", finding("CVE-1")), report("1.0.0"), report("1.0.0", made=STALE)),
            "trivy's report for 1.0.0 has a database of 53 days ago, more than 7; 1 critical may be new or not",
        ),
        (
            (report("1.1.0", finding("CVE-1")), report("1.0.0"), Report.missing("1.0.0", SlipwayError("oops"))),
            "a report for 1.0.0 could not be had: oops; 1 critical may be new or not",
        ),
        (
            (report("1.1.0", finding("CVE-1", source="grype")), report("1.0.0", finding("CVE-2"))),
            "there is no report of grype for 1.0.0; 1 critical may be new or not",
        ),
    ],
)
def test_what_cannot_be_told_is_neither_well_nor_a_reason_to_go_back(reports: tuple[Report, ...], said: str) -> None:
    found = compare(*reports)
    assert told(found)["new"] == (0, None)
    assert said in found.summary
    assert not [item for item in found.observations() if item.ok is False]


def test_how_many_going_back_would_bring_cannot_be_told_without_both_reports() -> None:
    assert told(compare(report("1.1.0")))["way back"] == (None, None)
    mixed = compare(report("1.1.0"), report("1.0.0", finding("CVE-1", source="grype")))
    assert told(mixed)["way back"] == (None, None)


def test_a_release_without_anything_of_weight_needs_nothing_to_be_compared_with() -> None:
    assert told(compare(report("1.1.0", finding("CVE-1", "low"))))["new"] == (0, True)


def test_a_new_one_decides_whatever_else_is_stale() -> None:
    found = compare(
        report("1.1.0", finding("CVE-1")),
        report("1.0.0"),
        report("1.1.0", finding("CVE-2", source="grype"), made=STALE),
    )
    assert told(found)["new"] == (1, False)
    assert "grype's report for 1.1.0 has a database of 53 days ago" in found.summary


def test_two_scanners_that_agree_count_once() -> None:
    found = compare(
        report("1.1.0", finding("CVE-1", "high")),
        report("1.1.0", finding("CVE-1", source="grype")),
        report("1.0.0"),
    )
    assert told(found)["new"] == (0, True), "grype has not looked at 1.0.0, and trivy weighs it less"
    both = compare(
        report("1.1.0", finding("CVE-1", "high")),
        report("1.1.0", finding("CVE-1", source="grype")),
        report("1.0.0"),
        report("1.0.0", finding("CVE-0", "low", source="grype")),
    )
    assert told(both)["new"] == (1, False)


def test_on_a_first_install_all_is_new_and_there_is_no_way_back() -> None:
    assert told(compare(report("1.1.0", finding("CVE-1")), first=True)) == {
        "CVE-1 openssl": (None, False),
        "new": (1, False),
    }


@pytest.mark.parametrize(
    "about",
    [
        (),
        (".",),
        ("Gemfile.lock",),
        ("registry.example:5000/team/swarm:1.1.0", "sha256:" + "c" * 64),
        ("swarm:1.1.0@sha256:" + "c" * 64,),
        (IMAGE,),
        ("a" * 40,),
        ("a" * 12,),
        ("swarm-postgres:17",),
    ],
)
def test_what_a_report_is_about_can_be_told_by_image_tag_or_commit(about: tuple[str, ...]) -> None:
    assert NEW.foreign(about) is None


def test_images_that_are_not_there_yet_cannot_be_told_from_others() -> None:
    assert Known("1.1.0", "a" * 40).foreign((IMAGE,)) is None
    assert Known("1.1.0").foreign(("a" * 40,)) is None


@pytest.mark.parametrize(
    "subject, named",
    [("1.1.0", True), ("a" * 40, True), ("a" * 7, True), ("aaa", False), ("1.1", False), ("b" * 40, 0)],
)
def test_a_report_is_for_a_version_or_a_commit(subject: str, named: bool) -> None:
    assert NEW.named_by(subject) is bool(named)


def waive(until: str, package: str | None = None) -> Policy:
    return Policy(waivers=(Waiver("CVE-1", until, "never called", package),))


def test_a_waiver_holds_until_its_day_and_is_said() -> None:
    reports = (report("1.1.0", finding("CVE-1")), report("1.0.0"))
    found = compare(*reports, policy=waive("2026-11-23"))
    assert told(found)["new"] == (0, True)
    assert "CVE-1 waived until 2026-11-23 (never called)" in found.summary
    expired = compare(*reports, policy=waive("2026-11-22"))
    assert told(expired)["new"] == (1, False)
    assert expired.observations()[0].detail.endswith("fixed in 3.0.2, its waiver ended on 2026-11-22")
    assert told(compare(*reports, policy=waive("2027-01-01", "bash")))["new"] == (1, False)
    back = compare(report("1.1.0"), report("1.0.0", finding("CVE-1")), policy=waive("2027-01-01"))
    assert told(back)["way back"] == (0, True)


def test_a_great_many_are_counted_and_some_shown() -> None:
    many = [finding(f"CVE-{number}") for number in range(500)]
    found = compare(report("1.1.0", *many), report("1.0.0"))
    assert told(found)["new"] == (500, False)
    assert len(found.observations()) < 60


def test_evidence_comes_through_json_without_what_plays_no_part() -> None:
    given: dict[str, Any] = {
        "reports": [{"path": "a.json", "for": "1.1.0"}],
        "waivers": [{"id": "CVE-1", "until": "2026-12-31", "reason": "never called"}],
        "scanner": {"command": ["trivy", "image", "-f", "json", "${image}"], "timeout": 60},
        "severity": "high",
        "warn": "critical",
    }
    policy, files = parse(given)
    assert files == (Given("a.json", "1.1.0"),)
    evidence = ScanEvidence(policy, (report("1.1.0", finding("CVE-1"), finding("CVE-2", "medium")),))
    again = ScanEvidence.from_dict(evidence.to_dict())
    assert again.policy == policy
    assert [item.id for item in again.reports[0].findings] == ["CVE-1"]
    with pytest.raises(SecurityError, match="hand it on"):
        ScanEvidence.from_dict({"policy": {}})


@pytest.mark.parametrize(
    "given, said",
    [
        ({"severity": "urgent"}, "security.severity: must be one of low, medium, high, critical, not 'urgent'"),
        ({"reports": "a.json"}, "security.reports: must be a list, not text"),
        ({"reports": [{"path": "a.json"}]}, "security.reports[0].for: is required"),
        ({"reports": [{"path": "a", "for": "1", "format": "xml"}]}, "security.reports[0].format: must be one of"),
        ({"reports": [{"path": "a", "for": "1", "made": "now"}]}, "must be an ISO 8601 time with a zone"),
        ({"waivers": [{"id": "CVE-1", "until": "soon", "reason": "x"}]}, "waivers[0].until: must be a day as"),
        ({"waivers": [{"id": "CVE-1", "until": "2026-2-3", "reason": "x"}]}, "waivers[0].until: must be a day as"),
        ({"waivers": [{"id": "CVE-1", "until": "20260203", "reason": "x"}]}, "waivers[0].until: must be a day as"),
        ({"waivers": [{"id": "CVE-1", "until": "2026-12-31"}]}, "waivers[0].reason: is required"),
        ({"max_age": -1}, "security.max_age: must be a number from 0"),
        ({"scanner": {"command": ["trivy"]}}, "scanner.command: must have an element with ${image}"),
        ({"scanner": {"command": "trivy ${image}"}}, "scanner.command: must be a list, not text"),
        ({"scanner": {"command": ["x", "${image}"], "where": "controller"}}, "scanner.image: must name the image"),
        ({"scanner": {"command": ["x", "${image}"], "image": "y:${version}"}}, "has no meaning on the host"),
        ({"report": []}, "security.report: is unknown: did you mean reports?"),
    ],
)
def test_variables_that_make_no_sense_are_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SecurityError) as caught:
        parse(given)
    assert said in str(caught.value)
