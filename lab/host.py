"""Starts and removes hosts: containers that behave as a customer's machine does, reached over SSH."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import yaml
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.volumes import Volume

from lab import images
from lab._common import BUILD, LABEL, LabError, program, run

SUBNET = "10.89.0.0/24"
GATEWAY = "10.89.0.1"
KEY = BUILD / "id_ed25519"
KNOWN_HOSTS = BUILD / "known_hosts"
SECRETS = ("postgres_password", "secret_key_base", "operator_password")
READY_AFTER = 60
MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
MEMORY_WANTED = 6e9  # bytes; a host needs two, and a demo is not alone
# Everything that --privileged gives, but for CAP_SYS_RESOURCE, which virtual machines may lack.
PRIVILEGES = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined"),
)


@dataclass(frozen=True)
class Host:
    """A host's name is all that is chosen: the rest follows from it, so that an inventory can be written beforehand."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"site([1-9]|[1-9][0-9])", self.name):
            raise LabError(f"the lab's hosts are called site1 to site99, not {self.name}")

    @property
    def address(self) -> str:
        """The address on the lab's network."""
        return f"10.89.0.{10 + int(self.name.removeprefix('site'))}"

    @property
    def container(self) -> str:
        """The name of the container, and of the volume for /var/lib/docker."""
        return f"slipway-lab-{self.name}"

    @property
    def secrets_file(self) -> Path:
        """Where the controller finds the secrets of this host."""
        return BUILD / "secrets" / f"{self.name}.yml"

    def sh(self, script: str, *, user: str = "root", stdin: bytes | None = None) -> str:
        """Run a script on the host; secrets go through stdin."""
        return run(
            ["docker", "exec", "--interactive", "--user", user, self.container, "bash", "-ec", script], stdin=stdin
        )


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """Give a client of the engine."""
    client = docker.from_env(timeout=120)
    try:
        yield client
    finally:
        client.close()


def make_key() -> str:
    """Make the key pair that opens the lab's hosts, once, and return its public half."""
    public = KEY.with_suffix(".pub")
    if not public.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        KEY.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "slipway-lab", "-f", str(KEY)])
    return public.read_text().strip()


def make_secrets(host: Host) -> dict[str, str]:
    """Make the secrets of a host's application and leave them where its inventory finds them."""
    # 64 letters: a key that Rails takes, and a password that bcrypt takes
    values = {name: secrets.token_hex(32) for name in SECRETS}
    keep_secrets(host, values)
    return values


def keep_secrets(host: Host, values: dict[str, str]) -> None:
    """Write a host's secrets for its inventory."""
    host.secrets_file.parent.mkdir(parents=True, exist_ok=True)
    host.secrets_file.unlink(missing_ok=True)
    host.secrets_file.touch(mode=0o600)
    host.secrets_file.write_text(yaml.safe_dump({f"vault_{name}": value for name, value in values.items()}))


def make_network(client: docker.DockerClient) -> None:
    """Make the bridge with fixed addresses."""
    try:
        client.networks.get(LABEL)
    except NotFound:
        pool = docker.types.IPAMPool(subnet=SUBNET, gateway=GATEWAY)
        try:
            client.networks.create(
                LABEL, driver="bridge", labels={LABEL: ""}, ipam=docker.types.IPAMConfig(pool_configs=[pool])
            )
        except APIError as error:
            raise LabError(f"the lab needs the network {SUBNET}, and Docker says: {error.explanation}") from error


def start(host: Host, image: str = images.HOST) -> None:
    """Start a host and return when SSH and its own Docker engine answer."""
    public = make_key()
    with engine() as client:
        make_network(client)
        make_volume(client, host.container)
    # By the command line client: the SDK cannot say systempaths=unconfined.
    run(
        [
            *("docker", "run", "--detach", "--name", host.container, "--hostname", host.name),
            *("--label", f"{LABEL}={host.name}", "--network", LABEL, "--ip", host.address),
            *("--env", f"AUTHORIZED_KEY={public}"),
            *PRIVILEGES,
            # On the container's own file system the inner engine would fall back to copying every layer.
            *("--volume", f"{host.container}:/var/lib/docker"),
            image,
        ]
    )
    wait(host)
    trust(host)


def make_volume(client: docker.DockerClient, name: str) -> str:
    """Make a labelled volume and return its name; it lies in memory where there is plenty, so that times are steady."""
    options = {}
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_WANTED:
        place = MEMORY / LABEL / name
        place.mkdir(parents=True, exist_ok=True)
        options = {"type": "none", "o": "bind", "device": str(place)}
    client.volumes.create(name, driver="local", driver_opts=options, labels={LABEL: ""})
    return name


def remove_volume(volume: Volume) -> None:
    """Remove a volume, and what of it lies in memory."""
    volume.remove()
    shutil.rmtree(MEMORY / LABEL / (volume.name or ""), ignore_errors=True)


def wait(host: Host) -> None:
    """Return when SSH and Docker answer on the host."""
    deadline = time.monotonic() + READY_AFTER
    script = (
        "until docker info >/dev/null 2>&1 && [ -S /run/dbus/system_bus_socket ] "
        "&& ss -Htln 'sport = :22' | grep -q .; do sleep 0.05; done"
    )
    try:
        subprocess.run(
            [program("docker") or "docker", "exec", host.container, "bash", "-c", script],
            timeout=deadline - time.monotonic(),
            check=True,
            capture_output=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        with engine() as client:
            logs = client.containers.get(host.container).logs(tail=1).decode(errors="replace").strip()
        raise LabError(f"{host.name} did not come up in {READY_AFTER} s: {logs}") from error


def trust(host: Host) -> None:
    """Record the host's own key, read past the network, so that SSH can check whom it talks to."""
    key = " ".join(host.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    lines = known_hosts_without(host)
    KNOWN_HOSTS.write_text("".join(f"{line}\n" for line in [*lines, f"{host.address} {key}"]))


def known_hosts_without(host: Host) -> list[str]:
    """Return the other hosts' lines of known_hosts."""
    if not KNOWN_HOSTS.exists():
        return []
    return [line for line in KNOWN_HOSTS.read_text().splitlines() if line.split()[0] != host.address]


def remove(host: Host) -> None:
    """Remove one host and what the controller knows of it."""
    with engine() as client:
        for container in client.containers.list(all=True, filters={"label": f"{LABEL}={host.name}"}):
            erase(container)
        for volume in client.volumes.list(filters={"label": LABEL, "name": host.container}):
            if volume.name == host.container:
                remove_volume(volume)
    host.secrets_file.unlink(missing_ok=True)
    if KNOWN_HOSTS.exists():
        KNOWN_HOSTS.write_text("".join(f"{line}\n" for line in known_hosts_without(host)))


def erase(container: Container) -> None:
    """Remove a container with its anonymous volumes, whatever state a killed daemon left it in."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return


def remove_all() -> None:
    """Remove every host, the network and the volumes; images stay: they are the build cache."""
    with engine() as client:
        for container in client.containers.list(all=True, filters={"label": LABEL}):
            erase(container)
        for volume in client.volumes.list(filters={"label": LABEL}):
            remove_volume(volume)
        for network in client.networks.list(filters={"label": LABEL}):
            network.remove()


def forget_all() -> None:
    """Remove the keys and the secrets of hosts that are gone, and the evidence for their releases."""
    for path in (KEY, KEY.with_suffix(".pub"), KNOWN_HOSTS):
        path.unlink(missing_ok=True)
    for name in ("secrets", "evidence"):
        shutil.rmtree(BUILD / name, ignore_errors=True)
