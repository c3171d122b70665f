"""What the ledger knows of two releases, and a real scanner program that looks at their images."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._gates import Gates, Request
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Release
from ansible_collections.slipway.release.plugins.module_utils._probe_vulnerabilities import probe_vulnerabilities
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._scan_reports import Report, parse_report
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._vulnerabilities import Policy, ScanEvidence, Scanner

from tests.unit.plugins.module_utils import scan_samples as samples
from tests.unit.plugins.module_utils.application import PROFILE

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def image(letter: str) -> str:
    return f"sha256:{letter * 64}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site on which 1.1.0 was switched to and 1.0.0 stands behind it; they share PostgreSQL's image."""
    made = Site(Profile.parse({**PROFILE, "state_directory": str(tmp_path), "directory": str(tmp_path / "app")}))
    with made.ledger.locked():
        for version, letter in (("1.0.0", "b"), ("1.1.0", "a")):
            images = {"web": image(letter), "worker": image(letter), "postgres": image("d")}
            names = {"web": f"swarm:{version}", "worker": f"swarm:{version}", "postgres": "swarm-postgres:17"}
            made.ledger.save_release(Release(version, letter * 40, images, names, []))
        made.ledger.update(current="1.0.0", candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)))
    return made


def scanner(tmp_path: Path, **reports: Any) -> Policy:  # noqa: ANN401 - plain data
    """A scanner that prints a report for each image, and notes what it was asked for; it fails for others."""
    (tmp_path / "reports.json").write_text(json.dumps({key.replace("_", "."): item for key, item in reports.items()}))
    path = tmp_path / "scanner.py"
    path.write_text(
        "import json, sys\n"
        f"open({str(tmp_path / 'asked')!r}, 'a').write(sys.argv[1] + '\\n')\n"
        f"known = json.load(open({str(tmp_path / 'reports.json')!r}))\n"
        "found = known.get('v' + sys.argv[1].partition(':')[2])\n"
        "sys.exit('no such image') if found is None else print(json.dumps(found))\n"
    )
    return Policy(max_age=36500, scanner=Scanner((sys.executable, str(path), "${image}")))


def about(version: str, *found: tuple[str, str, str]) -> dict[str, Any]:
    return samples.trivy(*found, ArtifactName=f"slipway/swarm-web:{version}", Metadata={})


def told(site: Site, evidence: ScanEvidence) -> dict[str, tuple[float | None, bool | None]]:
    found = probe_vulnerabilities(site, evidence, NOW)
    assert found is not None
    return {item.subject: (item.value, item.ok) for item in found.observations()}


def report(version: str, *found: tuple[str, str, str], **changes: Any) -> Report:  # noqa: ANN401 - plain data
    content = samples.written({**samples.trivy(*found, ArtifactName=f"swarm:{version}", Metadata={}), **changes})
    return parse_report(content, version)


CRITICAL = ("CVE-2026-0001", "openssl", "CRITICAL")


def test_the_candidate_is_compared_with_what_stands_behind_it(site: Site) -> None:
    seen = told(site, ScanEvidence(Policy(), (report("1.1.0", CRITICAL), report("1.0.0"))))
    assert seen == {"CVE-2026-0001 openssl": (None, False), "new": (1, False), "way back": (0, True)}


def test_the_image_that_runs_is_known_by_its_id(site: Site) -> None:
    foreign = report("1.1.0", CRITICAL, ArtifactName="", Metadata={"ImageID": image("e")})
    assert told(site, ScanEvidence(Policy(), (foreign, report("1.0.0"))))["new"] == (0, None)
    own = report("1.1.0", CRITICAL, ArtifactName="", Metadata={"ImageID": image("a")})
    assert told(site, ScanEvidence(Policy(), (own, report("1.0.0"))))["new"] == (1, False)


def test_a_scanner_looks_at_what_differs_and_each_image_once(site: Site, tmp_path: Path) -> None:
    policy = scanner(tmp_path, v1_1_0=about("1.1.0", CRITICAL), v1_0_0=about("1.0.0"))
    assert told(site, ScanEvidence(policy))["new"] == (1, False)
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["slipway/swarm-worker:1.1.0", "slipway/swarm-worker:1.0.0"]


@pytest.mark.promise("X2")
@pytest.mark.parametrize("brought", ["1.1.0", "1.0.0", None])
def test_where_a_bundle_brought_a_release_the_scanner_asks_for_no_newer_database(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brought: str | None
) -> None:
    monkeypatch.delenv("GRYPE_DB_AUTO_UPDATE", raising=False)
    if brought:
        site.ledger.release_directory(brought).mkdir(exist_ok=True)
        (site.ledger.release_directory(brought) / "bundle.json").write_text("{}")
    policy = scanner(tmp_path, v1_1_0=about("1.1.0", CRITICAL), v1_0_0=about("1.0.0"))
    path = tmp_path / "scanner.py"
    path.write_text(
        f"import os\nopen({str(tmp_path / 'set')!r}, 'a').write(str(os.environ.get('GRYPE_DB_AUTO_UPDATE')) "
        f"+ '\\n')\n" + path.read_text()
    )
    told(site, ScanEvidence(policy))
    assert set((tmp_path / "set").read_text().split()) == {"false" if brought else "None"}


def test_a_scanner_that_fails_is_no_pass(site: Site, tmp_path: Path) -> None:
    policy = scanner(tmp_path, v1_0_0=about("1.0.0", CRITICAL))
    found = probe_vulnerabilities(site, ScanEvidence(policy), NOW)
    assert found is not None
    assert {item.subject: item.ok for item in found.observations()} == {"new": None, "way back": None}
    assert "report for 1.1.0 could not be had: " in found.summary
    assert "no such image" in found.summary
    half = scanner(tmp_path, v1_1_0=about("1.1.0", CRITICAL))
    assert told(site, ScanEvidence(half))["new"] == (0, None)


def test_where_no_image_differs_nothing_is_new(site: Site, tmp_path: Path) -> None:
    with site.ledger.locked():
        same = site.ledger.known_release("1.0.0")
        site.ledger.save_release(Release("1.2.0", "c" * 40, same.images, {}, []))
        site.ledger.update(candidate=Candidate("1.2.0", "switched", Before("1.0.0", [], None)))
    assert told(site, ScanEvidence(scanner(tmp_path))) == {"new": (0, True), "way back": (0, True)}
    assert not (tmp_path / "asked").exists()


def test_a_site_without_a_release_has_nothing_to_compare(tmp_path: Path) -> None:
    empty = Site(Profile.parse({**PROFILE, "state_directory": str(tmp_path)}))
    assert probe_vulnerabilities(empty, ScanEvidence(Policy()), NOW) is None


def gate(site: Site, *reports: Report, version: str = "1.2.0", policy: Policy | None = None) -> str:
    evidence = ScanEvidence(policy or Policy(max_age=36500), reports)
    return Gates(site, Request("deploy", "r1", version, security=evidence)).vulnerabilities()


def test_the_gate_refuses_what_is_known_to_be_new(site: Site) -> None:
    with pytest.raises(SlipwayError) as caught:
        gate(site, report("1.2.0", CRITICAL), report("1.0.0"))
    assert str(caught.value) == (
        "1 new of critical severity against 1.0.0: CVE-2026-0001: critical, openssl 3.0.1, fixed in 3.0.2: mend the "
        "release, or waive it in security_waivers with a day and a reason"
    )
    assert gate(site, report("1.2.0", CRITICAL), report("1.0.0", CRITICAL)).startswith("0 new of critical severity")
    other = report("1.2.0", ArtifactName="swarm-postgres:17")
    assert gate(site, other, report("1.0.0")).startswith("0 new")
