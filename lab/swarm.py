"""Puts the sample application on a host by hand, with git and Compose, as customers have it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from lab import host as hosts
from lab import images
from lab._common import ROOT, LabError, program, run, told
from lab.host import Host

SAMPLE = ROOT / "examples" / "swarm"
DIRECTORY = "/opt/swarm"
REPOSITORY = "/srv/git/swarm.git"
OWNER = "deploy"
PROXIES = ("nginx_reload", "haproxy", "docker_dns", "docker_dns_nginx", "none")
# What people write who tell their proxy about the web containers: a file of the checkout, and what is in it.
NGINX, HAPROXY = "nginx/upstreams/web.conf", "haproxy/upstreams/web.cfg"
# Who does not answer is found out within a tenth of a second, and asked no more; who has just begun is asked a second
# later, when a deploy has asked it for its first pages, and seldom at first. The one with the fewest connections would
# be the one that lets its WebSockets go.
FOUND_BY_NAME = """\
backend web
  option redispatch 1
  option tcp-check
  default-server check inter 50ms fall 2 rise 20 slowstart 8s resolvers docker
  default-server observe layer4 error-limit 1 on-error mark-down
  server-template web 8 web:3000
"""
BY_HAND = {
    "nginx_reload": (NGINX, "upstream web { server web:3000; }"),
    "haproxy": (HAPROXY, "backend web\n  server-template web 2 web:3000 check resolvers docker\n"),
    "docker_dns": (HAPROXY, FOUND_BY_NAME),
}
APPLICATION_USER = 10001  # in the container; uploaded files are its own


def prepare(host: Host) -> None:
    """Give a host what it has before anyone deploys: the images of a registry, and the repository to pull from."""
    with told(f"{host.name}: runtime images loaded"):
        load_images(host, *images.RUNTIME_TAGS)
    with tempfile.TemporaryDirectory(prefix="slipway-lab-") as directory:
        repository = Path(directory) / "swarm.git"
        run([sys.executable, str(SAMPLE / "compose_repository.py"), "--bare", str(repository)])
        archive = Path(directory) / "swarm.tar"
        run(["tar", "--create", "--file", str(archive), "--directory", directory, repository.name])
        host.sh(
            f"install -d -o {OWNER} -g {OWNER} {DIRECTORY} {Path(REPOSITORY).parent}\n"
            f"tar --extract --no-same-owner --directory {Path(REPOSITORY).parent}\n"
            f"chown -R {OWNER}: {REPOSITORY}",
            stdin=archive.read_bytes(),
        )


def load_images(host: Host, *tags: str) -> None:
    """Copy images into the host's own engine."""
    docker = program("docker") or "docker"
    with subprocess.Popen([docker, "save", *tags], stdout=subprocess.PIPE) as saved:
        run(["docker", "exec", "--interactive", host.container, "docker", "load"], stdin=saved.stdout)
    if saved.returncode:
        raise LabError("docker save failed: run `python -m lab images` again")


def environment(release: str, secrets: dict[str, str]) -> str:
    """Return the .env file of the application."""
    lines = {"APP_VERSION": release, "APPLICATION_HOST": "swarm.example.test"} | {
        name.upper(): value for name, value in secrets.items()
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def install(host: Host, release: str) -> None:
    """Install a release and seed its database; nothing of it runs yet."""
    secrets = hosts.make_secrets(host)
    with told(f"{host.name}: release {release} built"):
        host.sh(
            f"git clone --quiet {REPOSITORY} {DIRECTORY}\n"
            f"cd {DIRECTORY}\n"
            f"git -c advice.detachedHead=false checkout --quiet {release}\n"
            f"sudo install -d -o {APPLICATION_USER} storage\n"
            "umask 077 && cat >.env\n"
            "docker compose build --quiet",
            user=OWNER,
            stdin=environment(release, secrets).encode(),
        )
    with told(f"{host.name}: database prepared and seeded"):
        host.sh(
            f"cd {DIRECTORY}\n"
            "docker compose run --rm -T web bin/rails db:prepare\n"
            "docker compose create\n"
            "docker compose stop",
            user=OWNER,
        )


def set_proxy(host: Host, name: str) -> None:
    """Choose what stands in front, one of PROXIES, and tell it about the web containers as people do by hand."""
    variables = yaml.safe_load((ROOT / "lab" / "proxies" / f"{name}.yml").read_text())
    files = variables["site_compose_files"]
    path, upstream = BY_HAND.get(name, ("", ""))
    host.sh(
        f"cd {DIRECTORY}\n"
        # for people, who type `docker compose`; a deploy names its files
        f"sed -i /^COMPOSE_FILE=/d .env; echo COMPOSE_FILE={':'.join(files)} >>.env\n"
        + (f"cat >{path}" if upstream else ""),
        user=OWNER,
        stdin=upstream.encode(),
    )


def begin(host: Host) -> None:
    """Start the application and return when it is healthy."""
    host.sh(f"cd {DIRECTORY} && docker compose up --detach --wait --wait-timeout 120", user=OWNER)


def read_secrets(host: Host) -> None:
    """Take the secrets from the host's .env file and leave them where its inventory finds them."""
    values = dict(line.split("=", 1) for line in host.sh(f"cat {DIRECTORY}/.env").splitlines() if "=" in line)
    hosts.keep_secrets(host, {name: values[name.upper()] for name in hosts.SECRETS})
