"""Plays a playbook as an operator does, and keeps all that it printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ansible_playbook(
    records: Path,
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `ansible-playbook`; `stdout` is all that the operator saw.

    :param records: where the run's record goes.
    """
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *arguments],
        cwd=directory,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "SLIPWAY_RECORD_DIR": str(records),
            **(environment or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
