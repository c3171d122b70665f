"""What a deploy to many sites costs for each of them: calls, processor time, and time on the clock.

The sites are light: each is a container with a real sshd, sudo and Python, to which the real deploy.yml with all its
roles, the real judge, and the real way to a host go, the library's transfer included. What the engine would do there
with Docker is told as it was recorded on a full host beforehand, result by result: 64 hosts with databases do not fit
on a machine, and what each does is its own affair. So this measures what grows with a fleet, and nothing else.

Processor time is that of the controller, its ssh processes and all sites together, since all of it is on this machine.
The floor is that time divided by the cores: nothing can be over sooner.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench._arena import NAME, SHOWN, stop_when_told
from bench._pairs import compare
from bench._results import Line
from lab import engine, images
from lab import host as hosts
from lab._common import BUILD, LABEL, ROOT, run, told
from lab.host import Host

MOST = int(os.environ.get("SLIPWAY_BENCH_SITES", "64"))
SIZES = [size for size in (1, 4, 16, MOST) if size <= MOST]
FEW = 4
# A deploy to few sites is over in seconds, and this machine's are not all alike: the mean of several is compared.
REPEATED = 4
CPU_BAR, WALL_BAR, CALLS_BAR = 1.2, 1.15, 1.0
PATIENCE = 4 * 3600
LONGEST = 3600  # seconds that a deploy may take
FIRST = 130  # the last part of the first light site's address
HOME = "ansible_collections/slipway/release"
RELEASE = "1.1.0"
START = """
mkdir -p /run/sshd /home/deploy/.ssh
install -m 600 -o root /bench/host_key /etc/ssh/ssh_host_ed25519_key
install -m 600 -o deploy -g deploy /bench/authorized_keys /home/deploy/.ssh/authorized_keys
chown deploy: /home/deploy/.ssh
exec /usr/sbin/sshd -D -h /etc/ssh/ssh_host_ed25519_key -o MaxStartups=100
"""
# In the place of plugin_utils/_host_call.py: what a host answered is written down as well.
RECORDS = """
import json
import os

# others import more from here than the class
from ansible_collections.slipway.release.plugins.plugin_utils._host_call_itself import *
from ansible_collections.slipway.release.plugins.plugin_utils._host_call_itself import ActionModule as _Itself


class ActionModule(_Itself):
    def ask(self, more, task_vars):
        done = super().ask(more, task_vars)
        with open(os.environ["FLEET_RECORDED"], "a") as stream:
            stream.write(json.dumps([self._task.action.rpartition(".")[-1], done], default=str) + "\\n")
        return done
"""
# In the place of each _call_*.py on the light sites: the answer that comes next.
ANSWERS = """
from ._recorded import replayed


def answer(module, site):
    return replayed("{name}")
"""
RECORDED = """
import base64
import json
from pathlib import Path

RESULTS = json.loads(base64.b64decode("{content}"))
PLACE = Path("/run/slipway-bench")


def replayed(name):
    if name == "preflight":
        for path in PLACE.glob("*"):
            path.unlink()
    PLACE.mkdir(exist_ok=True)
    known = RESULTS[name]
    count = len(list(PLACE.glob(name + ".*")))
    (PLACE / f"{{name}}.{{count}}").touch()
    return known[min(count, len(known) - 1)]
"""


@dataclass(frozen=True)
class Deployed:
    """A deploy to so many sites.

    :param cpu: seconds of processor time for each site.
    :param wall: seconds on the clock.
    :param calls: remote calls of each site.
    """

    sites: int
    cpu: float
    wall: float
    calls: tuple[int, ...]

    @property
    def floor(self) -> float:
        """The seconds under which nobody could be."""
        return self.cpu * self.sites / (os.cpu_count() or 1)


def collection(directory: Path, *, replaced: dict[str, str]) -> Path:
    """Copy this collection with some files of its own; returns where Ansible finds it."""
    home = directory / HOME
    home.mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "roles", "playbooks"):
        (home / name).symlink_to(ROOT / name)
    for folder in (ROOT / "plugins").iterdir():
        (home / "plugins" / folder.name).mkdir(parents=True)
        for path in folder.glob("*.py"):
            target = home / "plugins" / folder.name / path.name
            if path.is_symlink():
                target.symlink_to(path.readlink())
            else:
                shutil.copy(path, target)
    for name, text in replaced.items():
        (home / "plugins" / name).write_text(text)
    return directory


def site_inventory(directory: Path, sites: dict[str, dict[str, Any]], recorded_on: str) -> Path:
    """The lab's inventory with other sites; evidence and secrets are those of the host that was recorded."""
    directory.mkdir(exist_ok=True)
    key = {"ansible_ssh_private_key_file": str(hosts.KEY), "ansible_user": "deploy", "ansible_become": True}
    here = {"lab_directory": str(BUILD), "release_evidence_directory": f"{BUILD}/evidence/{recorded_on}"}
    secrets = yaml.safe_load((BUILD / "secrets" / f"{recorded_on}.yml").read_text())
    given = {name: {**values, **key, **here, "lab_secrets": secrets} for name, values in sites.items()}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"sites": {"hosts": given}}))
    link = directory / "group_vars"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "inventory/lab/group_vars")
    return directory


def play(inventory: Path, collections: Path, records: Path, **environment: str) -> dict[str, Any]:
    """Deploy as an operator does; returns the run's record."""
    command = ["ansible-playbook", "slipway.release.deploy", "-i", str(inventory), "-e", f"release_version={RELEASE}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "SLIPWAY_RECORD_DIR": str(records),
            **environment,
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    if done.returncode:
        sys.exit(f"the deploy failed:\n{(done.stdout + done.stderr)[-SHOWN:]}")
    record: dict[str, Any] = json.loads((records / "latest.json").read_text())
    return record


def record(scratch: Path) -> dict[str, list[dict[str, Any]]]:
    """Deploy to a full host, and return what its modules answered, in their order."""
    itself = (ROOT / "plugins/plugin_utils/_host_call.py").read_text()
    replaced = {"plugin_utils/_host_call_itself.py": itself, "plugin_utils/_host_call.py": RECORDS}
    host, written = Host(NAME), scratch / "recorded.jsonl"
    subprocess.run([sys.executable, "-m", "lab", "up", NAME], cwd=ROOT, check=True)
    try:
        there = {"ansible_host": host.address, "ansible_ssh_common_args": f"-o UserKnownHostsFile={hosts.KNOWN_HOSTS}"}
        inventory = site_inventory(scratch / "full", {NAME: there}, NAME)
        with told("a deploy to a full host, recorded"):
            made = collection(scratch / "recording", replaced=replaced)
            play(inventory, made, scratch / "records", FLEET_RECORDED=str(written))
        # what is deleted with the host is still needed
        shutil.copytree(BUILD / "evidence" / NAME, scratch / "evidence")
        shutil.copy(host.secrets_file, scratch / "secrets.yml")
    finally:
        hosts.remove(host)
    found: dict[str, list[dict[str, Any]]] = {}
    for line in written.read_text().splitlines():
        name, result = json.loads(line)
        found.setdefault(name, []).append({key: value for key, value in result.items() if key[0] != "_"})
    return found


@contextmanager
def light_sites(scratch: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """As many containers with a real sshd as are wanted, by name."""
    key = scratch / "host_key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    (scratch / "authorized_keys").write_text(hosts.make_key() + "\n")
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    names = {f"light{number:02}": f"10.89.0.{FIRST + number}" for number in range(MOST)}
    (scratch / "known_hosts").write_text("".join(f"{address} {public}\n" for address in names.values()))
    common = f"-o UserKnownHostsFile={scratch}/known_hosts"
    try:
        with told(f"{MOST} light sites started"):
            with hosts.engine() as client:
                hosts.make_network(client)
            for name, address in names.items():
                run(
                    [
                        *("docker", "run", "--detach", "--name", f"{LABEL}-{name}", "--hostname", name),
                        *("--label", f"{LABEL}=light", "--network", LABEL, "--ip", address, "--tmpfs", "/run"),
                        *("--volume", f"{scratch}:/bench:ro", "--entrypoint", "bash", images.HOST, "-ec", START),
                    ]
                )
        yield {name: {"ansible_host": at, "ansible_ssh_common_args": common} for name, at in names.items()}
    finally:
        with hosts.engine() as client:
            for container in client.containers.list(all=True, filters={"label": f"{LABEL}=light"}):
                hosts.erase(container)


def used_by_sites() -> float:
    """Seconds of processor time that the light sites have used."""
    with hosts.engine() as client:
        found = client.containers.list(filters={"label": f"{LABEL}=light"})
        # the engine takes a second for each
        with ThreadPoolExecutor(16) as pool:
            told_of: list[Any] = list(pool.map(lambda item: item.stats(stream=False, one_shot=True), found))
    return float(sum(item["cpu_stats"]["cpu_usage"]["total_usage"] for item in told_of)) / 1e9


def used_here(control: Path) -> float:
    """The same of what this process started and waited for, and of the ssh processes that outlive their call."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    total, tick = children.ru_utime + children.ru_stime, os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(control).encode() in (path / "cmdline").read_bytes():
                fields = (path / "stat").read_text().rpartition(") ")[2].split()
                total += (int(fields[11]) + int(fields[12])) / tick
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def main() -> int:
    """Run the benchmark."""
    stop_when_told(PATIENCE)
    engine.ensure()
    scratch = Path(tempfile.mkdtemp(prefix="slipway-fleet-"))
    try:
        results = record(scratch)
        evidence, secrets = BUILD / "evidence" / "light", BUILD / "secrets" / "light.yml"
        shutil.rmtree(evidence, ignore_errors=True)
        shutil.copytree(scratch / "evidence", evidence)
        shutil.copy(scratch / "secrets.yml", secrets)
        content = base64.b64encode(json.dumps(results).encode()).decode()
        replaced = {f"module_utils/_call_{name}.py": ANSWERS.format(name=name) for name in results}
        replaced["module_utils/_recorded.py"] = RECORDED.format(content=content)
        made = collection(scratch / "replaying", replaced=replaced)
        with light_sites(scratch) as sites:
            return measure(scratch, made, sites)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(BUILD / "evidence" / "light", ignore_errors=True)
        (BUILD / "secrets" / "light.yml").unlink(missing_ok=True)


def measure(scratch: Path, made: Path, sites: dict[str, dict[str, Any]]) -> int:
    """Deploy to 1, 4, 16 and 64 sites, and compare."""
    runs: list[Deployed] = []

    def deploy(size: int) -> Deployed:
        # a socket's path has to be short
        control = Path(tempfile.mkdtemp(prefix="cp", dir="/tmp"))
        try:
            inventory = site_inventory(scratch / "light", dict(list(sites.items())[:size]), "light")
            before = used_by_sites() + used_here(control)
            begun = time.monotonic()
            told_of = play(inventory, made, scratch / "records", ANSIBLE_SSH_CONTROL_PATH_DIR=str(control))
            wall = time.monotonic() - begun
            cpu = (used_by_sites() + used_here(control) - before) / size
        finally:
            for socket in control.iterdir():
                subprocess.run(["ssh", "-O", "exit", "-S", str(socket), "light"], check=False, capture_output=True)
            shutil.rmtree(control, ignore_errors=True)
        found = told_of["hosts"].values()
        if {item["outcome"] for item in found} != {"deployed"}:
            sys.exit(f"not all of {size} sites were deployed: {[item['outcome'] for item in found]}")
        one = Deployed(size, cpu, wall, tuple(item["remote_calls"] for item in found))
        print(
            f"fleet: {size} sites: {one.calls[0]} calls and {cpu:.2f} s of processor time a site, "
            f"{wall:.1f} s, the floor is {one.floor:.1f} s",
            flush=True,
        )
        runs.append(one)
        return one

    # the first one brings the library to the sites
    deploy(MOST)
    runs.clear()
    for size in SIZES:
        deploy(size)
    calls = {number for one in runs for number in one.calls}
    good = len(calls) == 1
    most, fewest = max(calls), min(calls)
    Line.of("fleet calls", "", (most, fewest), bar=CALLS_BAR, ok=good).tell()
    big, walls = max(runs, key=lambda one: one.sites), []

    def wide() -> float:
        one = deploy(big.sites)
        walls.append(one)
        return one.cpu

    def narrow() -> float:
        return statistics.mean(deploy(FEW).cpu for _ in range(REPEATED))

    code = compare("fleet cpu", wide, narrow, CPU_BAR)
    slowest = max(walls, key=lambda one: one.wall / one.floor)
    holds = slowest.wall <= WALL_BAR * slowest.floor
    Line.of("fleet wall", "s", (slowest.wall, slowest.floor), bar=WALL_BAR, ok=holds).tell()
    return 0 if good and holds and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
