"""A playbook that runs as an operator, or AWX, runs it: watched line by line, and killed with all that it started."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lab._common import ROOT
from lab.host import Host

MARK = "SLIPWAY_CHAOS"  # in the environment of all that a command starts, so that exactly that can be ended
TARGET = "1.1.0"
LONGEST = 300  # seconds that a command may take
OUTCOME = re.compile(r"^site\d+: \S+ (.+)$", re.MULTILINE)
REASON = re.compile(r'^\s*"?msg"?: (.+)$', re.MULTILINE)
# AWX gives a job that it cancels some time before it kills what is left.
CANCEL_GRACE = 5


def inventory(host: Host, directory: Path) -> Path:
    """Write an inventory that has this host alone, with everything else as the lab's own inventory says."""
    lab = ROOT / "inventory" / "lab"
    content = yaml.safe_load((lab / "hosts.yml").read_text())
    build = str(ROOT / "build" / "lab")
    # the longer way, which undoes the migrations of a release that stood
    own = {"ansible_host": host.address, "lab_directory": build, "rollback_schema": "back"}
    content["sites"]["hosts"] = {host.name: own}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.yml").write_text(yaml.safe_dump(content))
    variables = directory / "group_vars"
    if not variables.is_symlink():
        variables.symlink_to(lab / "group_vars")
    return directory


@dataclass
class Command:
    """One playbook run.

    :param heard: called with each line that it prints.
    :param by_awx: started by ansible-runner, as AWX does.
    """

    verb: str
    inventory: Path
    records: Path
    heard: Callable[[str], None] = lambda _: None
    by_awx: bool = False
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    _lines: list[str] = field(default_factory=list)
    _began: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._private = Path(tempfile.mkdtemp(prefix="chaos-"))
        options = ["-e", f"release_version={TARGET}"] if self.verb == "deploy" else []
        argv = ["ansible-playbook", f"{self.verb}.yml", "-i", str(self.inventory), *options]
        self.shown = " ".join(argv)
        if self.by_awx:
            # ansible-runner's own private directory; the project stays where it is
            argv = ["ansible-runner", "run", str(self._private), "--playbook", f"{self.verb}.yml"]
            argv += ["--project-dir", str(ROOT), "--inventory", str(self.inventory)]
            argv += ["--cmdline", " ".join(options)] if options else []
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            MARK: self.mark,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_FORCE_COLOR": "false",
            # each command has SSH connections of its own: one that is killed takes no other's along
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._private / "cp"),
            "PYTHONUNBUFFERED": "1",
            "SLIPWAY_RECORD_DIR": str(self.records),
        }

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.append(line)
            self.heard(line.rstrip("\n"))

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def wait(self) -> int | None:
        """Return its exit code when it has ended; None when it had to be killed because it took too long."""
        try:
            code: int | None = self._process.wait(max(1.0, self._began + LONGEST - time.monotonic()))
        except subprocess.TimeoutExpired:
            code = None
        self._close()
        return code

    def kill(self) -> None:
        """End it and all that it started with SIGKILL, its SSH connections too, at this moment."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._sweep()

    def cancel(self) -> None:
        """Cancel it as AWX does: SIGTERM, and SIGKILL for what is left."""
        self._process.terminate()
        try:
            self._process.wait(CANCEL_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._sweep()

    def _sweep(self) -> None:
        """Kill whatever carries this command's mark, until nothing does."""
        wanted = f"{MARK}={self.mark}".encode()
        for _ in range(50):
            alive = False
            for place in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if wanted in place.read_bytes():
                        os.kill(int(place.parent.name), signal.SIGKILL)
                        alive = True
                except (OSError, ValueError):
                    continue
            if not alive:
                return
            time.sleep(0.02)

    def _close(self) -> None:
        self._sweep()
        self._process.wait()
        self._reader.join(5)
        if self._process.stdout:
            self._process.stdout.close()
        self.seconds = time.monotonic() - self._began
        shutil.rmtree(self._private, ignore_errors=True)

    def ended_as(self) -> str:
        """Say in a few words how it ended, in the words that the operator saw."""
        if self._process.returncode == -signal.SIGKILL:
            return "killed"
        outcome = OUTCOME.findall(self.output)
        if outcome:
            return str(outcome[-1]).lower()
        reason = REASON.findall(self.output)
        return str(reason[-1])[:100] if reason else f"exit {self._process.returncode}"
