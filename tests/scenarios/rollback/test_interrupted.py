"""A deploy or a rollback that is killed loses nothing: it is gone on with, or taken back, in the end by the host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.witness import Witness
from tests.scenarios.conftest import INVENTORY, ROOT, SITE, Run

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]
Kill = Callable[..., None]

STATE = "/var/lib/slipway/swarm"
VERSION = "1.1.3"
# nobody rehearses it: that is another test's, and takes its time
DEPLOY = ("deploy.yml", "-e", f"release_version={VERSION}", "-e", "rehearse_policy=waived")
SLOW = """
class AddNote < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :note, :string, default: "none"
    reversible { |way| way.up { execute "SELECT pg_sleep(SECONDS)" } }
  end
end
"""
ENDLESS = "1.1.4"
# whatever holds the site's lock: the module and the commands that it started, but no container
KILL_ON_HOST = f"""
for process in /proc/[0-9]*; do
  if readlink "$process"/fd/* 2>/dev/null | grep -qx {STATE}/lock; then
    # one of them may have ended by itself
    kill -9 "${{process#/proc/}}" 2>/dev/null || true
  fi
done
"""

pytestmark = pytest.mark.promise("R6")


@pytest.fixture(scope="module")
def base(sh: Sh) -> str:
    """The release that others left standing here."""
    return str(json.loads(sh(f"cat {STATE}/ledger.json"))["current"])


@pytest.fixture(scope="module", autouse=True)
def _published(publish: Callable[..., None], base: str) -> None:
    assert base
    for version, seconds in ((VERSION, "4"), (ENDLESS, "600")):
        publish(version, SLOW.replace("SECONDS", seconds))


@pytest.fixture
def ledger(sh: Sh) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        state: dict[str, Any] = json.loads(sh(f"cat {STATE}/ledger.json"))
        return state

    return read


@pytest.fixture
def kill(sh: Sh) -> Kill:
    """Run a playbook until a step has begun, then kill it, its children and its SSH masters."""

    def run(playbook: str, *arguments: str, step: str, on_host: bool = False) -> None:
        known = int(sh(f"wc -l <{STATE}/journal.jsonl"))
        begun = f'"step": "{step}", "event": "begin"'
        with tempfile.TemporaryDirectory(prefix="slipway") as directory:
            process = subprocess.Popen(
                ["ansible-playbook", playbook, "-i", INVENTORY, "--limit", SITE, *arguments],
                cwd=ROOT,
                env={**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": directory, "SLIPWAY_RECORD_DIR": directory},
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                look = f"tail -n +{known + 1} {STATE}/journal.jsonl | grep -q '{begun}'"
                sh(f"for i in $(seq 3000); do if {look}; then exit 0; fi; sleep 0.1; done; exit 1")
                # in the middle of it
                time.sleep(1)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                for master in _ssh_masters(directory):
                    with suppress(ProcessLookupError):
                        os.kill(master, signal.SIGKILL)
        if on_host:
            sh(KILL_ON_HOST)

    return run


def _ssh_masters(directory: str) -> list[int]:
    """The processes that were given this directory and no other."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(b"ssh") and directory.encode() in command:
            found.append(int(process.name))
    return found


def _same(after: Witness, before: Witness) -> None:
    assert (after.release, after.commit, after.env, after.dirty) == (before.release, before.commit, before.env, 0)
    assert (after.images, after.schema, after.rows, after.files) == (
        before.images,
        before.schema,
        before.rows,
        before.files,
    )
    assert after.leftovers == []


def test_killed_in_the_migration_a_deploy_is_gone_on_with_by_the_same_command(
    play: Play, kill: Kill, ledger: Callable[[], dict[str, Any]], sh: Sh, query: Sh, tmp_path: Path
) -> None:
    begun = f"grep '{VERSION}' {STATE}/journal.jsonl | grep -c 'run db:migrate.*begin' || true"
    known = int(sh(begun))
    kill(*DEPLOY, step="run db:migrate", on_host=True)
    dead = ledger()["run"]
    assert ledger()["candidate"]["phase"] == "migrating"
    assert ledger()["armed"]["release"] == VERSION
    said = play("playbooks/status.yml").output
    assert "or ansible-playbook rollback.yml" in " ".join(said.split())

    # a live run keeps everybody else out, and a half done release every other one
    other = play(*DEPLOY, "-e", "preflight_owner=ben@elsewhere")
    assert "another run has this site: deploy of 1.1.3 by" in other.output
    assert "deploy 1.1.3 again to go on" in play("deploy.yml", "-e", "release_version=1.2.0").output

    again = play(*DEPLOY)
    assert again.returncode == 0, again.output
    state = ledger()
    assert (state["current"], state["candidate"], state["run"], state["armed"]) == (VERSION, None, None, None)
    # what the killed call had started came to its end, and was not started again
    assert int(sh(begun)) == known + 1
    assert query("SELECT count(*) FROM campaigns WHERE note = 'none'") == query("SELECT count(*) FROM campaigns")
    record = json.loads(sh(f"cat {STATE}/runs/{dead['id']}.json"))
    assert record["interrupted"]["candidate"] == {"version": VERSION, "phase": "migrating"}

    # whatever of the dead run comes late finds the doors closed
    late = tmp_path / "late.yml"
    release_run = {"id": dead["id"], "token": dead["token"], "verb": "deploy", "release": VERSION}
    role = {"name": "Late", "import_role": {"name": "slipway.release.migrate"}}
    late.write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "vars": {"release_run": release_run}, "tasks": [role]}])
    )
    refused = play(str(late))
    assert refused.returncode != 0
    assert "no run is open on this site" in refused.output


def test_a_rollback_that_is_killed_goes_on_and_goes_no_further_than_it_was_to(
    play: Play, kill: Kill, ledger: Callable[[], dict[str, Any]], look: Look, sh: Sh, query: Sh, base: str
) -> None:
    kill("rollback.yml", step="start the web containers", on_host=True)
    assert ledger()["candidate"]["version"] == VERSION
    run = play("rollback.yml")
    assert run.returncode == 0, run.output
    state = ledger()
    assert (state["current"], state["candidate"], state["run"]) == (base, None, None)
    assert [item["event"] for item in state["history"]].count("taken back") >= 1
    assert look().release == base
    assert query("SELECT count(*) FROM information_schema.columns WHERE column_name = 'note'") == "0"
    assert sh("ls /etc/systemd/system/slipway-* 2>/dev/null || true") == ""


def test_a_host_whose_controller_is_gone_takes_itself_back(
    kill: Kill, ledger: Callable[[], dict[str, Any]], look: Look, sh: Sh, base: str
) -> None:
    before = look()
    arguments = ("-e", f"release_version={ENDLESS}", "-e", "preflight_controller_timeout=4")
    kill(*DEPLOY, *arguments, step="run db:migrate", on_host=True)
    assert sh("docker ps --quiet --filter label=slipway.oneoff=swarm").strip()
    sh(f"for i in $(seq 900); do [ -e {STATE}/agent ] || exit 0; sleep 0.1; done; exit 1")
    _same(look(), before)
    state = ledger()
    assert (state["current"], state["candidate"], state["run"], state["armed"]) == (base, None, None, None)
    event = state["history"][-1]
    assert (event["release"], event["event"], event["by"]) == (ENDLESS, "taken back", "the host itself")
    record = json.loads(sh(f"cat $(ls -t {STATE}/runs/*-host.json | head -1)"))
    assert "end what a killed call left" in record["steps"]
    assert sh("systemctl list-units --all --no-legend 'slipway-*'").strip() == ""


def test_what_was_accepted_is_not_taken_back(
    play: Play, types: Callable[..., Run], ledger: Callable[[], dict[str, Any]], base: str
) -> None:
    assert types("docs/accept.md", "ansible-playbook", "-e", "preflight_owner=anna@controller").changed
    assert play("playbooks/accept.yml").changed == 0
    assert "accepted" in types("docs/status.md", "ansible-playbook").output
    run = play("rollback.yml")
    assert run.returncode != 0
    assert f"there is no way back from {base}: anna@controller accepted it at" in run.output
    assert ledger()["history"][-1]["by"] == "anna@controller"
