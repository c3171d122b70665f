"""A verb as AWX runs it, on a real host."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import awx_job
from tests.scenarios.conftest import INVENTORY, ROOT, SITE


def _inventory() -> dict[str, Any]:
    """What AWX has read of the inventory; its directory is another in a job."""
    listed = subprocess.run(
        ["ansible-inventory", "-i", INVENTORY, "--list", "--export"], cwd=ROOT, capture_output=True, check=True
    )
    inventory: dict[str, Any] = json.loads(listed.stdout)
    inventory["sites"]["vars"]["lab_directory"] = str(ROOT / "build/lab")
    return inventory


@pytest.mark.promise("U3")
def test_a_job_of_awx_watches_a_site_and_leaves_its_verdict(tmp_path: Path) -> None:
    answers = {"monitor_looks": 2, "monitor_interval": 1.0}
    awx_job.lay_out(tmp_path, _inventory(), answers, limit=SITE)
    done = awx_job.run(tmp_path, "playbooks/monitor.yml")
    assert done.returncode == 0, done.output
    record = json.loads((tmp_path / "project/build/records/latest.json").read_text())
    assert set(record["hosts"]) == {SITE}
    assert {item["probe"] for item in record["hosts"][SITE]["observations"]} >= {"page", "service", "health"}
    verdict = record["hosts"][SITE]["verdict"]["overall"]
    assert verdict != "rollback"
    assert done.artifacts == {"slipway": {SITE: {"verdict": verdict}}}
