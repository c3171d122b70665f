"""A verb that only looks, as AWX runs it, on a real host. The others: test_switch.py of the scenario rollback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.conftest import SITE, JobRun


@pytest.mark.promise("U3")
def test_a_job_of_awx_watches_a_site_and_leaves_its_verdict(job: Callable[..., JobRun]) -> None:
    done = job("playbooks/monitor.yml", monitor_looks=2, monitor_interval=1.0)
    assert done.returncode == 0, done.output
    assert set(done.record["hosts"]) == {SITE}
    assert {item["probe"] for item in done.record["hosts"][SITE]["observations"]} >= {"page", "service", "health"}
    verdict = done.record["hosts"][SITE]["verdict"]["overall"]
    assert verdict != "rollback"
    assert done.artifacts == {"slipway": {SITE: {"verdict": verdict}}}
