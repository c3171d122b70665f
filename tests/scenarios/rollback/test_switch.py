"""Nobody notices a deploy or a rollback: each request is answered."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.writer import Writer
from tests.scenarios.conftest import SITE, JobRun, Run, failed

Play = Callable[..., Run]
Sh = Callable[[str], str]

VERSION = "1.1.5"
# PostgreSQL prints the conditions otherwise when they were dumped and restored; and old rows are told from new ones.
ADDITIVE = """
class AddRemark < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :remark, :string, comment: "#{ENV["APP_VERSION"]} #{Socket.gethostname}"
    add_index :campaigns, :remark, where: "remark IN ('kept', 'left')"
    add_check_constraint :campaigns, "remark IN ('kept', 'left')", name: "remark_is_known"
    reversible do |way|
      way.up { execute "INSERT INTO agents (name, created_at, updated_at) VALUES ('Newcomer', now(), now())" }
      way.down { execute "DELETE FROM agents WHERE name = 'Newcomer'" }
    end
  end
end
"""
MIGRATED_BY = """
SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'campaigns'::regclass AND attname = 'remark'
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
# A campaign's job does a hundred tasks at a time. Each hundred takes four seconds while Rails' own table says so, for
# which no migration waits.
SLOW = """
CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(4) FROM ar_internal_metadata WHERE key = 'slow'; RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER slow BEFORE UPDATE ON tasks FOR EACH STATEMENT EXECUTE FUNCTION slow();
INSERT INTO ar_internal_metadata VALUES ('slow', 'yes', now(), now());
WITH made AS (INSERT INTO campaigns (name, created_at, updated_at) VALUES ('takes long', now(), now()) RETURNING id)
  INSERT INTO tasks (campaign_id, agent_id, created_at, updated_at)
  SELECT made.id, (SELECT min(id) FROM agents), now(), now() FROM made, generate_series(1, 10000);
"""
LAUNCH = 'LaunchCampaignJob.perform_later(Campaign.find_by!(name: "takes long"))'
ENDED = """
SELECT campaigns.status, count(*) FILTER (WHERE tasks.status = 'done')
FROM campaigns JOIN tasks ON tasks.campaign_id = campaigns.id WHERE name = 'takes long' GROUP BY campaigns.id
"""
STATE = "/var/lib/slipway/swarm"
BROKEN = "1.1.20"
WEB = "label=com.docker.compose.service=web"

pytestmark = pytest.mark.promise("D4")


@contextmanager
def job_that_takes_long(sh: Sh, query: Sh) -> Iterator[None]:
    """A job that takes minutes, or ends soon after this context does."""
    query(SLOW)
    try:
        # nobody waits for Rails to boot: the deploy has a lot to do before it comes to the workers
        sh(f"docker exec --detach $(docker ps --quiet --filter {WEB} | head -1) bin/rails runner '{LAUNCH}'")
        yield
    finally:
        query("DELETE FROM ar_internal_metadata WHERE key = 'slow'")


@pytest.mark.promise("U3", "M2", "D3")
def test_no_request_fails_while_jobs_of_awx_bring_a_release_with_a_migration_and_take_it_back(
    job: Callable[..., JobRun], writer: Writer, publish: Callable[..., None], sh: Sh, query: Sh
) -> None:
    publish(VERSION, ADDITIVE)
    with writer:
        with job_that_takes_long(sh, query):
            there = job("playbooks/deploy.yml", release_version=VERSION)
        assert there.returncode == 0, there.output
        deployed = writer.writes()
        # the new image migrated, in a container of its own that is gone
        version, container = query(MIGRATED_BY).split()
        assert version == VERSION
        assert container not in sh("docker ps --all --quiet").split()
        # one that ran longer than the workers were given went back to its queue, and is named
        pushed = there.record["hosts"][SITE]["pushed_back"]
        assert (pushed["jobs"], [item.split()[0] for item in pushed["at_work"]]) == (1, ["LaunchCampaignJob"])
        assert "  jobs    1 ran longer than worker_drain" in there.output
        back = job("playbooks/rollback.yml")
        assert back.returncode == 0, back.output
    assert failed(deployed) == Counter()
    assert failed(writer.writes()) == Counter()
    # twenty a second, on the way there and on the way back
    assert len(deployed) > 200
    assert len(writer.writes()) - len(deployed) > 200
    assert fate(sh, query, pushed["at_work"][0].split()[1]) == ("done|10000", 2, 1)
    accounts = writer.accounts(sh)
    assert not accounts.lost
    assert not accounts.aside
    # going back was a switch: nothing was built, booted for a task, or dropped
    assert back.record["hosts"][SITE]["rails_boots"] == 0
    assert query("SELECT count(*) FROM information_schema.columns WHERE column_name = 'remark'") == "1"
    assert sh(f"docker ps --all --filter {WEB} --filter status=exited --quiet | wc -l").strip() == "2"
    # what AWX keeps leads to all that the site knows of it
    for done, verb, outcome, runs in (
        (there, "deploy", "deployed", VERSION),
        (back, "rollback", "taken back", "1.1.0"),
    ):
        left = done.artifacts["slipway"][SITE]
        told = {"verb": verb, "release": VERSION, "outcome": outcome, "runs": runs, "verdict": "hold"}
        assert left == {**told, "record": left["record"]}
        assert json.loads(sh(f"cat {STATE}/runs/{left['record']}.json"))["owner"] == "anna@awx-job-7"


@pytest.mark.promise("R6")
def test_a_release_that_does_not_boot_is_met_by_nobody_and_tries_no_more(
    play: Play, writer: Writer, publish: Callable[..., None], sh: Sh
) -> None:
    publish(BROKEN, script="echo 'abort %q(no port for me)' >>config/puma.rb")
    with writer:
        run = play("deploy.yml", "-e", f"release_version={BROKEN}", "-e", "rehearse_policy=waived")
    site = run.record["hosts"][SITE]
    assert (run.returncode != 0, site["outcome"], site["release_running"]) == (True, "taken back", "1.1.0")
    assert re.search(r"swarm-web-\d+ is \S+.* instead of healthy \(its log: (\S+)\)", run.output)
    assert "no port for me" in sh(f"cat {STATE}/releases/{BROKEN}/web.log")
    assert failed(writer.writes()) == Counter()
    assert len(writer.writes()) > 200
    # Docker starts again what crashes, until it is stopped
    states = sh(f"docker ps --all --filter {WEB} --format '{{{{.State}}}}'").split()
    assert Counter(states)["running"] == 2
    assert "restarting" not in states


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
    assert sum(item.fate == "acknowledged" for item in writer.writes()) > 200
    assert not writer.accounts(sh).lost


def fate(sh: Sh, query: Sh, job: str) -> tuple[str, int, int]:
    """What became of the job that takes long, how often workers began it, and how often they ended it."""
    deadline = time.monotonic() + 30
    while not query(ENDED).startswith("done") and time.monotonic() < deadline:
        time.sleep(0.5)
    workers = "$(docker ps --all --quiet --filter label=com.docker.compose.service=worker)"
    log = sh(f"for one in {workers}; do docker logs $one 2>&1; done").splitlines()
    own = [line for line in log if f"jid={job}" in line]
    begun, ended = (sum(f"INFO: {word}" in line for line in own) for word in ("start", "done"))
    return query(ENDED), begun, ended


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
