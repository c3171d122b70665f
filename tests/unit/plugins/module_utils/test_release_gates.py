"""The gates of a release on the host: claims compared with the commit, and what the repository has at it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._evidence import RELEASE_GATES, Claim, GateEvidence
from ansible_collections.slipway.release.plugins.module_utils._gates import GATES, Request, look
from ansible_collections.slipway.release.plugins.module_utils._git import Checkout
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._release_gates import (
    ExcusedError,
    ReleaseGates,
    UnseenError,
)
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile, Site

from tests.unit.plugins.module_utils.application import PROFILE

OTHER = "b" * 40
CHANGELOG = "## [1.2.0] - 2026-11-20\n\n### Added\n\n- A budget.\n- **Action required:** set it.\n"

Make = Callable[..., ReleaseGates]


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@example.test", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    directory = tmp_path / "remote"
    directory.mkdir()
    git(directory, "init", "--quiet")
    (directory / "CHANGELOG.md").write_text(CHANGELOG)
    (directory / "docs/customers").mkdir(parents=True)
    (directory / "docs/customers/1.2.0.md").write_text("# Swarm 1.2.0\n")
    (directory / "docs/customers/1.2.1.md").write_text("\n")
    (directory / "db/migrate").mkdir(parents=True)
    (directory / "db/migrate/2026_a.rb").touch()
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "x")
    return directory


@pytest.fixture
def commit(remote: Path) -> str:
    return git(remote, "rev-parse", "HEAD")


@pytest.fixture
def make(tmp_path: Path, remote: Path, commit: str) -> Make:
    """Gates of 1.2.0, whose evidence is good unless it is said otherwise."""
    good = {
        "tests": Claim(ok=True, detail="120 tests passed", commit=commit),
        "review": Claim(ok=True, detail="peer review by Anna", commit=commit),
        "window": Claim(ok=True, detail="inside"),
    }

    def gates(version: str = "1.2.0", known: str | None = commit, **given: Any) -> ReleaseGates:  # noqa: ANN401 - claims and flags
        flags = {"opens": True, "standing": False, **{k: given.pop(k) for k in ("opens", "standing") if k in given}}
        checkout = Checkout(HostRunner(), tmp_path / "app", str(remote))
        site = cast("Site", SimpleNamespace(profile=Profile.parse(PROFILE), checkout=checkout))
        return ReleaseGates(site, version, GateEvidence({**good, **given}), lambda: known, **flags)

    return gates


def refusal(gate: Callable[[], str]) -> str:
    with pytest.raises(SlipwayError) as caught:
        gate()
    assert not isinstance(caught.value, (UnseenError, ExcusedError))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def all_of(gates: ReleaseGates) -> dict[str, str]:
    return {name: getattr(gates, name)() for name in RELEASE_GATES}


@pytest.mark.promise("G1", "G2", "G3", "G4", "G7", "G9")
def test_a_release_with_all_its_evidence_is_let_in(make: Make) -> None:
    gates = make()
    assert all_of(gates) == {
        "tests": "120 tests passed",
        "review": "peer review by Anna",
        "changelog": "2 items of 2026-11-20",
        "release_notes": "1 new, 1 action required",
        "documentation": "docs/customers/1.2.0.md, 13 characters",
        "window": "inside",
    }
    assert gates.notes is not None
    assert gates.migrations == ["2026_a.rb"]


@pytest.mark.promise("G1", "G2")
@pytest.mark.parametrize("gate", ["tests", "review", "documentation"])
def test_evidence_for_another_commit_is_none(make: Make, commit: str, gate: str) -> None:
    claim = Claim(ok=True, detail="all is well", commit=OTHER)
    said = refusal(getattr(make(**{gate: claim}), gate))
    assert said.startswith(f"the evidence is for commit {OTHER[:12]}, and 1.2.0 is {commit[:12]}")
    assert getattr(make(**{gate: replace(claim, commit=commit)}), gate)() == "all is well"


@pytest.mark.promise("G3", "G4", "G9")
def test_what_the_repository_lacks_is_said_once(make: Make) -> None:
    gates = make("1.2.1")
    assert "has no entry for 1.2.1: write '## [1.2.1] - " in refusal(gates.changelog)
    with pytest.raises(UnseenError, match="the gate changelog says why"):
        gates.release_notes()
    assert "docs/customers/1.2.1.md is empty at " in refusal(gates.documentation)
    assert "docs/customers/1.2.2.md is not there at " in refusal(make("1.2.2").documentation)
    waived = make("1.2.1", changelog=Claim(None, "why", by="anna"))
    assert "has no entry for 1.2.1" in refusal(waived.release_notes)
    assert waived.notes is None


@pytest.mark.promise("G4")
def test_notes_that_tell_customers_nothing_are_none(make: Make, remote: Path) -> None:
    (remote / "CHANGELOG.md").write_text("## [1.2.0] - 2026-11-20\n### Internal\n- Ruby 3.4.\n")
    git(remote, "commit", "--quiet", "--all", "--message", "y")
    gates = make(known=git(remote, "rev-parse", "HEAD"))
    assert gates.changelog() == "1 items of 2026-11-20"
    assert "tells customers nothing: write what concerns them below Added" in refusal(gates.release_notes)


def test_a_repository_that_cannot_be_read_is_said_once(make: Make) -> None:
    gates = make(known="c" * 40)
    assert "cannot be read from" in refusal(gates.changelog)
    for gate in (gates.release_notes, gates.documentation):
        with pytest.raises(UnseenError, match="the gate changelog says why"):
            gate()


def test_without_a_commit_what_needs_none_is_looked_at_all_the_same(make: Make) -> None:
    wrong = Claim(ok=False, detail="there is no evidence")
    gates = make(known=None, review=wrong)
    assert refusal(gates.review) == "there is no evidence"
    for name in ("tests", "changelog", "release_notes", "documentation"):
        with pytest.raises(UnseenError, match="the gate release says why"):
            getattr(gates, name)()

    def unreadable() -> str:
        raise CommandError(["git"], 128, "no route")

    vars(gates)["_commit"] = unreadable
    with pytest.raises(UnseenError, match="the gate release says why"):
        gates.tests()


@pytest.mark.promise("G7")
def test_a_window_that_is_closed_stops_those_who_begin_and_not_those_who_look(make: Make) -> None:
    closed = Claim(ok=False, detail="wait until Sat")
    assert refusal(make(window=closed).window) == "wait until Sat"
    with pytest.raises(UnseenError, match="wait until Sat"):
        make(window=closed, opens=False).window()


@pytest.mark.promise("G8")
def test_nothing_handed_on_is_no_pass(make: Make) -> None:
    gates = make()
    vars(gates)["_claims"] = {}
    for name in ("tests", "review", "window"):
        assert "the controller handed on nothing about it" in refusal(getattr(gates, name))


def test_a_release_that_runs_already_was_let_in_before(make: Make) -> None:
    gates = make(standing=True, tests=Claim(ok=False, detail="no"))
    for name in RELEASE_GATES:
        with pytest.raises(UnseenError, match=r"1\.2\.0 runs already"):
            getattr(gates, name)()
    assert (gates.notes, gates.migrations) == (None, None)


@pytest.fixture
def answer(tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[GateEvidence], Any]:
    """What the release's gates answer among those of the host."""
    monkeypatch.setitem(GATES, "deploy", RELEASE_GATES)
    monkeypatch.setattr("ansible_collections.slipway.release.plugins.module_utils._gates._HOST", ())
    profile = Profile.parse({**PROFILE, "repository": {"url": str(remote)}})
    git(remote, "tag", "1.2.0")
    place = SimpleNamespace(
        profile=profile,
        ledger=Ledger(tmp_path / "ledger"),
        env_file=EnvFile(tmp_path / ".env"),
        checkout=Checkout(HostRunner(), tmp_path / "app", str(remote)),
        at_rest=nullcontext,
    )
    return lambda evidence: look(
        cast("Site", place), Request("deploy", "r1", "1.2.0", "1.2.0", owner="ben", evidence=evidence)
    )


@pytest.mark.promise("G7", "G8")
def test_what_need_not_hold_is_told_with_who_and_why_and_the_rest_at_once(
    answer: Callable[[GateEvidence], Any], commit: str
) -> None:
    excused = {
        "tests": Claim(None, "the CI is down", by="anna"),
        "window": Claim(None, "outside sat: the disk fails"),
        "review": Claim(ok=True, detail="self review", commit=commit),
    }
    seen = answer(GateEvidence(excused))
    assert seen.failures == []
    assert seen.excused == (("tests", "the CI is down", "anna"), ("window", "outside sat: the disk fails", "ben"))
    details = {item.subject: (item.ok, item.detail) for item in seen.observations}
    assert details["tests"] == (None, "need not hold (anna): the CI is down")
    assert seen.notes.version == "1.2.0"
    wrong = {"tests": Claim(ok=False, detail="none"), "review": Claim(ok=True, detail="", commit=OTHER)}
    assert {line.split(":")[0] for line in answer(GateEvidence(wrong)).failures} == {"tests", "review", "window"}
