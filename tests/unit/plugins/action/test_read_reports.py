"""Real runs of ansible-playbook against a host that cannot be reached: reading reports connects to nothing."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.unit.plugins.action import unreachable
from tests.unit.plugins.module_utils import scan_samples as samples

# as people write them: YAML makes a date of the day, and a number of what looks like one
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Read the reports
      ansible.builtin.import_role:
        name: slipway.release.security
      vars:
        security_reports:
          - {path: "HERE/trivy.json", for: 1.1.0}
          - {path: "HERE/gems.json", for: 1.1.0, format: bundler-audit}
          - {path: "HERE/gone.json", for: 1.0.0}
        security_strict: false
        security_waivers: [{id: CVE-1, until: 2026-12-31, reason: never called}]
        security_scanner: {command: [PYTHON, SCANNER, "${image}"], where: controller, image: "swarm:${version}"}
        security_versions: [1.1.0, 1.0.0]
    - name: Keep what they say
      ansible.builtin.copy:
        content: "{{ security_evidence | to_json }}"
        dest: KEPT
        mode: "600"
      delegate_to: localhost
      check_mode: false
    - name: Read what is none
      ansible.builtin.import_role:
        name: slipway.release.security
      vars:
        security_reports: [{path: "HERE/broken.json", for: 1.1.0}]
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What was handed on in check mode, which reads the same, and what the operator saw."""
    directory = tmp_path_factory.mktemp("reports")
    kept = directory / "kept.json"
    (directory / "trivy.json").write_bytes(samples.written(samples.trivy(("CVE-1", "openssl", "CRITICAL"))))
    (directory / "gems.json").write_bytes(samples.written(samples.BUNDLER_AUDIT))
    (directory / "broken.json").write_text('{"SchemaVersion": 2, "Results": [7]}')
    scanner = directory / "scanner.py"
    scanner.write_text(
        f"import json, sys\nassert sys.argv[1].startswith('swarm:1.')\nprint(json.dumps({samples.GRYPE!r}))\n"
    )
    text = PLAYBOOK.replace("PYTHON", sys.executable).replace("SCANNER", str(scanner)).replace("KEPT", str(kept))
    done = unreachable.play(directory, text.replace("HERE", str(directory)), "--check")
    assert kept.exists(), done.stdout
    assert done.returncode != 0
    return json.loads(kept.read_text()), done.stdout


def test_reports_and_a_scanner_come_into_one_form(played: tuple[dict[str, Any], str]) -> None:
    evidence, _ = played
    seen = [(item["subject"], item["scanner"], len(item["findings"])) for item in evidence["reports"]]
    # what weighs less than `warn` plays no part and stays here
    assert seen == [
        ("1.1.0", "trivy", 1),
        ("1.1.0", "bundler-audit", 2),
        ("1.0.0", "", 0),
        ("1.1.0", "grype", 1),
        ("1.0.0", "grype", 1),
    ]
    assert evidence["reports"][2]["problem"].endswith("gone.json: No such file or directory")
    assert evidence["policy"]["waivers"][0]["until"] == "2026-12-31"
    assert evidence["policy"]["max_age"] == 7


def test_what_is_no_report_fails_in_one_line(played: tuple[dict[str, Any], str]) -> None:
    _, output = played
    assert "broken.json: Results[0] must be a mapping, not a number" in " ".join(output.split())
    assert "Traceback" not in output
