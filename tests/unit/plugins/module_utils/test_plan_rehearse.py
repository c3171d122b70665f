from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _plan_rehearse, _verify
from ansible_collections.slipway.release.plugins.module_utils._certificate import Certificate
from ansible_collections.slipway.release.plugins.module_utils._engine import StepError, carry_out
from ansible_collections.slipway.release.plugins.module_utils._errors import OutOfOrderError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._plan_rehearse import (
    REQUIRED,
    STAGING,
    WAIVED,
    Policy,
    rehearse,
)

pytestmark = pytest.mark.promise("G6")

NEW = Release("1.1.0", "c" * 40, {"web": "w2"}, {}, ["1", "2"])
TRIED = Certificate("1.1.0", "c" * 40, "b0", "then", ["2"], side_by_side_wrong=[])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 a stand-in
    ledger = Ledger(tmp_path)
    with ledger.locked():
        ledger.save_release(NEW)
        ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "staged", Before("1.0.0", ["1"], "s", "b1")))
        ledger.enter("backed_up")
    manifest = {"id": "b1", "database": {"bytes": 1000, "tables": 9}}
    monkeypatch.setattr(_plan_rehearse, "manifest_of", lambda _site, _backup: manifest)
    monkeypatch.setattr(_plan_rehearse, "check_files", lambda _site, _backup: [])
    return SimpleNamespace(ledger=ledger, at_rest=nullcontext, hidden=str)


@pytest.fixture
def wrong() -> list[str]:
    """What the rehearsal finds wrong with the backup."""
    return []


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, wrong: list[str]) -> list[Certificate]:
    """The certificate that the rehearsal gives, alone in a list, so that a test can put another in its place."""
    found = [TRIED]

    class Held:
        boots = 3

        def __init__(self, *_arguments: object) -> None: ...

        def run(self) -> tuple[list[str], Certificate]:
            return wrong, found[0]

    monkeypatch.setattr(_plan_rehearse, "_Rehearsal", Held)
    return found


def carry(site: Any, policy: Policy) -> tuple[dict[str, Any], dict[str, bool | None]]:  # noqa: ANN401 a stand-in
    with site.ledger.locked():
        outcome = carry_out(site, rehearse(site, "1.1.0", policy))
    return outcome.facts, {f"{item.probe} {item.subject}": item.ok for item in outcome.observations}


def test_a_good_rehearsal_lets_the_release_migrate(site: Any, held: list[Certificate]) -> None:  # noqa: ANN401 a stand-in
    del held
    facts, seen = carry(site, Policy())
    assert seen == {
        "backup b1": True,
        "migration rehearsal: db:migrate": True,
        "data rehearsal": True,
        "rehearsal way back": True,
        "rehearsal rehearse": True,
    }
    assert facts["rehearsal_boots"] == 3
    assert facts["rollback_plan"][0] == "target: 1.0.0, as it was when backup b0 was taken"
    assert site.ledger.certificate("1.1.0") == replace(TRIED, proven=True)
    assert site.ledger.state().candidate.phase == "rehearsed"


@pytest.mark.parametrize(
    "changes, probe",
    [
        ({"failed": "it raises"}, "migration rehearsal: db:migrate"),
        ({"losses": ["1 row is gone"]}, "data rehearsal"),
    ],
)
def test_a_bad_one_is_evidence_and_lets_nothing_migrate(
    site: Any,  # noqa: ANN401 a stand-in
    held: list[Certificate],
    changes: dict[str, Any],
    probe: str,
) -> None:
    held[0] = Certificate.from_dict({**TRIED.to_dict(), **changes})
    _facts, seen = carry(site, Policy())
    assert seen[probe] is False
    assert site.ledger.state().candidate.phase == "backed_up"


@pytest.mark.promise("M1")
def test_a_backup_that_does_not_hold_what_the_database_held_lets_nothing_migrate(
    site: Any,  # noqa: ANN401 a stand-in
    held: list[Certificate],
    wrong: list[str],
) -> None:
    # no migration is tried on such a copy
    held[0] = Certificate("1.1.0", "c" * 40, "b1", "now", [])
    wrong += ["table public.agents is gone", "the schema is another"]
    with site.ledger.locked():
        outcome = carry_out(site, rehearse(site, "1.1.0", Policy()))
    (seen,) = [item for item in outcome.observations if item.probe == "backup"]
    assert (seen.subject, seen.ok, seen.detail) == (
        "b1",
        False,
        "table public.agents is gone; the schema is another",
    )
    assert site.ledger.state().candidate.phase == "backed_up"
    assert site.ledger.certificate("1.1.0").proven is False


def test_a_certificate_from_staging_is_accepted_for_the_same_commit(site: Any, held: list[Certificate]) -> None:  # noqa: ANN401 a stand-in
    held[0] = Certificate("1.1.0", "c" * 40, "b1", "now", [])
    carry(site, Policy(STAGING, certificate=TRIED))
    kept = site.ledger.certificate("1.1.0")
    assert (kept.migrations, kept.backup, kept.proven) == (["2"], "b1", True)
    assert site.ledger.state().candidate.phase == "rehearsed"


@pytest.mark.parametrize(
    "certificate, said",
    [
        (None, "rehearse_certificate is not given"),
        (Certificate("1.1.0", "d" * 40, "b", "then", ["2"]), "it does not cover 1.1.0 at cccccccccccc"),
        (Certificate("1.1.0", "c" * 40, "b", "then", []), "with 0 migrations: it does not cover"),
        (Certificate("1.1.0", "c" * 40, "b", "then", ["2"], failed="no"), "and a bad one: it does not cover"),
    ],
)
def test_another_certificate_is_refused(
    site: Any,  # noqa: ANN401 a stand-in
    held: list[Certificate],
    certificate: Certificate | None,
    said: str,
) -> None:
    del held
    with pytest.raises(StepError, match=said):
        carry(site, Policy(STAGING, certificate=certificate))
    assert site.ledger.state().candidate.phase == "backed_up"


def test_a_waived_rehearsal_is_on_record_and_promises_no_way_down(site: Any, held: list[Certificate]) -> None:  # noqa: ANN401 a stand-in
    held[0] = Certificate("1.1.0", "c" * 40, "b1", "now", [])
    facts, seen = carry(site, Policy(WAIVED))
    assert seen["rehearsal migrations"] is None
    kept = json.loads((site.ledger.release_directory("1.1.0") / "certificate.json").read_text())
    assert kept["migrations"] == []
    assert "waived" in kept["notes"][0]
    assert "waived" in facts["rollback_plan"][1]
    assert site.ledger.state().candidate.phase == "rehearsed"


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(WAIVED), Policy(STAGING, certificate=replace(TRIED, proven=True))],
    ids=["required", "waived", "staging"],
)
@pytest.mark.promise("M1")
def test_where_nothing_is_to_be_tried_the_backup_is_proven_before_requests_go_to_the_release(
    site: Any,  # noqa: ANN401 a stand-in
    monkeypatch: pytest.MonkeyPatch,
    policy: Policy,
) -> None:
    with site.ledger.locked():
        site.ledger.update(candidate=Candidate("1.1.0", "staged", Before("1.0.0", ["1", "2"], "s", "b1")))
        site.ledger.enter("backed_up")
    _facts, seen = carry(site, policy)
    assert "backup b1" not in seen, "nobody has proven it yet"
    assert site.ledger.state().candidate.phase == "rehearsed"
    step, asked = _verify.prove_backup(site, "1.1.0"), []
    assert not step.done()

    def verify(_site: object, backup: str) -> list[str]:
        asked.append(backup)
        return ["a row is missing"] if len(asked) == 1 else []

    monkeypatch.setattr(_verify, "verify_backup", verify)
    with site.ledger.locked(), pytest.raises(SlipwayError, match="a row is missing"):
        step.apply()
    assert not step.done()
    with site.ledger.locked():
        step.apply()
    assert step.done()
    assert asked == ["b1", "b1"]
    assert step.probe == "backup"


def test_a_database_that_is_too_large_to_copy_needs_another_proof(
    site: Any,  # noqa: ANN401 a stand-in
    held: list[Certificate],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del held
    removed: list[str] = []
    monkeypatch.setattr(
        _plan_rehearse, "Scratch", lambda _site: SimpleNamespace(remove=lambda: removed.append("what was begun"))
    )
    with pytest.raises(StepError, match="more than rehearse_limit: raise it, or give a certificate from staging"):
        carry(site, Policy(REQUIRED, limit=10))
    _facts, seen = carry(site, Policy(STAGING, limit=10, certificate=TRIED))
    assert seen["backup b1"] is True
    assert removed == ["what was begun"]


def test_without_a_backup_nothing_is_rehearsed(site: Any) -> None:  # noqa: ANN401 a stand-in
    with site.ledger.locked():
        site.ledger.update(candidate=Candidate("1.1.0", "staged", Before("1.0.0", ["1"], "s", "b1")))
    with pytest.raises(OutOfOrderError, match="was not backed up"):
        carry(site, Policy())
