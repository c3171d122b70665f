"""A command that outlives its killed process keeps the site busy; one that takes too long is ended as a whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_backup, _call_rehearse, _call_stage
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner, come_after_visitors
from ansible_collections.slipway.release.plugins.module_utils._quiet import OFFLINE

SLEEPS = "#!/bin/sh\necho $$ >{pid}\nexec sleep 60\n"


def await_(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _work(root: str, command: str) -> None:
    ledger = Ledger(Path(root))
    with ledger.locked():
        HostRunner(lambda: ledger.descriptors).run([command], check=False)


@pytest.mark.parametrize("command, busy", [("docker", True), ("git", False)])
def test_the_site_stays_busy_while_docker_goes_on_without_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, *, busy: bool
) -> None:
    pid = tmp_path / "pid"
    program = tmp_path / command
    program.write_text(SLEEPS.format(pid=pid))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ledger = Ledger(tmp_path / "ledger")
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(str(ledger.root), command))
    process.start()
    await_(lambda: pid.exists() and pid.read_text().strip() != "")
    process.kill()
    process.join(20)
    child = int(pid.read_text())
    try:
        assert alive(child)
        assert ledger.busy() == busy
    finally:
        os.kill(child, signal.SIGKILL)
    await_(lambda: not ledger.busy())


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"echo begun; sleep 60 & echo $! >{pid}; wait"
    begun = time.monotonic()
    with pytest.raises(CommandError, match="ran out of time") as caught:
        HostRunner().run(["sh", "-c", script], timeout=1)
    assert time.monotonic() - begun < 30
    assert "begun" in caught.value.output
    child = int(pid.read_text())
    await_(lambda: not alive(child))


def test_what_phones_home_is_told_not_to_and_whoever_runs_it_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DOCKER_CLI_HINTS", raising=False)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "0")
    told = dict(line.split("=", 1) for line in HostRunner().run(["env"]).stdout.splitlines() if "=" in line)
    assert told["DOCKER_CLI_HINTS"] == "false"
    assert told["PIP_DISABLE_PIP_VERSION_CHECK"] == "0"
    assert not set(told) & set(OFFLINE) - set(os.environ)


def test_an_owner_without_an_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SlipwayError, match="belongs to the user id 54321, which has no account"):
        HostRunner().run(["true"], owner=54321)


def _yield(told: str) -> None:
    for _ in range(2):
        come_after_visitors()
    Path(told).write_text(HostRunner().run(["nice"]).stdout)


def test_what_comes_after_visitors_starts_commands_that_do(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_yield, args=(str(tmp_path / "told"),))
    process.start()
    process.join(20)
    assert int((tmp_path / "told").read_text()) == max(10, os.getpriority(os.PRIO_PROCESS, 0))


@pytest.mark.parametrize("call", [_call_stage, _call_backup, _call_rehearse])
def test_what_is_done_while_visitors_are_served_comes_after_them(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - a module
    class FirstError(Exception):
        pass

    def first() -> None:
        raise FirstError

    monkeypatch.setattr(call, "come_after_visitors", first)
    with pytest.raises(FirstError):
        call.answer(None, None)
