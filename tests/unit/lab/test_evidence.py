"""What the lab leaves for the gates is what they take, for the releases of the sample and for those that tests make."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._changelog import customer_notes, parse
from ansible_collections.slipway.release.plugins.module_utils._evidence import DOCUMENTATION, NOTES, REVIEW, TESTS
from ansible_collections.slipway.release.plugins.plugin_utils._evidence_files import Settings, read_evidence

from lab import evidence
from lab._common import ROOT
from lab.host import Host
from lab.swarm import REPOSITORY

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TAG = """
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
git clone --quiet --branch 1.1.0 -c advice.detachedHead=false {repository} "$work/swarm"
cd "$work/swarm"
{papers}
git add --all && git -c user.name=a -c user.email=a@example.test commit --quiet --message x && git tag 1.1.1
git push --quiet origin 1.1.1
"""


class Stand:
    """Stands in for a host whose repository lies here."""

    name = "site1"

    def __init__(self, repository: Path) -> None:
        self.repository = repository

    def sh(self, script: str) -> str:
        local = script.replace(REPOSITORY, str(self.repository))
        return subprocess.run(["bash", "-ec", local], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    repository = tmp_path_factory.mktemp("composed") / "swarm.git"
    compose = [sys.executable, str(ROOT / "examples/swarm/compose_repository.py"), "--bare", str(repository)]
    subprocess.run(compose, check=True)
    made = Stand(repository)
    made.sh(TAG.format(repository=REPOSITORY, papers=evidence.PAPERS.format(version="1.1.1")))
    return made


def test_every_release_has_what_its_gates_want(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "EVIDENCE", tmp_path)
    evidence.write(cast("Host", stand))
    git = f"git -C {REPOSITORY} -c safe.directory='*'"
    versions = stand.sh(f"{git} tag").split()
    assert {"1.0.0", "1.1.1", "1.9.0"} <= set(versions)
    for version in versions:
        claims = read_evidence(Settings(tmp_path / "site1", tmp_path), version, NOW).claims
        commit = stand.sh(f"{git} rev-parse {version}^{{commit}}").strip()
        assert [(claims[gate].ok, claims[gate].commit) for gate in (TESTS, REVIEW)] == [(True, commit)] * 2
        assert not {NOTES, DOCUMENTATION} & set(claims)
        assert not customer_notes(parse(stand.sh(f"{git} show {version}:CHANGELOG.md"), version)).empty
        assert stand.sh(f"{git} show {version}:docs/customers/{version}.md").strip()
