"""Backups of a real host: true to the moment, refused when damaged, pruned, put back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.witness import Witness
from tests.scenarios.conftest import SITE, Run

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"
BACKUPS = f"{STATE}/backups"
RESTORE = "ansible-playbook playbooks/restore.yml -i prod -l customer-a -e restore_backup=BACKUP"
LEDGER = f"find {STATE} -type f | sort | xargs sha256sum"
POSTGRES = "$(docker ps --quiet --filter label=com.docker.compose.service=postgres)"
PAGE_KEPT = "swarm_production_kept_20261123t122657z"
PAGE_BACKUP = "20261123T081500Z-backup"  # what the page calls one
PSQL = f"docker exec --interactive {POSTGRES} psql -XAtq --username swarm_owner"

pytestmark = pytest.mark.promise("M1")

# a pair in one transaction, again and again: a dump of one moment holds both of a pair or neither
PAIRS = "CREATE TABLE pair_a (id bigint PRIMARY KEY); CREATE TABLE pair_b (id bigint PRIMARY KEY)"
PAIR = "BEGIN; INSERT INTO pair_a VALUES ($n); INSERT INTO pair_b VALUES ($n); COMMIT;"
COUNT_PAIRS = "SELECT (SELECT count(*) FROM pair_a), (SELECT count(*) FROM pair_b), (SELECT max(id) FROM pair_a)"
FIRST_PAIR = "SELECT min(id) FROM pair_a"
WRITER = rf"""
{PSQL} swarm_production <<<'{PAIRS}'
# until /root/writing goes, and at most for two minutes; /root/written says that it has ended
rm -f /root/written; touch /root/writing
(
  n=0
  while [ -e /root/writing ] && [ $SECONDS -lt 120 ]; do n=$((n + 1)); echo "{PAIR}"; sleep 0.001; done |
    {PSQL} swarm_production
  touch /root/written
) >/dev/null 2>&1 </dev/null &
"""
END_WRITER = """
rm /root/writing
until [ -e /root/written ]; do sleep 0.2; done
rm /root/written
"""
INTO_LOOK = f"""
tar -C {{place}}/database -cf - . |
  docker exec --interactive {POSTGRES} sh -c 'mkdir -m 700 /tmp/look && tar -C /tmp/look -xf -'
docker exec {POSTGRES} sh -c 'createdb -U swarm_owner -T template0 look &&
  pg_restore -U swarm_owner -d look --exit-on-error -t pair_a -t pair_b /tmp/look; rm -rf /tmp/look'
"""


@pytest.fixture(scope="module")
def taken(types: Play, sh: Sh, query: Sh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A backup that was taken while a client wrote, and that was fetched."""
    fetched = tmp_path_factory.mktemp("fetched")
    recipient = sh("rm -f /root/key.txt; age-keygen -o /root/key.txt 2>/dev/null; age-keygen -y /root/key.txt").strip()
    sh("echo precious >/opt/swarm/storage/precious.txt")
    sh(f"install -d -m 700 {BACKUPS}/.partial {BACKUPS}/.partial/dead; touch {BACKUPS}/.partial/dead/toc.dat")
    sh(WRITER)
    run = types(
        "docs/backup.md",
        "ansible-playbook playbooks/backup.yml -i prod -l customer-a -e backup_fetch_to",
        *("-e", "backup_keep=1"),
        given={"/srv/backups": str(fetched), "age1...": recipient},
    )
    rows = int(query("SELECT count(*) FROM pair_a"))
    sh(END_WRITER)
    identity = sh(f"ls {BACKUPS} | grep backup | tail -1").strip()
    manifest = json.loads(sh(f"cat {BACKUPS}/{identity}/manifest.json"))
    yield {"id": identity, "manifest": manifest, "run": run, "fetched": fetched, "rows": rows}
    query("ALTER DATABASE swarm_production RESET work_mem; DROP TABLE pair_a, pair_b")
    sh("rm -rf /root/key.txt /opt/swarm/storage/precious.txt /opt/swarm/storage_kept_*")


def test_a_backup_taken_while_a_client_writes_holds_one_moment(taken: dict[str, Any], sh: Sh) -> None:
    sh(INTO_LOOK.format(place=f"{BACKUPS}/{taken['id']}"))
    try:
        found = sh(f"{PSQL} look <<<'{COUNT_PAIRS}'")
        left, right, newest = map(int, found.strip().split("|"))
        assert left == right == newest
        assert 0 < left < taken["rows"]
    finally:
        sh(f"docker exec {POSTGRES} dropdb -U swarm_owner look")


def test_the_manifest_is_true_for_every_file(taken: dict[str, Any], sh: Sh) -> None:
    place, manifest = f"{BACKUPS}/{taken['id']}", taken["manifest"]
    sums = sh(f"cd {place} && find * -type f ! -name manifest.json -exec sha256sum {{}} +").splitlines()
    assert {name: item["sha256"] for name, item in manifest["files"].items()} == {
        line.split("  ")[1]: line.split("  ")[0] for line in sums
    }
    held = {name.split("/")[0] for name in manifest["files"]}
    assert held == {"database", "uploads", "configuration", "redis.rdb"}
    assert any(name.endswith(".zst") for name in manifest["files"])
    assert "precious" in sh(f"tar -xOf {place}/uploads/storage.tar ./precious.txt")
    assert sh(f"head -c 5 {place}/redis.rdb") == "REDIS"
    assert (manifest["release"], manifest["redis"]) == ("1.1.0", "saved")
    assert sh(f"find {BACKUPS} -perm /077").strip() == ""


def test_a_backup_is_looked_into_by_hand(taken: dict[str, Any], types_on_host: Callable[..., str], query: Sh) -> None:
    types_on_host("docs/backup.md", "B=", block=True, user="root", given={PAGE_BACKUP: taken["id"]})
    assert query("SELECT count(*) FROM pg_database WHERE datname = 'look'") == "0"


def test_what_left_the_host_opens_with_the_recipient_s_key_and_no_copy_stays(
    taken: dict[str, Any], sh: Sh, types_on_host: Callable[..., str]
) -> None:
    (file,) = Path(taken["fetched"]).iterdir()
    content = file.read_bytes()
    assert content.startswith(b"age-encryption.org/v1")
    subprocess.run(["docker", "cp", "--quiet", str(file), f"slipway-lab-{SITE}:/root/{file.name}"], check=True)
    name = f"customer-a-{PAGE_BACKUP}.tar.age"
    types_on_host("docs/backup.md", "age --decrypt", user="root", directory="/root", given={name: file.name})
    sums = sh(f"cat /root/{taken['id']}/manifest.json | sha256sum")
    assert sums.split()[0] == sh(f"sha256sum {BACKUPS}/{taken['id']}/manifest.json").split()[0]
    assert sh(f"rm -r /root/{file.name} /root/{taken['id']}; ls {STATE}/exports").strip() == ""


def test_a_copy_in_the_clear_is_refused_before_anything_is_done(play: Play, sh: Sh, tmp_path: Path) -> None:
    before = sh(LEDGER)
    run = play("playbooks/backup.yml", "-e", f"backup_fetch_to={tmp_path}/here")
    assert run.returncode != 0
    assert "a backup leaves its host only encrypted" in " ".join(run.output.split())
    assert sh(LEDGER) == before


def test_what_killed_runs_left_is_removed_and_named(taken: dict[str, Any], sh: Sh) -> None:
    assert sh(f"ls -A {BACKUPS}/.partial").strip() == ""
    journal = [json.loads(line) for line in sh(f"tail -60 {STATE}/journal.jsonl").splitlines()]
    assert "remove the half-written dead" in {entry.get("step") for entry in journal}
    needed = json.loads(sh(f"cat {STATE}/releases/1.1.0/before.json"))["backup"]
    assert {needed, taken["id"]} <= set(sh(f"ls {BACKUPS}").split())


@pytest.fixture(scope="module")
def copies(taken: dict[str, Any], sh: Sh) -> Iterator[Callable[[str, str], str]]:
    """Copies of the backup, each damaged in its own way."""
    made = []

    def make(name: str, damage: str) -> str:
        sh(f"cp -a {BACKUPS}/{taken['id']} {BACKUPS}/{name} && cd {BACKUPS}/{name} && {damage}")
        made.append(name)
        return name

    yield make
    for name in made:
        sh(f"rm -r {BACKUPS}/{name}")


def test_no_damaged_or_foreign_backup_is_restored_and_nothing_changes(
    play: Play, sh: Sh, look: Look, copies: Callable[[str, str], str]
) -> None:
    damages = {
        "corrupted": ("printf X | dd of=database/toc.dat bs=1 seek=9 conv=notrunc status=none", "SHA-256 differs"),
        "truncated": ("truncate -s -1 uploads/storage.tar", "bytes, not"),
        "half": ("rm manifest.json", "backup half is not in"),
        "newer": ('sed -i \'s/"format": 2/"format": 3/\' manifest.json', "has format 3, this version reads 2"),
    }
    for name, (damage, _said) in damages.items():
        copies(name, damage)
    before = look(), sh(LEDGER)
    runs = {name: play("playbooks/restore.yml", "-e", f"restore_backup={name}") for name in damages}
    for name, (_damage, said) in damages.items():
        assert runs[name].returncode != 0
        assert said in " ".join(runs[name].output.split()), runs[name].output
        assert "Traceback" not in runs[name].output
    assert (look(), sh(LEDGER)) == before


def test_the_list_says_why_each_is_kept(taken: dict[str, Any], play: Play, sh: Sh) -> None:
    before = sh(LEDGER)
    run = play("playbooks/restore.yml")
    assert run.returncode == 0, run.output
    assert taken["id"] in run.output
    assert "to take back 1.1.0" in run.output
    assert sh(LEDGER) == before


def test_a_trial_run_changes_nothing_and_names_the_steps(
    taken: dict[str, Any], types: Play, sh: Sh, look: Look
) -> None:
    before = look(), sh(LEDGER)
    run = types("docs/restore.md", f"{RESTORE} --check", "-v", given={"BACKUP": taken["id"]})
    assert "restore the database" in run.output
    assert (look(), sh(LEDGER)) == before


def test_what_was_damaged_is_back_and_what_was_there_is_kept(
    taken: dict[str, Any],
    play: Play,
    types: Play,
    types_on_host: Callable[..., str],
    sh: Sh,
    query: Sh,
    look: Look,
) -> None:
    expected = query("SELECT count(*), sum(id) FROM campaigns")
    query("ALTER DATABASE swarm_production SET work_mem TO '7MB'")
    query("DELETE FROM campaigns; INSERT INTO pair_a VALUES (-1)")
    sh("rm /opt/swarm/storage/precious.txt")
    # as a swap that was killed leaves it
    sh(f"{PSQL} postgres <<<'ALTER DATABASE swarm_production ALLOW_CONNECTIONS false'")
    types("docs/restore.md", f"{RESTORE} -e restore_uploads=true", given={"BACKUP": taken["id"]})
    assert query("SELECT count(*), sum(id) FROM campaigns") == expected
    assert query("SHOW work_mem") == "7MB"
    assert sh("cat /opt/swarm/storage/precious.txt") == "precious\n"
    event = json.loads(sh(f"cat {STATE}/ledger.json"))["history"][-1]
    assert (event["event"], event["backup"]) == ("restored", taken["id"])
    kept = event["kept_database"]
    assert sh(f"{PSQL} {kept} <<<'{FIRST_PAIR}'").strip() == "-1"
    assert sh(f"ls {BACKUPS}/{event['saved']}/manifest.json")
    seen = look()
    assert seen.release == "1.1.0"
    assert kept in play("playbooks/status.yml").output
    assert kept in types_on_host("docs/rollback.md", "docker compose exec postgres psql")
    assert event["saved"] in types_on_host("docs/rollback.md", "sudo ls")
    types_on_host("docs/restore.md", "docker compose exec postgres dropdb", given={PAGE_KEPT: kept})
