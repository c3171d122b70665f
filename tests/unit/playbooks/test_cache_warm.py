"""The real cache_warm.yml on this machine, where what reaches a host is told by a story."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.plugins.fleet import play

OWN = [
    {"id": "R2", "title": "Broken", "probes": ["service"], "required": ["service", "flow"]},
    {"id": "C2", "title": "A key is missing", "mode": "shadow", "probes": ["cache"]},
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "variables, options, title",
    [
        ({}, (), "A cache is not warm"),
        ({"verdict_criteria": OWN}, (), "A key is missing"),
        ({}, ("-e", json.dumps({"verdict_criteria": OWN})), "A key is missing"),
        # C2 is not among them
        ({"verdict_criteria": OWN[:1]}, (), "A cache is not warm"),
    ],
)
def test_a_cache_that_is_not_warm_fails_the_run_by_the_inventory_s_own_criterion(
    tmp_path: Path, variables: dict[str, object], options: tuple[str, ...], title: str
) -> None:
    run = play(tmp_path, ["cold"], *options, playbook="cache_warm", **variables)
    assert run.code != 0
    assert f"C2 {title}: agents: no such key" in run.printed


@pytest.mark.timeout(300)
def test_no_other_criterion_is_asked(tmp_path: Path) -> None:
    run = play(tmp_path, ["good"], playbook="cache_warm", verdict_criteria=OWN)
    assert run.code == 0, run.printed
