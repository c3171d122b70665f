"""Plays a real playbook with all its roles for a fleet on this machine; what reaches a host is told by a story."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.unit.playing import ansible_playbook

ROOT = Path(__file__).parents[3]

# In the place of plugin_utils/_host_call.py: answers as the modules do, by the site's story, and notes each call.
ANSWERS = """
import json
import os
import time
from pathlib import Path

from ansible.plugins.action import ActionBase

DIRECTORY = Path(os.environ["FLEET_DIRECTORY"])


def seen(probe, subject, **changes):
    item = {"probe": probe, "subject": subject, "at": "2026-11-23T08:00:00.000Z", "value": None, "unit": None}
    return {**item, "ok": True, "detail": "well", **changes}


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        site = self._task.delegate_to or task_vars["inventory_hostname"]
        story = task_vars["hostvars"][site].get("story", "good")
        name = self._task.action.rpartition(".")[-1]
        with (DIRECTORY / "calls").open("a") as calls:
            calls.write(f"{site} {name}\\n")
        with (DIRECTORY / "given.jsonl").open("a") as given:
            given.write(json.dumps({"module": name, **self._task.args}, default=str) + "\\n")
        stands = DIRECTORY / site
        return {**result, "changed": False, **getattr(self, name)(site, story, stands)}

    def preflight(self, site, story, stands):
        if story == "lost":
            return {"failed": True, "lost_host": True, "msg": f"{site} cannot be reached (no route): check its power"}
        run = {"id": "1", "token": 7, "verb": "deploy", "release": "1.2.0", "previous": "1.1.0", "commit": "c0ffee"}
        expected = {"release": "1.1.0", "seconds": 74.0, "phases": {"stage": 3.0}}
        told = {"plan": ["deploy"], "met_before": [], "expected": expected}
        return {"run": run, "already": False, "observations": [], **told}

    def stage(self, site, story, stands):
        if story == "slow":
            time.sleep(1.5)
        return {"failed": True, "msg": "no room"} if story == "never in" else {"changed": True}

    def backup(self, site, story, stands):
        return {"observations": []}

    rehearse = migrate = backup

    def switch(self, site, story, stands):
        stands.write_text("1.2.0")
        return {"observations": [], "since": "2026-11-23T08:00:00Z"}

    def probe(self, site, story, stands):
        bakes = not self._task.args.get("run")
        found = [seen("service", "web"), seen("page", "/campaigns")]
        if story == "down" and self._task.args["probes"] != ["warm"]:
            found.append(seen("service", "worker", ok=False, detail="exited"))
        if story == "cold":
            found.append(seen("cache", "agents", ok=False, detail="no such key"))
        if story == "slow page":
            looks = (DIRECTORY / "calls").read_text().count(" probe")
            # slow in the third call, which is monitor's
            found.append(seen("page", "/agents", value=6.0 if looks == 3 else 0.1, unit="s"))
        if (story == "bad" and stands.read_text() == "1.2.0") or (story == "stale" and bakes):
            found.append(seen("flow", "create a test campaign", ok=False, detail="POST /campaigns answered 500"))
        return {"observations": found, "baseline": {}, "logs_until": 1764489600.25}

    def rollback(self, site, story, stands):
        stands.write_text("1.1.0")
        taken_back = None if story == "never in" else "1.2.0"
        return {"taken_back": taken_back, "standing": "1.1.0", "since": "2026-11-23T08:05:00Z", "observations": []}

    restore = rollback

    def conclude(self, site, story, stands):
        concluded = stands.read_text()
        if story == "watched":
            stands.write_text("1.1.0")
        return {"current": concluded}

    def status(self, site, story, stands):
        return {"status": {"current": stands.read_text()}}
"""


@dataclass(frozen=True)
class Played:
    """A run that ended.

    :param calls: what reached a host, `SITE MODULE` each.
    :param given: the arguments of each call, with its `module`.
    """

    code: int
    printed: str
    calls: list[str] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[str]:
        """What became of site1, site2 and so on."""
        return [self.record["hosts"][name]["outcome"] for name in sorted(self.record["hosts"])]

    def of(self, site: str) -> list[str]:
        """The modules that reached a site."""
        return [call.partition(" ")[2] for call in self.calls if call.startswith(f"{site} ")]


def collection(directory: Path) -> Path:
    """This collection with other answers; returns where Ansible finds it."""
    home = directory / "collections/ansible_collections/slipway/release"
    (home / "plugins/action").mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "roles"):
        (home / name).symlink_to(ROOT / name)
    answers = directory / "answers.py"
    answers.write_text(ANSWERS)
    for path in (ROOT / "plugins").iterdir():
        if path.name != "action":
            (home / "plugins" / path.name).symlink_to(path)
    for path in (ROOT / "plugins/action").glob("*.py"):
        (home / "plugins/action" / path.name).symlink_to(answers if path.is_symlink() else path)
    return directory / "collections"


def written(directory: Path, stories: list[str], **variables: object) -> Path:
    """The inventory of as many sites as there are stories, and where 1.2.0 comes."""
    sites = {f"site{number}": {"story": story} for number, story in enumerate(stories, 1)}
    given = {"application": {"name": "swarm"}, "application_environment": {}, "release_version": "1.2.0", **variables}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = directory / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"sites": {"hosts": sites, "vars": {**local, **given}}}))
    return inventory


def environment(directory: Path) -> dict[str, str]:
    """What leads a playbook to the stories."""
    return {"ANSIBLE_COLLECTIONS_PATH": str(collection(directory)), "FLEET_DIRECTORY": str(directory)}


def play(directory: Path, stories: list[str], *options: str, playbook: str = "deploy", **variables: object) -> Played:
    """Deploy 1.2.0 to as many sites as there are stories, or play another playbook there."""
    done = ansible_playbook(
        directory / "records",
        "-i",
        written(directory, stories, **variables),
        *options,
        ROOT / f"playbooks/{playbook}.yml",
        directory=directory,
        timeout=900,
        environment=environment(directory),
    )
    calls, given, record = directory / "calls", directory / "given.jsonl", directory / "records/latest.json"
    return Played(
        done.returncode,
        done.stdout,
        calls.read_text().splitlines() if calls.exists() else [],
        [json.loads(line) for line in given.read_text().splitlines()] if given.exists() else [],
        json.loads(record.read_text()) if record.exists() else {},
    )
