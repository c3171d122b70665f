"""A job as AWX runs it: the private data directory that it lays out for ansible-runner, and what is left of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab._common import ROOT

LEFT_OUT = shutil.ignore_patterns(".*", "build", "__pycache__")
IDENT = "7"


@dataclass(frozen=True)
class Job:
    """A job that ended.

    :param artifacts: what AWX keeps of it when its container is gone.
    """

    returncode: int
    output: str
    artifacts: dict[str, Any]


def lay_out(
    private: Path,
    inventory: Mapping[str, Any],
    answers: Mapping[str, Any],
    *,
    limit: str = "all",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Lay the directory of a job out.

    :param inventory: as `ansible-inventory --list` prints it.
    :param answers: those to the survey.
    :param environment: what credentials inject.
    """
    for name in ("env", "inventory", "artifacts"):
        (private / name).mkdir(parents=True)
    # without .git, and with ansible.cfg at its root
    shutil.copytree(ROOT, private / "project", symlinks=True, ignore=LEFT_OUT)
    script = private / "inventory/hosts"
    script.write_text(f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({json.dumps(inventory)!r})\n")
    script.chmod(0o700)
    (private / "env/cmdline").write_text(f"--limit {limit}")
    (private / "env/settings").write_text(json.dumps({"idle_timeout": 0, "job_timeout": 0, "pexpect_timeout": 5}))
    given = {"awx_job_id": 7, "awx_user_name": "anna", **answers}
    (private / "env/extravars").write_text("".join(f"{name}: {_untrusted(value)}\n" for name, value in given.items()))
    paths = f"{private}/requirements_collections:collections:~/.ansible/collections:/usr/share/ansible/collections"
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": paths,
        "ANSIBLE_FORCE_COLOR": "True",
        "ANSIBLE_HOST_KEY_CHECKING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{private}/cp",
        "AWX_PRIVATE_DATA_DIR": str(private),
        "JOB_ID": IDENT,
        **(environment or {}),
    }
    (private / "env/envvars").write_text(json.dumps(variables))


def _untrusted(value: object) -> str:
    """A value as AWX writes it: no text that somebody typed is a template."""
    return f"{'!unsafe ' if isinstance(value, str) else ''}{json.dumps(value)}"


def run(private: Path, playbook: str, timeout: float = 280) -> Job:
    """Run a playbook of the project in the directory."""
    runner = [sys.executable, "-m", "ansible_runner", "run", str(private), "--ident", IDENT]
    # an execution environment has no settings of ours
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))}
    done = subprocess.run(
        [*runner, "--inventory", str(private / "inventory/hosts"), "--playbook", playbook],
        cwd=private,
        env={**own, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return Job(done.returncode, output, _artifacts(private / f"artifacts/{IDENT}/job_events"))


def _artifacts(events: Path) -> dict[str, Any]:
    """What AWX keeps: it reads it from the event of the recap."""
    found: dict[str, Any] = {}
    for path in events.glob("*.json"):
        event = json.loads(path.read_text())
        if event["event"] == "playbook_on_stats":
            found = event["event_data"]["artifact_data"]
    return found
