"""A registry of images on the lab's network, with a certificate of its own and a login."""

from __future__ import annotations

import secrets
import time

from lab import host as hosts
from lab import images
from lab._common import LABEL, ROOT, LabError, run
from lab.host import Host

NAME = "registry.example.test"
ADDRESS = "10.89.0.250"
USER = "lab"
CONTAINER = f"{LABEL}-registry"
IMAGE = images.Image("slipway-lab/registry:trixie", ROOT / "lab" / "registry")
READY_AFTER = 30


def start() -> str:
    """Start it anew, with nothing in it; returns the password of its one user."""
    remove()
    with images.apt_sources() as sources:
        images.bootstrap(sources)
        images.build(IMAGE, sources)
    with hosts.engine() as client:
        hosts.make_network(client)
    password = secrets.token_hex(16)
    run(
        [
            *("docker", "run", "--detach", "--name", CONTAINER, "--label", f"{LABEL}=registry", "--network", LABEL),
            *("--ip", ADDRESS, "--env", "SERVER_LOGIN", "--env", f"SERVER_NAME={NAME}", IMAGE.tag),
        ],
        env={"SERVER_LOGIN": password},
    )
    deadline = time.monotonic() + READY_AFTER
    while time.monotonic() < deadline:
        try:
            run(
                [
                    "docker",
                    "exec",
                    CONTAINER,
                    "bash",
                    "-c",
                    "test -e /run/registry/cert.pem && : </dev/tcp/127.0.0.1/443",
                ]
            )
        except LabError:
            time.sleep(0.2)
        else:
            return password
    raise LabError(f"the registry does not answer: docker logs {CONTAINER}")


def introduce(host: Host) -> None:
    """Tell a host where it is and which certificate it has; nobody is logged in yet."""
    certificate = run(["docker", "exec", CONTAINER, "cat", "/run/registry/cert.pem"])
    host.sh(
        f"grep -q ' {NAME}$' /etc/hosts || echo '{ADDRESS} {NAME}' >>/etc/hosts\n"
        f"mkdir -p /etc/docker/certs.d/{NAME} && cat >/etc/docker/certs.d/{NAME}/ca.crt",
        stdin=certificate.encode(),
    )


def login(host: Host, password: str) -> None:
    """Let root of a host be logged in."""
    host.sh(f"docker login --username {USER} --password-stdin {NAME}", stdin=password.encode())


def remove() -> None:
    """Remove it with all that is in it."""
    with hosts.engine() as client:
        for container in client.containers.list(all=True, filters={"label": f"{LABEL}=registry"}):
            hosts.erase(container)
