# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own guard: a copy of the engine and a timer, which look after a release without a controller.

    agent/slipway.pyz    the engine as it was sent to the host, as one file that Python runs
    agent/armed.json     while the host is armed: the profile, and what the way back needs to know; without the login
    agent/watch.json     while the host watches a release: the profile with the login, and the criteria

They are there only as long as that. A timer that finds nothing to look after removes itself.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import shlex
import shutil
import struct
import sys
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import SlipwayError
from ._files import read_record, write_file, write_record

if TYPE_CHECKING:
    from ._site import Site

UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
ARMED, WATCH = "armed", "watch"
_MAIN = "from slipway._agent import main\n\nmain()\n"
_SERVICE = """\
[Unit]
Description=Look after {name}: its deploy, and its release
After=docker.service

[Service]
Type=oneshot
ExecStart={command}
Environment=HOME=/root
"""
_TIMER = """\
[Unit]
Description=Look after {name}

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
    """The library that this file belongs to, as a zip file that Python runs.

    It holds the code compiled for this Python too, so that a look each minute costs little; another one reads the text.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("__main__.py", _MAIN)
        archive.writestr("slipway/__init__.py", "")
        for path in sorted(Path(__file__).parent.glob("_*.py")):
            archive.write(path, f"slipway/{path.name}")
            archive.writestr(f"slipway/{path.name}c", _compiled(path))
    return content.getvalue()


def _compiled(path: Path) -> bytes:
    """A module as Python keeps it compiled: a header that asks for no comparison with the text (PEP 552), the code."""
    code = SourceFileLoader(path.stem, str(path)).get_code(path.stem)
    return importlib.util.MAGIC_NUMBER + struct.pack("<Iq", 1, 0) + marshal.dumps(code)


class Guard:
    """The guard of one site."""

    def __init__(self, site: Site) -> None:
        self._runner = site.runner
        self._name = site.profile.name
        self.directory = site.ledger.root / "agent"
        self._unit = f"slipway-{self._name}"

    @property
    def _files(self) -> tuple[Path, Path]:
        return UNITS / f"{self._unit}.service", UNITS / f"{self._unit}.timer"

    @property
    def _program(self) -> Path:
        return self.directory / "slipway.pyz"

    def stands(self, duty: str) -> bool:
        """Whether the timer is there, and all that it starts for a duty."""
        return all(path.exists() for path in (*self._files, self._program, self.directory / f"{duty}.json"))

    def start(self, engine: bytes, duty: str, settings: dict[str, Any], pause: float) -> None:
        """Put the guard up for a duty.

        :param duty: ARMED or WATCH.
        :param settings: of the duty.
        :param pause: seconds from one look to the next.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        write_file(self._program, engine)
        write_record(self.directory / f"{duty}.json", settings)
        command = shlex.join([sys.executable or "/usr/bin/python3", str(self._program), str(self.directory)])
        service, timer = self._files
        try:
            write_file(service, _SERVICE.format(name=self._name, command=command).encode(), mode=0o644)
            write_file(timer, _TIMER.format(name=self._name, pause=pause).encode(), mode=0o644)
        except OSError as error:
            raise SlipwayError(f"the host cannot be armed ({error}): make {UNITS} writable for root") from error
        # which reads the units anew
        self._runner.run(["systemctl", "enable", "--quiet", timer.name])
        self._runner.run(["systemctl", "restart", timer.name])

    def end(self, duty: str) -> None:
        """Let a duty be over; with the last one the guard goes."""
        if any((self.directory / f"{other}.json").exists() for other in (ARMED, WATCH) if other != duty):
            (self.directory / f"{duty}.json").unlink(missing_ok=True)
        else:
            self.stop()

    def stop(self) -> None:
        """Take the guard down, where it stands; killed meanwhile, it finds nothing to guard and goes by itself."""
        if not any(path.exists() for path in (*self._files, self.directory)):
            return
        service, timer = self._files
        self._runner.run(["systemctl", "disable", "--quiet", "--now", "--no-reload", timer.name], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        for path in (service, timer):
            path.unlink(missing_ok=True)
        self._runner.run(["systemctl", "daemon-reload"], check=False)


def settings_of(directory: Path, duty: str) -> dict[str, Any] | None:
    """What a duty was begun with; None when there is no such duty."""
    return read_record(directory / f"{duty}.json", dict)
