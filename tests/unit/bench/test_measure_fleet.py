"""What stands in for Docker on the light sites of bench/fleet, and what is made of the figures."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure_fleet import ANSWERS, RECORDED, Deployed, collection, used_here
from lab._common import ROOT


def test_a_site_answers_what_was_recorded_in_its_order_and_begins_anew_with_each_deploy(tmp_path: Path) -> None:
    package = tmp_path / "slipway"
    package.mkdir()
    results = {"preflight": [{"run": 1}], "probe": [{"look": 1}, {"look": 2}]}
    recorded = RECORDED.format(content=base64.b64encode(json.dumps(results).encode()).decode())
    (package / "_recorded.py").write_text(recorded.replace("/run/slipway-bench", str(tmp_path / "state")))
    for name in results:
        (package / f"_call_{name}.py").write_text(ANSWERS.format(name=name))
    # each call is a process of its own
    told = []
    for name in ("preflight", "probe", "probe", "probe", "preflight", "probe"):
        script = f"from slipway._call_{name} import answer; print(answer(None, None))"
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        told.append(done.stdout.strip())
    assert told == ["{'run': 1}", "{'look': 1}", "{'look': 2}", "{'look': 2}", "{'run': 1}", "{'look': 1}"]


def test_the_collection_is_ours_but_for_what_is_replaced(tmp_path: Path) -> None:
    made = collection(tmp_path, replaced={"module_utils/_call_probe.py": "replaced"})
    home = made / "ansible_collections/slipway/release"
    assert (home / "plugins/module_utils/_call_probe.py").read_text() == "replaced"
    assert (ROOT / "plugins/module_utils/_call_probe.py").read_text() != "replaced"
    ours = {path.relative_to(ROOT) for path in (ROOT / "plugins").rglob("*.py")}
    assert {path.relative_to(home) for path in (home / "plugins").rglob("*.py")} == ours
    assert (home / "plugins/action/probe.py").resolve() == home / "plugins/plugin_utils/_host_call.py"


def test_the_floor_is_the_processor_time_of_all_sites_divided_by_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert Deployed(64, 5.0, 170.0, (12,) * 64).floor == 160.0


def test_processes_that_outlive_their_call_are_counted(tmp_path: Path) -> None:
    before = used_here(tmp_path)
    busy = "import sys, time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", busy, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert used_here(tmp_path) - before >= 0.4
        process.communicate()
