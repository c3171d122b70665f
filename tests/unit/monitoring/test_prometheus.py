"""Alert rules and dashboard speak of the metrics that the watch writes, and of no others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.release.plugins.module_utils._metrics import HELP

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "monitoring/prometheus/slipway.rules.yml"
TEST = ROOT / "monitoring/prometheus/slipway.test.yml"
DASHBOARD = ROOT / "monitoring/grafana/slipway.json"
METRIC = re.compile(r"\bslipway_[a-z_]+\b")


def named(text: str) -> set[str]:
    return set(METRIC.findall(text))


@pytest.mark.parametrize("path", [RULES, TEST, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_that_is_named_is_one_that_the_watch_writes(path: Path) -> None:
    assert named(path.read_text())
    assert named(path.read_text()) <= set(HELP)


def test_every_metric_that_the_watch_writes_is_shown_and_explained() -> None:
    assert named(DASHBOARD.read_text()) == set(HELP)
    assert named((ROOT / "docs/watch.md").read_text()) >= set(HELP)


def test_every_alert_says_what_happened_and_where() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert {"$labels.instance", "$labels.application"} <= set(
            re.findall(r"\$labels\.\w+", rule["annotations"]["summary"])
        ), rule["alert"]
    assert {
        item["alertname"] for each in yaml.safe_load(TEST.read_text())["tests"] for item in each["alert_rule_test"]
    } <= set(names)


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    board = json.loads(DASHBOARD.read_text())
    identities = [panel["id"] for panel in board["panels"]]
    assert len(set(identities)) == len(identities)
    variables = {item["name"] for item in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\}?", DASHBOARD.read_text())) == variables


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here: Debian's package prometheus has it")
@pytest.mark.parametrize("verb, path", [("check", RULES), ("test", TEST)])
def test_promtool_takes_the_rules_and_they_fire_as_they_should(verb: str, path: Path) -> None:
    done = subprocess.run(["promtool", verb, "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
