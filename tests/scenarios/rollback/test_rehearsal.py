"""Migrations are tried on a copy first: what fails or loses data there never touches the site's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lab.witness import Witness
from tests.scenarios.conftest import SITE, Run

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"
SCRATCH = (
    "docker ps --all --quiet --filter label=slipway.scratch; docker network ls --quiet --filter label=slipway.scratch"
)

# Whatever an application might do while it migrates; what came of it is in the log.
REACHES_OUT = """
require "socket"
require "sidekiq/api"

class ReachOut < ActiveRecord::Migration[7.2]
  def up
    {"the mail server" => ["10.89.0.1", 25], "a name" => ["example.test", 80], "the real proxy" => ["PROXY", 80]}
      .each do |name, (host, port)|
        Socket.tcp(host, port, connect_timeout: 2) { puts "#{name} was reached" }
      rescue SystemCallError, SocketError, IOError => error
        puts "#{name}: #{error.class}"
      end
    Sidekiq::Client.push("class" => "RehearsalJob", "args" => [])
    puts "#{Sidekiq::Queue.new.size} job in the queue"
  end
end
"""
FAILS = """
class NeverMind < ActiveRecord::Migration[7.2]
  def up = raise("only for the rehearsal")
end
"""


@pytest.fixture
def certificate(sh: Sh) -> Callable[[str], dict[str, Any]]:
    def read(version: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(sh(f"cat {STATE}/releases/{version}/certificate.json"))
        return found

    return read


@pytest.mark.promise("G5", "G6", "M1")
def test_a_good_release_was_rehearsed(certificate: Callable[[str], dict[str, Any]], sh: Sh) -> None:
    found = certificate("1.1.0")
    assert found["migrations"] == ["20260302080000", "20260302080100"]
    assert (found["failed"], found["losses"], found["down_wrong"]) == (None, [], [])
    assert (found["side_by_side_wrong"], found["old_code_wrong"]) == ([], [])
    assert found["drops"] == {"public.campaigns.priority": 200}
    assert found["locks"] == {"public.campaigns": "AccessExclusiveLock"}
    assert found["writes"]["public.campaigns"] == [0, 200, 0]
    assert set(found["seconds"]) == {
        "start",
        "restore",
        "compare",
        "old code before",
        "migrate",
        "old code running on",
        "down",
        "old code",
    }
    assert any("works on rows" in note for note in found["notes"])
    assert sh(SCRATCH) == ""


@pytest.mark.promise("R4")
@pytest.mark.parametrize(
    "version, lost",
    [
        ("1.5.0", "1 of 5000 rows of public.campaigns are gone"),
        ("1.6.0", "values of public.campaigns.name were changed"),
    ],
)
def test_what_destroys_data_is_found_before_the_site_s_own_data_is_touched(
    play: Play, look: Look, query: Sh, version: str, lost: str
) -> None:
    query(
        "INSERT INTO campaigns (name, status, priority, created_at, updated_at)"
        " SELECT format('Bulk %s', n), 'draft', 2, '2026-01-05', '2026-01-05' FROM generate_series(1, 4800) n"
    )
    before = look()
    run = play("deploy.yml", "-e", f"release_version={version}")
    assert run.returncode != 0
    assert look() == before
    deciding = [item for item in run.record["hosts"][SITE]["verdict"]["criteria"] if item["verdict"] == "rollback"]
    assert [item["id"] for item in deciding] == ["R4"]
    assert lost in deciding[0]["reason"]
    query("DELETE FROM campaigns WHERE name LIKE 'Bulk %'")


@pytest.mark.promise("R1", "G6")
def test_migrations_that_fail_on_the_copy_never_touch_the_site_s_own_data_and_nothing_leaves_a_rehearsal(
    play: Play, look: Look, sh: Sh, publish: Callable[..., None]
) -> None:
    redis = "docker exec $(docker ps --quiet --filter label=com.docker.compose.service=redis) redis-cli --raw"
    proxy = sh(
        "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "
        "$(docker ps --quiet --filter label=com.docker.compose.service=proxy)"
    ).strip()
    publish("1.1.2", REACHES_OUT.replace("PROXY", proxy), FAILS)
    before, known = look(), int(sh(f"wc -l <{STATE}/journal.jsonl"))
    # whatever leaves a bridge for the mail server
    rule = "PREROUTING -d 10.89.0.1 -p tcp --dport 25"
    sh(f"iptables -t raw -I {rule}")
    try:
        counted = "iptables -t raw -L PREROUTING 1 -v -x -n | awk '{print $1}'"
        run = play("deploy.yml", "-e", "release_version=1.1.2")
        assert sh(counted).strip() == "0"
        # the counter counts: the same attempt from the real network is seen
        web = "$(docker ps --quiet --filter label=com.docker.compose.service=web | head -1)"
        attempt = "begin; Socket.tcp('10.89.0.1', 25, connect_timeout: 2); rescue SystemCallError; end"
        sh(f'docker exec {web} ruby -rsocket -e "{attempt}"')
        assert int(sh(counted)) > 0
    finally:
        sh(f"iptables -t raw -D {rule}")
    assert run.returncode != 0
    assert "rehearsal: db:migrate: only for the rehearsal" in run.output
    journal = [json.loads(line) for line in sh(f"tail -n +{known + 1} {STATE}/journal.jsonl").splitlines()]
    assert "rehearse" in {item.get("step") for item in journal}
    assert not [item for item in journal if (item.get("release"), item.get("step")) == ("1.1.2", "run db:migrate")]
    assert sh(SCRATCH) == ""
    log = sh(f"cat {STATE}/releases/1.1.2/rehearsal-migrate.log")
    assert "was reached" not in log
    assert log.count(": Errno::") + log.count("ResolutionError") + log.count("SocketError") == 3
    assert "1 job in the queue" in log
    assert "RehearsalJob" not in sh(f"{redis} lrange queue:default 0 -1")
    assert look() == before


@pytest.mark.promise("R6")
def test_the_new_schema_may_stay_where_the_old_release_was_seen_to_run_on_it(
    play: Play, look: Look, query: Sh, sh: Sh
) -> None:
    before = look()
    run = play("deploy.yml", "-e", "release_version=1.2.0", "-e", "rollback_schema=keep")
    after = look()
    assert run.returncode != 0
    assert "1.2.0 was taken back, 1.1.0 runs" in run.output
    assert (after.release, after.images, after.env, after.files) == (
        before.release,
        before.images,
        before.env,
        before.files,
    )
    assert query("SELECT count(*) FROM schema_migrations WHERE version = '20260406080000'") == "1"
    assert {name: after.rows[name][0] for name in after.rows} == {
        name: count + (name == "schema_migrations") for name, (count, _sum) in before.rows.items()
    }
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    assert (state["current"], state["candidate"]) == ("1.1.0", None)
    # what comes next finds its way from here
    query("ALTER TABLE campaigns DROP COLUMN budget; DELETE FROM schema_migrations WHERE version = '20260406080000'")
    assert look().schema == before.schema
