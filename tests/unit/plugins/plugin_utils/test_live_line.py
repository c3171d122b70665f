"""The line that tells how far a run is: on a real terminal it is written again and again, elsewhere never."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.plugin_utils._live_line import wanted

from tests.unit.playing import ansible_playbook
from tests.unit.plugins import fleet

ROOT = Path(__file__).parents[4]
CANARY = "canary-2d91e"
LINE = "try 0:0"
NAMES = ("here", "there")
COLUMNS = 60

CRITERION = {"id": "R3", "title": "A page takes over 5 seconds", "probes": ["page"], "over": 5, "unit": "s"}
TASKS: list[dict[str, Any]] = [
    {"name": "Wait", "ansible.builtin.command": {"argv": ["sleep", "{{ wait }}"]}, "changed_when": False},
    {"name": "Tell", "ansible.builtin.debug": {"msg": "told in between"}},
    {
        "name": "Wait with a secret",
        "ansible.builtin.command": {"argv": ["sleep", "{{ wait / 2 }}"]},
        "environment": {"SECRET": CANARY},
        "no_log": True,
        "changed_when": False,
    },
    {
        "name": "Judge",
        "slipway.release.rollback_criteria": {"criteria": [CRITERION], "observations": [], "fail": False},
    },
]


def written(directory: Path, wait: float = 1.2) -> tuple[str, ...]:
    """An inventory and a playbook that waits for so many seconds, and once more half of it; what to type."""
    inventory, playbook = directory / "inventory.yml", directory / "try.yml"
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "wait": wait}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(NAMES), "vars": here}}))
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": TASKS}]))
    return "-i", str(inventory), str(playbook)


def on_a_terminal(directory: Path, columns: int, environment: Mapping[str, str] | None = None, *typed: str) -> str:
    """All that a terminal of so many columns was sent."""
    arguments = typed or written(directory)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "SLIPWAY_RECORD_DIR": str(directory / "records"),
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ansible", "playbook", *arguments],
        cwd=ROOT,
        env={**os.environ, **given, **(environment or {})},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    sent = b"".join(_read(leader))
    os.close(leader)
    assert process.wait(timeout=60) == 0, sent
    return sent.decode()


def _read(leader: int) -> Iterator[bytes]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            found = os.read(leader, 65536)
        except OSError:
            # Linux' way to say that nobody has the other side any more
            return
        if not found:
            return
        yield found


def screen(sent: str) -> list[str]:
    """What stands on the terminal in the end, line by line."""
    lines: list[list[str]] = [[]]
    column = 0
    for char in sent:
        if char == "\n":
            lines.append([])
        elif char == "\r":
            column = 0
        else:
            assert char.isprintable(), f"{char!r} is no text"
            line = lines[-1]
            line += [" "] * (column + 1 - len(line))
            line[column] = char
            column += 1
    return ["".join(line).rstrip() for line in lines]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a terminal of 60 columns was sent."""
    return on_a_terminal(tmp_path_factory.mktemp("terminal"), COLUMNS)


def test_a_terminal_shows_how_far_the_run_is_and_keeps_nothing_of_it(sent: str) -> None:
    drawn = [part for part in sent.replace("\n", "\r").split("\r") if part.startswith(LINE)]
    # how long it takes so far, and where something is being done
    assert len(set(re.findall(r"^try (0:\d\d), here, there *$", "\n".join(drawn), re.MULTILINE))) >= 2
    assert max(map(len, drawn)) < COLUMNS
    # all that moves it is a carriage return
    assert "\x1b" not in sent
    assert CANARY not in sent
    left = screen(sent)
    assert not [line for line in left if LINE in line]
    assert "ok: [here] =>" in left
    assert "    msg: told in between" in left
    assert left[-2].startswith("record: ")


def test_what_the_terminal_has_in_the_end_is_what_a_pipe_gets(tmp_path: Path, sent: str) -> None:
    environment = {"COLUMNS": str(COLUMNS), "ANSIBLE_NOCOLOR": "1"}
    piped = ansible_playbook(tmp_path / "records", *written(tmp_path, 0.5), environment=environment).stdout
    assert LINE not in piped
    assert "\r" not in piped

    def text(lines: list[str]) -> list[str]:
        told = (line for line in lines if line and not line.startswith(("record: ", "  cost ", "  phases ")))
        return sorted(line.rstrip("*") for line in told)

    assert text(screen(sent)) == text([line.rstrip() for line in piped.splitlines()])


def test_who_wants_none_gets_none(tmp_path: Path) -> None:
    assert LINE not in on_a_terminal(tmp_path, COLUMNS, {"SLIPWAY_LIVE": "false"}, *written(tmp_path, 0.5))


@pytest.mark.timeout(900)
def test_a_deploy_says_what_the_last_one_took_by_the_site_s_own_ledger(tmp_path: Path) -> None:
    inventory = fleet.written(tmp_path, ["slow"])
    deploy = ("-i", str(inventory), str(ROOT / "playbooks/deploy.yml"))
    sent = on_a_terminal(tmp_path, 79, fleet.environment(tmp_path), *deploy)
    found = re.findall(r"\rdeploy [0-9:]+ of about 1:14, stage 0:01 of about 0:03, site1 *\r", sent)
    assert found, sent
    assert "site1: swarm 1.2.0 DEPLOYED" in screen(sent)


@pytest.mark.promise("U3")
def test_where_nobody_looks_at_the_terminal_or_it_is_kept_there_is_none() -> None:
    leader, follower = pty.openpty()
    try:
        assert wanted(follower, {"TERM": "xterm"})
        assert not wanted(follower, {"TERM": "xterm", "ANSIBLE_STDOUT_CALLBACK": "awx_display"})
        assert not wanted(follower, {"TERM": "xterm", "AWX_ISOLATED_DATA_DIR": "/runner/artifacts/1"})
        assert not wanted(follower, {"TERM": "dumb"})
        assert not wanted(follower, {})
    finally:
        os.close(leader)
        os.close(follower)
