"""Finds a Docker engine, or installs and starts one where the machine allows it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from lab._common import BUILD, LabError, program, run, told

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = {"docker": "docker.io", "git": "git", "mmdebstrap": "mmdebstrap", "ssh": "openssh-client"}
RUN = Path("/var/run")


class Step(Enum):
    """What has to be done before an engine answers."""

    INSTALL = "install"
    START = "start"


@dataclass(frozen=True)
class Machine:
    """What matters about this machine."""

    answers: bool
    docker_host: str
    missing: tuple[str, ...]
    root: bool
    apt: bool


def steps(machine: Machine) -> tuple[Step, ...]:
    """Decide what has to be done, or say in one line why it cannot be."""
    missing = tuple(name for name in machine.missing if not (machine.answers and name == "dockerd"))
    if not machine.answers and machine.docker_host:
        raise LabError(f"no Docker engine answers at DOCKER_HOST={machine.docker_host}: start it, or unset DOCKER_HOST")
    if missing and not (machine.root and machine.apt):
        raise LabError(f"not found: {', '.join(missing)}; install them, or run this as root on Debian")
    if not machine.answers and not machine.root:
        raise LabError("no Docker engine answers: start it, join the group docker, or run this as root")
    return ((Step.INSTALL,) if missing else ()) + (() if machine.answers else (Step.START,))


def answers() -> bool:
    """Tell whether an engine answers now."""
    try:
        client = docker.from_env(timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (DockerException, RequestException, OSError):
        return False


def look() -> Machine:
    """Look at this machine."""
    missing = [name for name in ("dockerd", *PACKAGES) if program(name) is None]
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    return Machine(
        answers=answers(),
        docker_host=os.environ.get("DOCKER_HOST", ""),
        missing=tuple(missing),
        root=os.geteuid() == 0,
        apt=program("apt-get") is not None,
    )


def ensure() -> None:
    """Return when an engine answers and the programs that the lab uses are there."""
    for step in steps(look()):
        if step is Step.INSTALL:
            with told("packages installed"):
                install()
        else:
            with told("Docker engine started"):
                start()


def install() -> None:
    """Install what is missing; newer Debian splits the client and BuildKit off docker.io."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], env=quiet)
    wanted = ["docker.io", "docker-cli", "docker-buildx", "debian-archive-keyring", *PACKAGES.values()]
    known = set(run(["apt-cache", "--generate", "pkgnames"]).split())
    run(
        ["apt-get", "install", "--yes", "--no-install-recommends", *(name for name in wanted if name in known)],
        env=quiet,
    )


def start() -> None:
    """Start the engine: through systemd where it runs, else by hand."""
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"])
        return
    forget_the_dead(RUN / "docker.pid", "dockerd")
    forget_the_dead(RUN / "docker" / "containerd" / "containerd.pid", "containerd")
    mount_cgroups()
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "dockerd.log"
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            [program("dockerd") or "dockerd", "--log-level=warn"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while not answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"dockerd does not answer; its log ends: {log.read_text().splitlines()[-1:]} ({log})")
        time.sleep(0.1)


def forget_the_dead(pid_file: Path, name: str) -> None:
    """Remove a pid file whose process is gone: its number may belong to another one by now."""
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        pid = 0
    try:
        alive = Path(f"/proc/{pid}/comm").read_text().strip() == name
    except FileNotFoundError:
        alive = False
    if not alive:
        pid_file.unlink(missing_ok=True)


def mount_cgroups() -> None:
    """Mount the control groups where neither systemd nor anything else did."""
    if any(line.split()[2].startswith("cgroup") for line in Path("/proc/mounts").read_text().splitlines()):
        return
    top = Path("/sys/fs/cgroup")
    run(["mount", "-t", "tmpfs", "-o", "mode=0755,nosuid,nodev,noexec", "cgroup", str(top)])
    for line in Path("/proc/cgroups").read_text().splitlines()[1:]:
        controller, _, _, enabled = line.split()
        if enabled == "1":
            (top / controller).mkdir()
            run(["mount", "-t", "cgroup", "-o", controller, "cgroup", str(top / controller)])
