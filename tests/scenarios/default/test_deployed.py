"""Release 1.0.0 was adopted and 1.1.0 deployed, then deployed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.host import Host as LabHost
from lab.witness import Witness
from tests.scenarios.conftest import ROOT, SITE, Run

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"
ANNOUNCE = json.dumps({"announce_channels": {"file": "build/lab/handover"}, "announce_outbox": "build/lab/announce"})
TYPED = {"deploy.yml": "docs/deploy.md", "playbooks/smoke_test.yml": "docs/smoke_test.md"}
WEB = "docker ps --quiet --filter label=com.docker.compose.service=web"
ALL_WEB = f"for web in $({WEB}); do docker exec $web sh -c '{{}}' $web; done\n"
# Pages stay as they are, and hear nothing while a file says so; Puma starts anew in its container.
LEARNS_SILENCE = """
cat >>app/channels/campaigns_channel.rb <<RUBY
CampaignsChannel.singleton_class.prepend(Module.new { def broadcast_progress(_) = File.exist?("/tmp/silent") || super })
File.write("/tmp/learned", "")
RUBY
kill -USR2 1
"""
LEARNED = "for turn in $(seq 300); do [ -e /tmp/learned ] && exit 0; sleep 0.1; done; echo Puma stays away >&2; exit 1"
# As Rails logs an exception.
ERRORS = """
for number in 1 2 3 4; do echo "[$number-$0] NoMethodError (undefined method total for nil):" >/proc/1/fd/1; done
"""
LEDGER = f"find {STATE} -type f | sort | xargs sha256sum"


@pytest.fixture(scope="module")
def ledger(sh: Sh) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(sh(f"cat {STATE}/ledger.json"))
    return state


@pytest.mark.promise("D1", "D2", "D3", "D4", "U1", "U2")
def test_the_new_release_runs_everywhere(look: Look, sh: Sh) -> None:
    seen = look()
    assert seen.release == "1.1.0"
    assert seen.commit == sh("git -C /srv/git/swarm.git -c safe.directory='*' rev-parse 1.1.0^{commit}").strip()
    assert seen.dirty == 0
    services = [item.service for item in seen.containers if item.running]
    assert sorted(services) == ["postgres", "proxy", "redis", "web", "web", "worker"]
    assert sh("grep ^APP_VERSION= /opt/swarm/.env").strip() == "APP_VERSION=1.1.0"


@pytest.mark.promise("M2", "M3")
def test_both_migrations_were_applied_once_and_the_backfill_is_there(sh: Sh, query: Sh, ledger: dict[str, Any]) -> None:
    release = json.loads(sh(f"cat {STATE}/releases/1.1.0/release.json"))
    before = json.loads(sh(f"cat {STATE}/releases/1.1.0/before.json"))
    new = sorted(set(release["migrations"]) - set(before["migrations"]))
    assert len(new) == 2
    assert query("SELECT version FROM schema_migrations ORDER BY 1").split() == release["migrations"]
    assert query("SELECT count(*) FROM campaigns WHERE priority IS NULL") == "0"
    journal = [json.loads(line) for line in sh(f"cat {STATE}/journal.jsonl").splitlines()]
    ran = [item for item in journal if item["release"] == "1.1.0" and item["step"] == "run db:migrate"]
    assert [item["event"] for item in ran] == ["begin", "done"]
    assert ledger["current"] == "1.1.0"


@pytest.mark.promise("M1")
def test_the_backup_has_a_manifest_that_is_true_and_nobody_else_may_read_it(sh: Sh) -> None:
    backup = json.loads(sh(f"cat {STATE}/releases/1.1.0/before.json"))["backup"]
    place = f"{STATE}/backups/{backup}"
    manifest = json.loads(sh(f"cat {place}/manifest.json"))
    sums = sh(f"cd {place} && find * -type f ! -name manifest.json | xargs sha256sum").splitlines()
    assert {name: item["sha256"] for name, item in manifest["files"].items()} == {
        line.split("  ")[1]: line.split("  ")[0] for line in sums
    }
    assert manifest["release"] == "1.0.0"
    assert sh(f"find {STATE}/backups -perm /077").strip() == ""


@pytest.mark.promise("R6")
def test_the_adopted_release_can_be_returned_to(sh: Sh, ledger: dict[str, Any]) -> None:
    adopted = json.loads(sh(f"cat {STATE}/releases/1.0.0/release.json"))
    assert adopted["adopted"]
    assert sh("docker image inspect --format '{{.Id}}' slipway/swarm-web:1.0.0").strip() == adopted["images"]["web"]
    assert json.loads(sh(f"cat {STATE}/releases/1.1.0/before.json"))["version"] == "1.0.0"
    assert [event["event"] for event in ledger["history"]][:1] == ["deployed"]


@pytest.mark.promise("D6")
def test_nothing_is_left_over(look: Look, query: Sh, ledger: dict[str, Any]) -> None:
    assert look().leftovers == []
    assert ledger["run"] is None
    assert ledger["candidate"] is None
    assert query("SELECT count(*) FROM campaigns WHERE name LIKE 'slipway-smoke-%'") == "0"


@pytest.mark.promise("C1", "C2")
def test_the_caches_are_warmed(types: Play, sh: Sh) -> None:
    redis = "docker exec $(docker ps -qf label=com.docker.compose.service=redis) redis-cli "
    keys = "agents/metrics campaigns/eta system_health"
    sh(f"{redis} del {keys}")
    types("docs/cache_warm.md", "ansible-playbook")
    assert sh(f"{redis} exists {keys}").strip() == "3"


@pytest.mark.promise("P3")
def test_open_pages_hear_of_a_new_campaign_or_the_smoke_test_fails(play: Play, sh: Sh) -> None:
    flows = ("playbooks/smoke_test.yml", "-e", '{"smoke_test_probes": [services, pages, flows]}')
    good = play(*flows)
    assert good.returncode == 0, good.output
    sh(ALL_WEB.format(LEARNS_SILENCE) + ALL_WEB.format(LEARNED))
    try:
        sh(ALL_WEB.format("touch /tmp/silent"))
        bad = play(*flows)
    finally:
        sh(ALL_WEB.format("rm -f /tmp/silent"))
    assert bad.returncode != 0
    (found,) = (item for item in bad.record["hosts"][SITE]["verdict"]["criteria"] if item["id"] == "R2")
    assert "create a test campaign: POST /campaigns: /cable: no broadcast with 'progress_campaign_" in found["reason"]


@pytest.mark.promise("P1", "P2", "P4", "R2")
def test_jobs_statements_figures_and_logs_are_compared_with_before_the_release(types: Play, query: Sh, sh: Sh) -> None:
    watch = "ansible-playbook playbooks/monitor.yml -i prod"
    briefly = {"monitor_looks=10": "monitor_looks=2", "monitor_interval=30": "monitor_interval=5"}
    well = types("docs/monitor.md", f"{watch} -e monitor_looks=10", given=briefly)
    kinds = ("job", "query", "figure")
    seen = {item["subject"]: item for item in well.record["hosts"][SITE]["observations"] if item["probe"] in kinds}
    assert {"failed", "dead", "retries", "slower", "new", "agents online"} <= set(seen)
    assert [item for item in seen.values() if item["ok"] is not True] == []
    assert seen["agents online"]["detail"] == "450, 450 before the release"
    query("UPDATE agents SET status = 'offline'")
    sh(ALL_WEB.format(ERRORS))
    try:
        bad = types("docs/monitor.md", watch, "-e", "monitor_looks=1", fails=True)
    finally:
        query("UPDATE agents SET status = 'online' WHERE name !~ '0$'")
    assert "agents online: 0, 450 before the release: less than 50% of it are left" in bad.output
    (logs,) = (item for item in bad.record["hosts"][SITE]["verdict"]["criteria"] if item["id"] == "P1")
    assert (logs["mode"], logs["verdict"]) == ("warn", "rollback")
    assert "NoMethodError" in logs["reason"]


def test_no_secret_is_in_logs_or_world_readable_files(sh: Sh) -> None:
    for name in ("POSTGRES_PASSWORD", "SECRET_KEY_BASE", "OPERATOR_PASSWORD"):
        secret = f"$(sed -n 's/^{name}=//p' /opt/swarm/.env)"
        # the env file is kept for the way back, for root alone
        assert (
            sh(f"grep -rlF --exclude=env.before --exclude-dir=configuration -- {secret} {STATE} || true").strip() == ""
        )
        assert sh(f"journalctl --no-pager | grep -cF -- {secret} || true").strip() == "0"


def test_a_second_deploy_changes_and_restarts_nothing_and_is_quick(types: Play, look: Look) -> None:
    before = look()
    run = types("docs/rollback.md", "ansible-playbook deploy.yml")
    assert run.changed == 0
    assert look() == before
    assert run.record["seconds"] < 10


@pytest.fixture(scope="module")
def at_rest(look: Look, sh: Sh) -> tuple[Witness, str]:
    return look(), sh(LEDGER)


@pytest.mark.parametrize(
    "playbook, arguments",
    [
        ("deploy.yml", ()),
        ("deploy.yml", ("-e", "release_version=1.2.0")),
        ("rollback.yml", ()),
        ("playbooks/backup.yml", ()),
        ("playbooks/preflight.yml", ()),
        ("playbooks/smoke_test.yml", ()),
        ("playbooks/cache_warm.yml", ()),
        ("playbooks/monitor.yml", ("-e", "monitor_looks=1")),
        ("playbooks/scan.yml", ()),
        ("playbooks/report.yml", ("-e", "report_directory=build/never")),
        ("playbooks/status.yml", ()),
        ("playbooks/support.yml", ("-e", "support_directory=build/never")),
        ("playbooks/unlock.yml", ()),
        ("playbooks/accept.yml", ()),
        ("playbooks/announce.yml", ("-e", ANNOUNCE, "-e", "announce_event=success")),
    ],
)
def test_check_mode_changes_nothing_and_tells_what_would_change(
    play: Play, types: Play, look: Look, sh: Sh, at_rest: tuple[Witness, str], playbook: str, arguments: tuple[str, ...]
) -> None:
    if page := TYPED.get(playbook) if not arguments else None:
        run = types(page, f"ansible-playbook {playbook} -i prod --check")
    else:
        run = play(playbook, "--check", *arguments)
    assert run.returncode == 0, run.output
    assert (look(), sh(LEDGER)) == at_rest
    would_change = (
        playbook
        in {
            "rollback.yml",
            "playbooks/backup.yml",
            "playbooks/accept.yml",
            "playbooks/report.yml",
            "playbooks/support.yml",
        }
        or "release_version=1.2.0" in arguments
    )
    assert (run.changed > 0) == would_change, run.output


@pytest.mark.promise("A2")
def test_customers_are_told_what_the_ledger_knows_and_once(play: Play, types: Play, tmp_path: Path) -> None:
    there = {"announce_channels": {"file": str(tmp_path)}, "announce_outbox": str(tmp_path / "outbox")}
    success = ("playbooks/announce.yml", "-e", json.dumps({**there, "announce_preview": False}), "-e")
    for sent_now in (1, 0):
        run = play(*success, "announce_event=success")
        assert (run.returncode, run.changed) == (0, sent_now), run.output
    assert (tmp_path / f"{SITE}-1.1.0-success.txt").read_text().startswith("swarm 1.1.0 is in service\n")
    run = play(*success, "announce_event=rollback")
    assert run.returncode != 0
    assert f"1.1.0 stands on {SITE}: rollback would not be true" in run.output
    window = {"from": "2099-12-01T22:00+01:00", "until": "2099-12-01T23:30+01:00"}
    page = ("docs/announce.md", "ansible-playbook playbooks/announce.yml -i prod -e announce_event=window")
    given = ("-e", json.dumps({**there, "announce_window": window}))
    types(*page, *given)
    assert not (tmp_path / f"{SITE}-1.1.0-window.txt").exists()
    types(page[0], f"{page[1]} -e announce_preview=false", *given)
    assert "2099" in (tmp_path / f"{SITE}-1.1.0-window.txt").read_text()


def test_gates_cannot_be_stepped_past(play: Play, look: Look) -> None:
    before = look()
    for arguments in (
        ("--start-at-task", "Back the database up and read the backup back"),
        ("--start-at-task", "Let the release take the place of what runs"),
    ):
        run = play("deploy.yml", "-e", "release_version=1.2.0", *arguments)
        assert run.returncode != 0, run.output
        assert look() == before


@pytest.mark.promise("W1", "W2", "X3")
def test_a_report_tells_of_the_release_and_what_people_wrote_down_is_met_before_the_next(
    play: Play, types: Play, tmp_path: Path
) -> None:
    reports = ("playbooks/report.yml", "-e", f"report_directory={tmp_path}")
    run = play(*reports)
    assert (run.returncode, run.changed) == (0, 1), run.output
    page = (tmp_path / f"{SITE}-1.1.0.html").read_text()
    assert "swarm 1.1.0 took the place of 1.0.0 on " in page
    assert "<script" not in page
    assert "restored into a PostgreSQL of its own and compared" in page
    data = json.loads((tmp_path / f"{SITE}-1.1.0.json").read_text())
    assert data["scorecard"]["outcome"] == "unknown"
    assert {item["plan"] for item in data["history"]["journal"]} >= {"stage", "backup", "rehearse", "migrate", "switch"}

    feedback = tmp_path / "feedback.yml"
    issues = [{"date": "2026-11-24", "text": "The window was too short"}]
    feedback.write_text(yaml.safe_dump({"release": "1.1.0", "bugs": [], "issues": issues}))
    page = "ansible-playbook playbooks/report.yml -i prod -l customer-a -e report_feedback"
    assessed = types("docs/report.md", page, *reports[1:], given={"customer-a.yml": str(feedback)})
    assert assessed.changed == 2, assessed.output
    asked = types("docs/preflight.md", "ansible-playbook")
    assert "met before: 1.1.0, 2026-11-24: The window was too short" in " ".join(asked.output.split())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of an operator, whose prod is this host."""
    for name in ("ansible.cfg", "collections", "deploy.yml", "examples", "playbooks", "plugins", "roles"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "inventory", tmp_path / "inventory", symlinks=True)
    (tmp_path / "prod").symlink_to("inventory/prod")
    site = {
        "ansible_host": LabHost(SITE).address,
        "ansible_ssh_private_key_file": f"{ROOT}/build/lab/id_ed25519",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={ROOT}/build/lab/known_hosts",
        "site_host_name": "swarm.example.test",
        "site_repository": "/srv/git/swarm.git",
    }
    hosts = yaml.safe_load((tmp_path / "prod/hosts.yml").read_text())
    hosts["sites"]["hosts"] = {SITE: site}
    (tmp_path / "prod/hosts.yml").write_text(yaml.safe_dump(hosts))
    return tmp_path


@pytest.mark.promise("U1")
def test_the_readme_s_command_works_with_secrets_from_a_vault(types: Play, sh: Sh, checkout: Path) -> None:
    page, deploy = "inventory/README.md", "ansible-playbook deploy.yml -i prod"
    there: dict[str, Any] = {"directory": checkout, "inventory": "prod"}
    names = {"vault_postgres_password", "vault_secret_key_base", "vault_operator_password"}
    values = {
        name: sh(f"sed -n s/^{name.removeprefix('vault_').upper()}=//p /opt/swarm/.env").strip() for name in names
    }
    password = checkout / ".vault-password"
    password.write_text("a test's own password")
    (checkout / "secrets").write_text(yaml.safe_dump(values))
    known = {"ANSIBLE_VAULT_PASSWORD_FILE": str(password)}
    # an editor that writes all at once
    editor = {"EDITOR": f"cp {checkout}/secrets"}
    made = types(page, "ansible-vault encrypt", block=True, environment={**known, **editor}, **there)
    assert "$ANSIBLE_VAULT;1.1;AES256" in made.output
    (checkout / "secrets").unlink()
    types(page, "mkdir -p", block=True, **there)
    assert SITE in types(page, "ansible-inventory", environment=known, **there).output
    run = types("README.md", deploy, environment=known, **there)
    assert run.changed == 0
    run = types(page, f"{deploy} --ask-vault-pass", keys=f"{password.read_text()}\n", **there)
    assert run.changed == 0

    # a run that died before it did anything has the site until somebody comes
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    dead = {"id": "r1", "token": 0, "verb": "rollback", "owner": "ben@elsewhere", "started": "", "last_seen": 0}
    sh(f"cat >{STATE}/ledger.json <<'END'\n{json.dumps({**state, 'run': dead})}\nEND")
    run = types(page, f"{deploy} --vault-password-file", "-vvv", **there)
    assert run.changed == 0
    assert json.loads(sh(f"cat {STATE}/ledger.json"))["run"] is None
    assert json.loads(sh(f"cat {STATE}/runs/r1.json"))["interrupted"]
    assert "1.1.0 already runs" in run.output
    assert not [name for name, value in values.items() if value in run.output]
    assert not [name for name, value in values.items() if value in json.dumps(run.record)]


def test_a_profile_of_one_s_own_takes_the_place_of_the_sample_s(types: Play, checkout: Path) -> None:
    there: dict[str, Any] = {"directory": checkout, "inventory": "prod"}
    for begins in ("cp --dereference", "mv own.yml"):
        types("docs/profile.md", begins, **there)
    written = checkout / "inventory/prod/group_vars/sites/application.yml"
    assert not written.is_symlink()
    assert written.read_text() == (ROOT / "examples/swarm/profile.yml").read_text()
