from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab._common import LabError
from lab.engine import Machine, Step, forget_the_dead, steps

FRESH = Machine(answers=False, docker_host="", missing=("dockerd", "docker"), root=True, apt=True)


@pytest.mark.parametrize(
    "answers,missing,expected",
    [
        (True, (), ()),
        (True, ("dockerd",), ()),
        (True, ("dockerd", "mmdebstrap"), (Step.INSTALL,)),
        (False, (), (Step.START,)),
        (False, ("dockerd",), (Step.INSTALL, Step.START)),
    ],
)
def test_only_what_is_missing_is_done(answers: bool, missing: tuple[str, ...], expected: tuple[Step, ...]) -> None:
    assert steps(Machine(answers=answers, docker_host="", missing=missing, root=True, apt=True)) == expected


@pytest.mark.parametrize(
    "machine,message",
    [
        (Machine(False, "tcp://h:1", (), True, True), "no Docker engine answers at DOCKER_HOST=tcp://h:1"),
        (Machine(False, "", ("docker", "ssh"), False, True), "not found: docker, ssh; install them"),
        (Machine(False, "", ("docker",), True, False), "not found: docker; install them"),
        (Machine(False, "", (), False, True), "no Docker engine answers: start it"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(machine: Machine, message: str) -> None:
    with pytest.raises(LabError, match=message) as raised:
        steps(machine)
    assert "\n" not in str(raised.value)


def test_a_pid_file_of_a_dead_daemon_is_removed(tmp_path: Path) -> None:
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text("999999999")
    forget_the_dead(pid_file, "dockerd")
    assert not pid_file.exists()


def test_a_pid_that_belongs_to_another_program_is_no_daemon(tmp_path: Path) -> None:
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(str(os.getpid()))
    forget_the_dead(pid_file, "dockerd")
    assert not pid_file.exists()


def test_the_pid_file_of_a_living_daemon_stays(tmp_path: Path) -> None:
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(str(os.getpid()))
    forget_the_dead(pid_file, Path("/proc/self/comm").read_text().strip())
    assert pid_file.exists()
