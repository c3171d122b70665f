"""Nobody notices a deploy or a rollback: each request is answered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab.host import Host as LabHost
from lab.writer import Write, Writer
from tests.scenarios.conftest import SITE, Run

Play = Callable[..., Run]
Sh = Callable[[str], str]

VERSION = "1.1.5"
ADDITIVE = """
class AddRemark < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :remark, :string
  end
end
"""
BEFORE, AFTER = "1.1.6", "1.1.7"
COLUMN = """
class AddScratchpad < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :scratchpad, :string
  end
end
"""
DROPPED = """
class DropScratchpad < ActiveRecord::Migration[7.2]
  def change
    remove_column :campaigns, :scratchpad, :string
  end
end
"""
STATE = "/var/lib/slipway/swarm"
WEB = "label=com.docker.compose.service=web"

pytestmark = pytest.mark.promise("D4")


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A client that creates and deletes campaigns twenty times a second over connections that stay open."""
    host = LabHost(SITE)
    password = yaml.safe_load(host.secrets_file.read_text())["vault_operator_password"]
    return Writer(host.address, "swarm.example.test", password, tmp_path / "writes.jsonl", 280)


def failed(writes: list[Write]) -> Counter[str]:
    return Counter(f"{item.fate} {item.status or item.problem}" for item in writes if item.fate != "acknowledged")


def test_no_request_fails_while_a_release_with_a_migration_comes_and_goes(
    play: Play, writer: Writer, publish: Callable[..., None], sh: Sh, query: Sh
) -> None:
    publish(VERSION, ADDITIVE)
    with writer:
        there = play("deploy.yml", "-e", f"release_version={VERSION}")
        assert there.returncode == 0, there.output
        deployed = writer.writes()
        back = play("rollback.yml")
        assert back.returncode == 0, back.output
    assert failed(deployed) == Counter()
    assert failed(writer.writes()) == Counter()
    assert len(deployed) > 200
    accounts = writer.accounts(sh)
    assert not accounts.lost
    assert not accounts.aside
    # going back was a switch: nothing was built, booted for a task, or dropped
    assert back.record["hosts"][SITE]["rails_boots"] == 0
    assert query("SELECT count(*) FROM information_schema.columns WHERE column_name = 'remark'") == "1"
    assert sh(f"docker ps --all --filter {WEB} --filter status=exited --quiet | wc -l").strip() == "2"


@pytest.mark.timeout(600)
@pytest.mark.promise("G6")
def test_a_release_whose_schema_breaks_what_runs_on_comes_in_behind_the_maintenance_page(
    play: Play, writer: Writer, publish: Callable[..., None], sh: Sh
) -> None:
    """Rails reads the schema once: a dropped column breaks processes that run on, and not those started later."""
    publish(BEFORE, COLUMN)
    publish(AFTER, COLUMN, DROPPED)
    there = play("deploy.yml", "-e", f"release_version={BEFORE}", "-e", "rehearse_policy=waived")
    assert there.returncode == 0, there.output
    with writer:
        run = play("deploy.yml", "-e", f"release_version={AFTER}")
    assert run.returncode == 0, run.output
    certificate = json.loads(sh(f"cat {STATE}/releases/{AFTER}/certificate.json"))
    assert certificate["side_by_side_wrong"] == ["create a test campaign: POST /campaigns: 500, expected 302 or 303"]
    assert certificate["old_code_wrong"] == []
    journal = [json.loads(line) for line in sh(f"cat {STATE}/journal.jsonl").splitlines()]
    steps = [item["step"] for item in journal if (item.get("release"), item.get("event")) == (AFTER, "done")]
    page, stopped, migrated = map(
        steps.index, ("put the maintenance page up", "stop the web containers", "run db:migrate")
    )
    assert page < stopped < migrated
    # nobody met the broken code, and nobody was left waiting
    assert set(failed(writer.writes())) == {"unknown 503"}
    assert not writer.accounts(sh).lost


def test_the_maintenance_page_comes_and_goes(play: Play, types: Play, sh: Sh) -> None:
    status = (
        "curl --silent --output /dev/null --write-out '%{http_code}' -H 'Host: swarm.example.test' http://127.0.0.1/up"
    )
    for state, expected in (("present", "503"), ("absent", "200")):
        change = ("playbooks/maintenance.yml", "-e", f"maintenance_state={state}")
        assert play(*change, "--check").changed == 1
        page = f"ansible-playbook playbooks/maintenance.yml -i prod -l customer-a -e maintenance_state={state}"
        types("docs/maintenance.md", page)
        assert sh(status).strip() == expected
        assert play(*change).changed == 0
    assert "Retry-After" not in sh("curl --silent --include -H 'Host: swarm.example.test' http://127.0.0.1/up")


def test_what_people_take_down_and_start_by_hand_answers(sh: Sh) -> None:
    """Containers may have other names then than the switch gave to the proxy: nothing names them any more."""
    assert "swarm-web" not in sh("cat /opt/swarm/nginx/upstreams/web.conf")
    sh("cd /opt/swarm && docker compose down && docker compose up --detach --wait")
    sh("curl --silent --fail --output /dev/null -H 'Host: swarm.example.test' http://127.0.0.1/login")
