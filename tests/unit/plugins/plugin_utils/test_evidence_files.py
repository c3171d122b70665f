"""The evidence for a release as it lies on the controller."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._evidence import Claim, EvidenceError, GateEvidence
from ansible_collections.slipway.release.plugins.plugin_utils._evidence_files import (
    RECORD_LIMIT,
    Settings,
    parse,
    read_evidence,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.typed import typed

COMMIT, OTHER = "a" * 40, "b" * 40
NOW = datetime(2026, 11, 24, 14, tzinfo=UTC)
WINDOW = {"days": ["sat", "sun"], "from": "22:00", "to": "05:00", "time_zone": "Europe/Berlin"}
ATTESTATION = {"format": 1, "commit": COMMIT, "result": "passed", "when": "2026-11-20T10:00:00Z", "url": "https://ci/1"}
REVIEW = f"commit: {COMMIT}\nreviewer: Anna\nkind: peer\nwhen: 2026-11-20T10:00:00Z\n"
JUNIT = f"""<testsuite tests="1"><properties><property name="commit" value="{COMMIT}"/></properties>
<testcase name="a"/></testsuite>"""

Given = Callable[..., GateEvidence]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "1.2.0"
    made.mkdir()
    return made


@pytest.fixture
def read(tmp_path: Path) -> Given:
    def with_settings(**more: Any) -> GateEvidence:  # noqa: ANN401 - variables of the role
        given = {"evidence_directory": str(tmp_path), "notes_directory": str(tmp_path), "window": WINDOW, **more}
        return read_evidence(parse(given), "1.2.0", NOW)

    return with_settings


def of_tests(evidence: GateEvidence) -> Claim:
    return evidence.claims["tests"]


def attest(directory: Path, **changes: Any) -> None:  # noqa: ANN401 - plain data
    (directory / "attestation.json").write_text(json.dumps({**ATTESTATION, **changes}))


@pytest.mark.promise("G1")
def test_an_attestation_claims_the_tests_of_a_commit(directory: Path, read: Given) -> None:
    attest(directory)
    assert of_tests(read()) == Claim(
        ok=True, detail="passed in the CI (https://ci/1, 2026-11-20T10:00:00Z)", commit=COMMIT
    )


@pytest.mark.promise("G1")
def test_junit_files_claim_the_commit_that_they_name_or_the_attestation_names_for_them(
    directory: Path, read: Given
) -> None:
    (directory / "rspec.xml").write_text(JUNIT)
    assert of_tests(read()) == Claim(ok=True, detail="1 tests passed", commit=COMMIT)
    plain = '<testsuite><testcase name="a"/><testcase name="b"/></testsuite>'
    (directory / "rspec.xml").write_text(plain)
    assert "rspec.xml says for no commit" in of_tests(read()).detail
    attest(directory, junit=[{"file": "rspec.xml", "sha256": hashlib.sha256(plain.encode()).hexdigest()}])
    assert of_tests(read()).detail.startswith("2 tests passed, passed in the CI")
    (directory / "rspec.xml").write_text(plain + " ")
    assert "its sha256 differs" in of_tests(read()).detail
    (directory / "rspec.xml").unlink()
    assert "rspec.xml is named in the attestation and is not there" in of_tests(read()).detail


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    "files, said",
    [
        ({}, "there is no evidence in "),
        ({"attestation.json": {"result": "failed"}}, "the CI says failed (https://ci/1"),
        ({"attestation.json": {"commit": "main"}}, "attestation.json.commit: must be a full commit id"),
        ({"attestation.json": {"when": "yesterday"}}, "attestation.json.when: must be an ISO 8601 time"),
        ({"attestation.json": {"format": 2}}, "attestation.json.format: must be 1"),
        ({"attestation.json": {"comit": COMMIT}}, "attestation.json.comit: is unknown: did you mean commit?"),
        ({"attestation.json": {"a\nb": 1}}, "attestation.json.a b: is unknown"),
        ({"attestation.json": {}, "j.xml": JUNIT.replace(COMMIT, OTHER)}, "are for 2 commits: keep those of one"),
        ({"j.xml": JUNIT.replace("/></testsuite>", "><failure/></testcase></testsuite>")}, "1 of 1 tests failed (a)"),
        ({"j.xml": JUNIT.replace('<testcase name="a"/>', "")}, "no test ran"),
        ({"j.xml": JUNIT.replace("/></testsuite>", "><skipped/></testcase></testsuite>")}, "no test ran"),
        ({"j.xml": "<!DOCTYPE a []><testsuite/>"}, "j.xml: has a DTD"),
        ({"attestation.json": "[" * 90_000}, "attestation.json is no JSON that can be read"),
        ({"attestation.json": " " * (RECORD_LIMIT + 1)}, "attestation.json is larger than 100 kB"),
        ({"attestation.json": "7"}, "attestation.json: must be a mapping, not a number"),
        ({"attestation.json": {"format": [[1], {}]}}, "attestation.json.format: must be 1"),
        ({"attestation.json": {}, "attestation.yml": "a: b"}, "are both there: keep one"),
    ],
)
def test_what_does_not_hold_is_said_in_one_line(directory: Path, read: Given, files: dict[str, Any], said: str) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps({**ATTESTATION, **content})
        (directory / name).write_text(text)
    claim = of_tests(read())
    assert claim.ok is False
    assert said in claim.detail
    assert len(claim.detail.splitlines()) == 1


@pytest.mark.promise("G2")
def test_a_review_has_a_reviewer_and_a_kind(directory: Path, read: Given) -> None:
    assert (
        "write review.yml there, with commit, reviewer, kind (self or peer) and when" in read().claims["review"].detail
    )
    (directory / "review.yml").write_text(REVIEW)
    said = Claim(ok=True, detail="peer review by Anna, 2026-11-20T10:00:00Z", commit=COMMIT)
    assert read().claims["review"] == said
    (directory / "review.yml").write_text(REVIEW.replace("peer", "none"))
    assert "review.yml.kind: must be one of self, peer, not 'none'" in read().claims["review"].detail
    (directory / "review.yml").write_text("commit: [")
    assert "review.yml is no YAML that can be read" in read().claims["review"].detail


@pytest.mark.promise("G2")
def test_a_few_lines_that_stand_for_more_than_the_memory_holds_are_refused(directory: Path, read: Given) -> None:
    (directory / "attestation.json").unlink(missing_ok=True)
    ten = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    (directory / "attestation.yml").write_text("\n".join(["a0: &a0 [x]", *ten, "format: *a11"]))
    detail = of_tests(read()).detail
    assert detail.endswith("attestation.yml: line 2: has an alias (*NAME): write there what it stands for")


@pytest.mark.promise("G9")
def test_documentation_may_be_a_record_and_is_the_repository_s_matter_otherwise(directory: Path, read: Given) -> None:
    assert "documentation" not in read().claims
    (directory / "documentation.yml").write_text(
        f"commit: {COMMIT}\nurl: https://docs/1.2.0\nwhen: 2026-11-20T10:00:00Z\n"
    )
    assert read().claims["documentation"].commit == COMMIT
    assert read().claims["documentation"].detail.startswith("https://docs/1.2.0")


@pytest.mark.promise("G7")
def test_outside_of_the_window_only_a_reason_helps(read: Given) -> None:
    claim = read().claims["window"]
    assert claim.ok is False
    assert "it is Tue 15:00 there, outside sat, sun 22:00 to 05:00 Europe/Berlin" in claim.detail
    assert "wait until Sat 2026-11-28 22:00, or say why not: -e \"release_window_override='WHY'\"" in claim.detail
    overridden = read(window_override="the disk of customer-a fails").claims["window"]
    assert (overridden.ok, overridden.by) == (None, None)
    assert overridden.detail.endswith("the disk of customer-a fails")
    always = {**WINDOW, "days": ["tue"], "from": "15:00"}
    assert read(window=always, window_override="not needed").claims["window"].ok is True
    assert "no window is agreed: set release_window" in read(window=None).claims["window"].detail


@pytest.mark.promise("G8")
def test_a_waiver_says_why_and_who_and_nothing_is_looked_at(read: Given) -> None:
    waived = read(gates={"tests": {"waived": "the CI is down", "by": "anna"}, "review": "required"}).claims
    assert waived["tests"] == Claim(None, "the CI is down", by="anna")
    assert waived["review"].ok is False
    assert GateEvidence.from_dict(json.loads(json.dumps(read().to_dict()))) == read()


@pytest.mark.parametrize(
    "given, said",
    [
        ({"gates": {"test": "required"}}, "release_gates.test: is unknown: did you mean tests?"),
        ({"gates": {"tests": "waived"}}, "release_gates.tests: must be one of required, not 'waived'"),
        ({"gates": {"tests": {"waived": "tired"}}}, "release_gates.tests.by: is required"),
        ({"gates": {"tests": False}}, "release_gates.tests: must be a mapping, not true or false"),
        ({"window": {}}, "release_window.from: is required; release_window.to: is required"),
        ({"window_override": True}, "release_window_override: must be text"),
        ({"window_override": "a\nb"}, "release_window_override: must not contain control characters"),
    ],
)
def test_variables_that_make_no_sense_are_all_said(read: Given, given: dict[str, Any], said: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        read(**given)
    assert said in str(caught.value)


@pytest.mark.promise("G4")
def test_a_place_where_notes_cannot_be_written_is_found_before_anything_changes(tmp_path: Path, read: Given) -> None:
    (tmp_path / "file").touch()
    said = read(notes_directory=str(tmp_path / "file/notes")).claims["release_notes"]
    assert (said.ok, "mend release_notes_directory" in said.detail) == (False, True)
    assert "release_notes" not in read(notes_directory=str(tmp_path / "not/there/yet")).claims


def test_a_directory_that_nobody_may_look_into_is_said_by_its_gates(
    directory: Path, read: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    claim = read().claims["review"]
    assert (claim.ok, claim.detail) == (False, f"{directory}/review.json: Permission denied")


def test_a_version_that_is_none_leads_nowhere(tmp_path: Path) -> None:
    place = tmp_path / "evidence"
    place.mkdir()
    attest(tmp_path)
    assert read_evidence(Settings(place, tmp_path), "..", NOW) == GateEvidence()


def sign(directory: Path, key: Path, name: str, namespace: str = "slipway") -> None:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key), str(directory / name)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.promise("G1")
def test_where_signers_are_named_only_what_they_signed_counts(tmp_path: Path, directory: Path, read: Given) -> None:
    for name in ("ci", "mallory"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    signers = tmp_path / "signers"
    assert "signers is not there" in said(directory, read, signers)
    signers.write_text(f"ci@example.test {(tmp_path / 'ci.pub').read_text()}")
    assert "attestation.json.sig is not there: sign with 'ssh-keygen -Y sign" in said(directory, read, signers)
    sign(directory, tmp_path / "mallory", "attestation.json")
    assert "is not by anybody in" in said(directory, read, signers)
    (directory / "attestation.json.sig").unlink()
    sign(directory, tmp_path / "ci", "attestation.json", "file")
    assert "is not by anybody in" in said(directory, read, signers)
    (directory / "attestation.json.sig").unlink()
    page = {"ci_key": str(tmp_path / "ci"), "evidence/1.2.0": str(directory)}
    typed("docs/gates.md", "ssh-keygen -Y sign", given=page)
    assert said(directory, read, signers).endswith("signed by ci@example.test)")
    (directory / "j.xml").write_text(JUNIT)
    assert "j.xml says for no commit" in said(directory, read, signers)
    (directory / "j.xml").unlink()
    attest(directory, url="https://elsewhere")
    assert "or not for this file" in of_tests(read(allowed_signers=str(signers))).detail
    (directory / "attestation.json").unlink()
    (directory / "j.xml").write_text(JUNIT)
    assert of_tests(read(allowed_signers=str(signers))).ok is False


def said(directory: Path, read: Given, signers: Path) -> str:
    attest(directory)
    return of_tests(read(allowed_signers=str(signers))).detail


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_bytes_in_any_file_end_with_a_claim_of_one_line(directory: Path, read: Given, content: bytes) -> None:
    for name in ("attestation.json", "review.yml", "documentation.yml"):
        (directory / name).write_bytes(content)
    for claim in read().claims.values():
        assert claim.ok is False
        assert len(claim.detail.splitlines()) == 1
