"""What runs is looked at on demand: what stands open, and what scanners know of it against the release before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Run

Play = Callable[..., Run]
Sh = Callable[[str], str]

PROXY = "$(docker ps --quiet --filter label=com.docker.compose.service=proxy)"


def written(directory: Path, known: Mapping[str, Sequence[str]], days: int = 1) -> dict[str, Any]:
    """Write a report of Trivy for each release, of a database of so many days ago; returns the variables."""
    made = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    for version, identities in known.items():
        item = {"PkgName": "openssl", "InstalledVersion": "3.0.1", "FixedVersion": "3.0.2", "Severity": "CRITICAL"}
        found = [{"VulnerabilityID": identity, **item} for identity in identities]
        report = {
            "SchemaVersion": 2,
            "CreatedAt": made,
            "ArtifactName": f"swarm:{version}",
            "Results": [{"Target": f"swarm:{version}", "Vulnerabilities": found}],
        }
        (directory / f"{version}.json").write_text(json.dumps(report))
    return {"security_reports": [{"path": f"{directory}/{version}.json", "for": version} for version in known]}


def scan(play: Play, variables: Mapping[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Scan, and return what R5 says."""
    run = play("playbooks/scan.yml", "-e", json.dumps(variables))
    assert "Traceback" not in run.output
    return run, r5(run)


def r5(run: Run) -> dict[str, Any]:
    """What R5 says."""
    judged = next(iter(run.record["hosts"].values()))["verdict"]
    found: dict[str, Any] = next(item for item in judged["criteria"] if item["id"] == "R5")
    return found


def told(run: Run) -> str:
    """What is said of the new ones."""
    seen = next(iter(run.record["hosts"].values()))["observations"]
    return next(str(item["detail"]) for item in seen if (item["probe"], item["subject"]) == ("vulnerability", "new"))


@pytest.mark.promise("R5")
def test_what_is_new_against_the_release_before_asks_to_go_back(types: Play, tmp_path: Path) -> None:
    known = written(tmp_path, {"1.1.0": ["CVE-2026-0001", "CVE-2026-0002"], "1.0.0": ["CVE-2026-0001"]})
    listed = tmp_path / "listed.yml"
    listed.write_text(json.dumps(known))
    page = "ansible-playbook playbooks/scan.yml -i prod -e @reports.yml"
    found = r5(types("docs/scan.md", page, given={"reports.yml": str(listed)}, fails=True))
    assert found["verdict"] == "rollback"
    assert "CVE-2026-0002 openssl: critical, openssl 3.0.1, fixed in 3.0.2" in found["reason"]
    assert "CVE-2026-0001" not in found["reason"]


def test_what_is_waived_or_old_or_stale_does_not(play: Play, tmp_path: Path) -> None:
    known = written(tmp_path, {"1.1.0": ["CVE-2026-0001"], "1.0.0": []})
    waiver = {"id": "CVE-2026-0001", "until": "2999-12-31", "reason": "never called"}
    run, found = scan(play, {**known, "security_waivers": [waiver]})
    assert (run.returncode, found["verdict"]) == (0, "hold")
    assert "CVE-2026-0001 waived until 2999-12-31 (never called)" in told(run)
    stale = written(tmp_path, {"1.1.0": ["CVE-2026-0001"], "1.0.0": []}, days=30)
    run, found = scan(play, stale)
    assert run.returncode == 0
    assert "trivy's report for 1.1.0 has a database of 30 days ago, more than 7" in told(run)


@contextmanager
def _metrics_for_everybody(sh: Sh) -> Iterator[None]:
    # in place, for the file itself is mounted
    change = "sed 's/return 403;/return 200 open;/' /root/nginx.conf >/opt/swarm/nginx/nginx.conf"
    sh(f"cp /opt/swarm/nginx/nginx.conf /root/nginx.conf; {change}; docker exec {PROXY} nginx -s reload; sleep 1")
    try:
        yield
    finally:
        sh(f"cat /root/nginx.conf >/opt/swarm/nginx/nginx.conf; docker exec {PROXY} nginx -s reload; sleep 1")


@pytest.mark.promise("R5")
def test_a_page_that_came_to_stand_open_asks_to_go_back(play: Play, types: Play, sh: Sh) -> None:
    with _metrics_for_everybody(sh):
        run, found = scan(play, {})
    assert run.returncode != 0
    assert found["reason"] == "GET /metrics: 200 to somebody who has not logged in"
    assert r5(types("docs/scan.md", "ansible-playbook playbooks/scan.yml -i prod"))["verdict"] == "hold"
