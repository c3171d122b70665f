# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own guard: a copy of the engine and a timer, which take a release back when its controller died.

    agent/slipway.pyz    the engine as it was sent to the host, as one file that Python runs
    agent/site.json      the profile, and what the way back needs to know; without the login

Both are there only while the host is armed. A timer that finds nothing to guard removes itself.
"""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import SlipwayError
from ._ledger import write_file

if TYPE_CHECKING:
    from ._site import Site

UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
LONGEST_PAUSE, SHORTEST_PAUSE = 30.0, 1.0
_MAIN = "from slipway._agent import main\n\nmain()\n"
_SERVICE = """\
[Unit]
Description=Take {name} back when its deploy died
After=docker.service

[Service]
Type=oneshot
ExecStart={command}
Environment=HOME=/root
"""
_TIMER = """\
[Unit]
Description=Look after a deploy of {name}

[Timer]
OnActiveSec={pause:.0f}s
OnBootSec={pause:.0f}s
OnUnitInactiveSec={pause:.0f}s
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def cannot_arm() -> str | None:
    """Why this host cannot take itself back; None when it can."""
    if not BOOTED.is_dir() or shutil.which("systemctl") is None:
        return "not armed: systemd does not run here; if the controller dies, run rollback.yml"
    return None


def packed() -> bytes:
    """The library that this file belongs to, as a zip file that Python runs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", _MAIN)
        archive.writestr("slipway/__init__.py", "")
        for path in sorted(Path(__file__).parent.glob("_*.py")):
            archive.write(path, f"slipway/{path.name}")
    return content.getvalue()


class Guard:
    """The guard of one site."""

    def __init__(self, site: Site) -> None:
        self._runner = site.runner
        self._name = site.profile.name
        self.directory = site.ledger.root / "agent"
        self._unit = f"slipway-{self._name}-armed"

    @property
    def _files(self) -> tuple[Path, Path]:
        return UNITS / f"{self._unit}.service", UNITS / f"{self._unit}.timer"

    @property
    def stands(self) -> bool:
        """Whether the timer is there, and all that it starts."""
        return all(
            path.exists() for path in (*self._files, self.directory / "slipway.pyz", self.directory / "site.json")
        )

    def start(self, engine: bytes, settings: dict[str, Any], timeout: float) -> None:
        """Put the guard up; it looks often enough to notice `timeout` seconds of silence soon after they passed.

        :param settings: for the agent; no secret is among them.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        program, given = self.directory / "slipway.pyz", self.directory / "site.json"
        write_file(program, engine)
        write_file(given, (json.dumps(settings, indent=1) + "\n").encode())
        command = shlex.join([sys.executable or "/usr/bin/python3", str(program), str(given)])
        pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, timeout / 4))
        service, timer = self._files
        try:
            write_file(service, _SERVICE.format(name=self._name, command=command).encode(), mode=0o644)
            write_file(timer, _TIMER.format(name=self._name, pause=pause).encode(), mode=0o644)
        except OSError as error:
            raise SlipwayError(f"the host cannot be armed ({error}): make {UNITS} writable for root") from error
        self._runner.run(["systemctl", "daemon-reload"])
        self._runner.run(["systemctl", "enable", "--quiet", timer.name])
        self._runner.run(["systemctl", "restart", timer.name])

    def stop(self) -> None:
        """Take the guard down, where it stands; killed meanwhile, it finds nothing to guard and goes by itself."""
        if not any(path.exists() for path in (*self._files, self.directory)):
            return
        service, timer = self._files
        self._runner.run(["systemctl", "disable", "--quiet", "--now", timer.name], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        for path in (service, timer):
            path.unlink(missing_ok=True)
        self._runner.run(["systemctl", "daemon-reload"], check=False)
