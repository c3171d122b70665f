"""Every bad release is taken back by itself, and the release before is exactly what it was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.witness import Witness
from tests.scenarios.conftest import SITE, Run, closed_window

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"


def decisive(verdict: dict[str, Any]) -> list[str]:
    """The criteria that asked to go back, and may."""
    return [item["id"] for item in verdict["criteria"] if item["verdict"] == "rollback" and item["mode"] == "enforce"]


def test_the_witness_sees_a_changed_row_a_changed_file_and_a_changed_schema(look: Look, sh: Sh, query: Sh) -> None:
    before = look()
    query("UPDATE tasks SET result = '{\"score\": -1}' WHERE id = 17000")
    sh("printf x >>/opt/swarm/storage/br/ie/brief1")
    query("CREATE INDEX witnessed ON tasks (updated_at)")
    seen = look()
    different = {name for name in before.rows if before.rows[name] != seen.rows[name]}
    assert different == {"tasks"}
    assert seen.rows["tasks"][0] == before.rows["tasks"][0] == 20000
    assert {name for name in before.files if before.files[name] != seen.files[name]} == {"br/ie/brief1"}
    assert seen.schema != before.schema
    query("DROP INDEX witnessed")
    assert look().schema == before.schema


@pytest.mark.parametrize(
    "version, criterion, said, policy",
    [
        pytest.param(
            "1.2.0", "R2", "create a test campaign", "required", marks=pytest.mark.promise("R2", "R6", "D5", "D6", "P5")
        ),
        # nobody rehearses these, so that they fail on the site's own data
        pytest.param("1.3.0", "R1", "run db:migrate", "waived", marks=pytest.mark.promise("R1", "M4", "R6")),
        pytest.param("1.4.0", "R3", "/campaigns", "waived", marks=pytest.mark.promise("R3", "R6")),
        pytest.param(
            "1.7.0",
            "R4",
            "every task has its campaign and its agent",
            "waived",
            marks=pytest.mark.promise("R4", "R6"),
        ),
    ],
)
def test_a_bad_release_is_taken_back(
    types: Play, look: Look, sh: Sh, tmp_path: Path, version: str, criterion: str, said: str, policy: str
) -> None:
    before = look()
    # a release that brings a variable of its own leaves none behind
    brought = json.dumps({"application_environment": {"BROUGHT_BY": version, "THREADS": "1"}})
    told = json.dumps({"announce_channels": {"file": str(tmp_path)}, "announce_outbox": str(tmp_path / "outbox")})
    more = ("-e", f"rehearse_policy={policy}", "-e", brought, "-e", told)
    page = "ansible-playbook deploy.yml -i prod -l customer-a -e release_version=1.2.0"
    run = types("docs/deploy.md", page, *more, given={"1.2.0": version}, fails=True)
    after = look()
    assert f"{version} was taken back, 1.1.0 runs" in run.output

    assert after.release == "1.1.0"
    assert (after.commit, after.env, after.dirty) == (before.commit, before.env, 0)
    assert after.images == before.images
    assert after.schema == before.schema
    assert after.rows == before.rows
    assert after.files == before.files
    assert after.leftovers == []
    # what answered before ran on all the time, and took over as it was
    for name, started in before.started.items():
        assert after.started[name] == started or "worker" in name
    if criterion == "R1":
        # nothing was switched, so that nothing had to be restarted
        assert after.started == before.started

    site = run.record["hosts"][SITE]
    told_of = [(item["event"], item["state"]) for item in site["announced"]]
    assert told_of == [("start", "sent"), ("rollback", "sent")]
    assert "1.1.0 is in service, as before." in (tmp_path / f"{SITE}-{version}-rollback.txt").read_text()
    # the way there and the way back together
    assert site["remote_calls"] <= 30
    assert 1 <= site["rails_boots"] <= 2
    verdict = site["verdict"]
    assert decisive(verdict) == [criterion]
    assert said in json.dumps([item for item in verdict["criteria"] if item["id"] == criterion])
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    assert (state["current"], state["candidate"], state["run"]) == ("1.1.0", None, None)
    assert state["history"][-1]["event"] == "taken back"
    recorded = json.loads(sh(f"cat $(ls -t {STATE}/runs/*.json | head -1)"))
    assert decisive(recorded["verdict"]) == [criterion]


def test_what_was_taken_back_is_read_up_on(types: Play, types_on_host: Callable[..., str], tmp_path: Path) -> None:
    page = "ansible-playbook playbooks/report.yml -i prod -l customer-a -e report_release"
    types("docs/report.md", page, "-e", f"report_directory={tmp_path}")
    assert "campaign" in (tmp_path / f"{SITE}-1.2.0.html").read_text()
    assert "release.json" in types_on_host("docs/troubleshooting.md", "sudo ls")


@pytest.mark.promise("R5", "R6")
def test_a_release_that_opens_a_port_and_a_page_is_taken_back(play: Play, look: Look, sh: Sh) -> None:
    # from outside, as somebody who has not logged in
    page = "curl --silent --output /dev/null --write-out '%{http_code}' --header 'Host: swarm.example.test' "
    before = look()
    assert sh(f"{page} http://127.0.0.1/sidekiq") == "404"
    # it has no migration, so that nothing is restored to try one
    unrehearsed = ("-e", "rehearse_policy=waived", "-e", "rehearse_limit=1")
    run = play("deploy.yml", "-e", "release_version=1.9.0", *unrehearsed)
    after = look()
    assert run.returncode != 0
    assert "1.9.0 was taken back, 1.1.0 runs" in run.output
    verdict = run.record["hosts"][SITE]["verdict"]
    assert decisive(verdict) == ["R5"]
    told = {
        seen["subject"]: seen["detail"]
        for item in verdict["criteria"]
        if item["id"] == "R5"
        for seen in item["observations"]
    }
    assert told["GET /sidekiq"] == "200 to somebody who has not logged in"
    assert told["ports of redis"].startswith("published on 0.0.0.0:6379, answers on ")
    assert (after.release, after.rows, after.files) == ("1.1.0", before.rows, before.files)
    assert sh(f"{page} http://127.0.0.1/sidekiq") == "404"
    assert sh("ss -Hltn 'sport = :6379'").strip() == ""
    # Redis was replaced under what ran on: pages that it serves would hear of nothing any more
    journal = [json.loads(line) for line in sh(f"tail -60 {STATE}/journal.jsonl").splitlines()]
    renewed = [item for item in journal if "renewed" in item]
    assert len(renewed[-1]["renewed"]) == 2
    web = [{started for name, started in there.started.items() if "-web-" in name} for there in (before, after)]
    assert len(web[1]) == 2
    assert web[0].isdisjoint(web[1])


@pytest.mark.promise("M4", "R6")
def test_when_down_is_impossible_the_backup_comes_back_and_what_was_written_since_is_kept(
    play: Play, look: Look, query: Sh, sh: Sh
) -> None:
    before = look()
    run = play("deploy.yml", "-e", "release_version=1.8.0", "-e", json.dumps({"rehearse_expected": ["tasks.result"]}))
    after = look()
    assert run.returncode != 0
    assert "1.8.0 was taken back, 1.1.0 runs" in run.output
    assert "R2 Critical functionality broken" in run.output
    assert (after.release, after.schema, after.rows, after.files) == ("1.1.0", before.schema, before.rows, before.files)
    kept = query("SELECT datname FROM pg_database WHERE datname LIKE '%_kept_%'")
    assert kept
    assert query("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '%_kept_%'") == "0"
    journal = [json.loads(line) for line in sh(f"tail -40 {STATE}/journal.jsonl").splitlines()]
    restored = [item for item in journal if item["step"] == "restore the backup" and item["event"] == "done"][-1]
    assert restored["kept_database"] == kept
    # the present database lacked the column, and that is all
    assert [line for line in restored["set_aside"] if "schema_migrations" not in line] == [
        "column public.tasks.result is gone"
    ]


@pytest.mark.promise("R6")
def test_a_host_that_is_lost_in_the_middle_is_taken_back_when_it_answers_again(play: Play, look: Look, sh: Sh) -> None:
    before = look()

    def cut() -> None:
        begun = '"release": "1.2.0", "step": "run db:migrate", "event": "begin"'
        sh(f"for i in $(seq 600); do tail -2 {STATE}/journal.jsonl | grep -q '{begun}' && break; sleep 0.1; done")
        rules = ("INPUT -p tcp --dport 22 -j DROP", "OUTPUT -p tcp --sport 22 -j DROP")
        sh("; ".join(f"iptables -I {rule}" for rule in rules))
        try:
            # longer than the controller takes to notice
            time.sleep(12)
        finally:
            sh("; ".join(f"iptables -D {rule}" for rule in rules))

    cable = threading.Thread(target=cut)
    cable.start()
    patience = "-o ServerAliveInterval=2 -o ServerAliveCountMax=3 -o ConnectTimeout=5"
    asked = ("-e", "release_version=1.2.0", "-e", "rehearse_policy=waived")
    run = play("deploy.yml", *asked, "-e", json.dumps({"ansible_ssh_args": patience}))
    cable.join()
    after = look()
    assert run.returncode != 0
    assert f"{SITE} cannot be reached" in run.output
    assert "1.2.0 was taken back, 1.1.0 runs" in run.output
    assert (after.release, after.schema, after.rows) == ("1.1.0", before.schema, before.rows)


@pytest.mark.promise("R6")
def test_an_operator_takes_a_good_release_back_with_what_was_written_since_saved(
    play: Play, types: Play, look: Look, sh: Sh, query: Sh
) -> None:
    redis = "docker exec $(docker ps --quiet --filter label=com.docker.compose.service=redis) redis-cli --raw"
    # jobs that both releases know and such that only 1.1.0 does: due later, to be tried again, in a queue of nobody's
    job = "LaunchCampaignJob.set(wait: 2.hours).perform_later(Campaign.first)"
    job += "; LaunchWhenQuietJob.set(wait: 1.hour).perform_later(Campaign.first)"
    job += "; Campaign.first(3).each { |campaign| LaunchWhenQuietJob.set(queue: :later).perform_later(campaign) }"
    web = "$(docker ps --quiet --filter label=com.docker.compose.service=web | head -1)"
    sh(f"docker exec {web} bin/rails runner '{job}'")
    copy = "for _, job in ipairs(redis.call('ZRANGE', 'schedule', 0, -1)) do redis.call('ZADD', 'retry', 4e9, job) end"
    sh(f'{redis} eval "{copy}" 0')
    listed = f"{redis} lrange queue:later 0 -1; {redis} zrange retry 0 -1 withscores; "
    listed += f"{redis} zrange schedule 0 -1 withscores"
    waiting = sh(listed)
    assert waiting.count('"wrapped":"LaunchWhenQuietJob"') == 5
    assert waiting.count('"wrapped":"LaunchCampaignJob"') == 2

    run = play("rollback.yml", "-e", "rollback_schema=back")
    assert run.returncode == 0, run.output
    after = look()
    assert after.release == "1.0.0"
    assert query("SELECT count(*) FROM information_schema.columns WHERE column_name = 'priority'") == "0"
    assert after.leftovers == []
    assert "LaunchWhenQuietJob" not in sh(listed)
    assert sh(listed).count("LaunchCampaignJob") == waiting.count("LaunchCampaignJob")
    assert sh(f"{redis} llen slipway:parked").strip() == "5"
    assert sh(f"ls {STATE}/backups/*-rollback-rollback/manifest.json").strip()
    again = play("rollback.yml")
    assert again.returncode != 0
    assert "there is nothing to roll back to" in again.output
    assert "REFUSED, nothing was changed" in again.output
    assert look().started == after.started

    # a release that was taken back may come again, and finds its jobs in their order
    override = 'ansible-playbook deploy.yml -i prod -e "release_window_override'
    types("docs/gates.md", override, *closed_window())
    (excused,) = json.loads(sh(f"cat $(ls {STATE}/runs/*-deploy.json | tail -1)"))["excused"]
    assert (excused["gate"], excused["why"].rpartition(": ")[2]) == ("window", f"the disk of {SITE} fails")
    assert "@" in excused["by"]
    assert look().release == "1.1.0"
    assert sh(listed) == waiting
    assert sh(f"{redis} llen slipway:parked").strip() == "0"
    sh(f"{redis} del queue:later retry; {redis} srem queues later")


@pytest.mark.wipes
@pytest.mark.promise("D1", "D2")
def test_a_failed_first_install_is_stopped_and_kept_and_the_next_one_stands(play: Play, look: Look, sh: Sh) -> None:
    secrets = sh("grep -E '^[A-Z_]+=' /opt/swarm/.env | grep -v APP_VERSION").split()
    arguments = ("-e", json.dumps({"application_environment": dict(item.split("=", 1) for item in secrets)}))
    sh("docker rm --force $(docker ps --all --quiet); docker volume rm swarm_postgres swarm_redis")
    sh(f"rm -rf /opt/swarm {STATE}")
    # what an operator prepares: a directory that the application's user may write to
    sh("install -d -o deploy /opt/swarm; install -d -o 10001 /opt/swarm/storage")

    failed = play("deploy.yml", "-e", "release_version=1.2.0", *arguments)
    assert failed.returncode != 0
    assert "nothing stands behind it" in failed.output
    assert sh("docker ps --quiet").strip() == ""
    assert len(sh("docker ps --all --quiet").split()) == 6
    assert json.loads(sh(f"cat {STATE}/ledger.json"))["current"] is None

    good = play("deploy.yml", *arguments)
    assert good.returncode == 0, good.output
    site = good.record["hosts"][SITE]
    assert site["outcome"] == "deployed"
    assert site["remote_calls"] <= 30
    assert site["rails_boots"] <= 2
    assert look().release == "1.1.0"
    assert sh("stat --format %a /opt/swarm/.env").strip() == "600"
