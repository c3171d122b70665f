"""Runs playbooks against a host that cannot be reached: what they do on the controller needs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.unit.playing import ansible_playbook

ROOT = Path(__file__).parents[4]


def play(directory: Path, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook, given as its text; `stdout` is all that the operator saw."""
    path, inventory = directory / "playbook.yml", directory / "inventory.yml"
    path.write_text(playbook)
    lost = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(
        yaml.safe_dump({"sites": {"hosts": {"site1": lost}}, "ungrouped": {"hosts": {"localhost": local}}})
    )
    return ansible_playbook(directory / "records", "-i", inventory, "-l", "site1", *options, path)
