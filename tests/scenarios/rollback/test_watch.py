"""The host looks after a release when nobody else does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lab.witness import Witness
from tests.scenarios.conftest import Run

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"
VERSION = "1.1.8"
ADDITIVE = """
class AddAppraisal < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :appraisal, :string
  end
end
"""


@pytest.mark.promise("P1", "P2", "P5", "R2", "R6")
def test_a_breach_without_a_controller_is_taken_back_by_the_host_alone(
    play: Play, publish: Callable[..., None], look: Look, sh: Sh
) -> None:
    before = look().release
    publish(VERSION, ADDITIVE)
    watched = ("-e", "site_watch_hours=1", "-e", "site_watch_every=10")
    there = play("deploy.yml", "-e", f"release_version={VERSION}", *watched)
    assert there.returncode == 0, there.output
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    assert (state["current"], state["watch"]["release"]) == (VERSION, VERSION)
    sh("docker stop $(docker ps --quiet --filter label=com.docker.compose.service=worker)")
    sh(f"for i in $(seq 2000); do [ -e {STATE}/agent ] || exit 0; sleep 0.1; done; cat {STATE}/watch/*.jsonl; exit 1")
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    assert (state["current"], state["candidate"], state["run"], state["watch"]) == (before, None, None, None)
    assert [(item["event"], item["by"]) for item in state["history"][-2:]] == [
        ("taken back", "the host itself"),
        ("watched", "the host itself"),
    ]
    told = [json.loads(line) for line in sh(f"cat {STATE}/watch/alerts.jsonl").splitlines()]
    assert [item["event"] for item in told] == ["breach", "taken back"]
    assert "0 of 1 Sidekiq processes live" in told[0]["reason"]
    looks = [json.loads(line) for line in sh(f"cat {STATE}/watch/looks.jsonl").splitlines()]
    assert {"page", "health", "log", "service", "worker"} <= set(looks[0]["seen"])
    assert told[1]["next"] == f"{before} runs and is well"
    assert look().release == before
    assert sh("ls /etc/systemd/system/slipway-* 2>/dev/null || true") == ""
    assert sh(f"find {STATE}/watch -perm /077 | wc -l").strip() == "0"
