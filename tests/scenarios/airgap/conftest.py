"""A site that nothing leaves, a bastion beside it, and a workshop elsewhere, which has what bundles are made of."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner
from ansible_collections.slipway.release.plugins.plugin_utils._bundle_contents import wheels

from lab import airgap
from lab.evidence import EVIDENCE
from lab.host import Host
from lab.swarm import OWNER, REPOSITORY
from tests.scenarios.conftest import ROOT
from tests.typed import SHELL, commands, typed

SITE, WORKSHOP, BASTION = Host("site5"), Host("site6"), Host("site10")
HOME = "/home/deploy"
MEDIUM = "/media/slipway"
SIGNERS = "/etc/slipway/allowed_signers"
PYTHON = "3.13"  # Debian 13's
# a controller by hand, as people have one where there is an index
PREPARE = rf"""
cd {HOME}
python3 -m venv --without-pip venv
venv/bin/python "$(ls wheels/pip-*.whl)/pip" install --isolated --quiet --no-index --find-links wheels \
  --require-hashes -r slipway/requirements-run.lock
ssh-keygen -q -t ed25519 -N '' -C workshop -f key
printf 'slipway-bundle namespaces="slipway-bundle" %s\n' "$(cat key.pub)" >allowed_signers
mkdir bundles
git clone --quiet -c advice.detachedHead=false {REPOSITORY} swarm
"""
BUILD = """
cd swarm && git checkout --quiet {version}
export APP_VERSION={version} APPLICATION_HOST=x POSTGRES_PASSWORD=x SECRET_KEY_BASE=x OPERATOR_PASSWORD=x
docker compose build --quiet
"""


@pytest.fixture(scope="session")
def site() -> str:
    return SITE.name


@pytest.fixture(scope="session", autouse=True)
def counted() -> None:
    """What tries to leave is counted from the first test on."""
    airgap.begin_anew(SITE, BASTION)


def copied(source: Host, files: str, target: Host | Path, place: str = "") -> None:
    """Carry files from a host to another, as a medium does, or to this machine."""
    content = subprocess.run(
        ["docker", "exec", source.container, "bash", "-c", f"cd {files} && tar -c *"], check=True, capture_output=True
    ).stdout
    if isinstance(target, Host):
        target.sh(f"mkdir -p {place} && tar -xC {place} --no-same-owner", stdin=content)
    else:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(target, filter="data")


def on(host: Host, directory: str, programs: str = "/bin") -> tuple[str, ...]:
    """What takes a command on a host, as the owner of the application."""
    path = f"PATH={programs}:/usr/local/bin:/usr/bin:/bin"
    there = ("--user", OWNER, "--workdir", directory, "--env", path, host.container)
    return ("docker", "exec", "--interactive", *there, *SHELL)


class Workshop:
    """Writes bundles on a host that has an engine with the images."""

    def __init__(self, scratch: Path) -> None:
        packages = wheels(HostRunner(), [PYTHON], "amd64", ROOT / "requirements-run.lock", scratch / "wheels")
        subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(scratch / "slipway")], check=True)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(packages, "wheels")
            archive.add(scratch / "slipway", "slipway")
            archive.add(EVIDENCE / WORKSHOP.name, "evidence")
        WORKSHOP.sh(f"tar -xC {HOME} --no-same-owner", user=OWNER, stdin=content.getvalue())
        WORKSHOP.sh(PREPARE, user=OWNER)

    def write(self, version: str, base: str = "") -> None:
        """Build a release and write its bundle, or the difference to another one, as an operator does."""
        page, (first, *_) = "docs/bundle.md", commands()["docs/bundle.md"]
        nothing = dict.fromkeys(("vault_postgres_password", "vault_secret_key_base", "vault_operator_password"), "x")
        given = {
            **nothing,
            "bundle_pythons": [PYTHON],
            "bundle_wheels": f"{HOME}/wheels",
            "bundle_evidence_directory": f"{HOME}/evidence",
            # as small as need be, not as small as can be
            "bundle_level": 3,
            "bundle_part_size": 100_000_000,
        }
        filled = {
            "...": first.partition(" playbooks/bundle.yml ")[2],
            "1.1.0": version,
            "1.0.0": base,
            "-i prod": "-i airgap",
            "/srv/checkouts/": f"{HOME}/",
            "/srv/bundles/allowed_signers": f"{HOME}/allowed_signers",
            "/srv/bundles": f"{HOME}/bundles",
            "~/.ssh/slipway-bundle": f"{HOME}/key",
        }
        WORKSHOP.sh(f"cd {HOME}\n{BUILD.format(version=version)}", user=OWNER)
        asked = "ansible-playbook playbooks/bundle.yml ..." if base else first
        through = on(WORKSHOP, f"{HOME}/slipway", f"{HOME}/venv/bin")
        typed(page, asked, '-e "$(cat)"', given=filled, through=through, keys=json.dumps(given))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.1.0 as a bundle, and 1.2.0 as the difference to it: on a medium that goes around, and on this machine."""
    workshop = Workshop(tmp_path_factory.mktemp("workshop"))
    workshop.write("1.1.0")
    workshop.write("1.2.0", base="1.1.0")
    here = tmp_path_factory.mktemp("bundles")
    copied(WORKSHOP, f"{HOME}/bundles", here)
    # it comes by another way
    signers = WORKSHOP.sh(f"cat {HOME}/allowed_signers")
    for host in (SITE, BASTION):
        copied(WORKSHOP, f"{HOME}/bundles", host, MEDIUM)
        host.sh(f"mkdir -p {Path(SIGNERS).parent} && cat >{SIGNERS}", stdin=signers.encode())
    return here


@pytest.fixture(scope="session")
def bastion() -> Host:
    """A machine inside that may reach the site by SSH, and knows its key."""
    public = BASTION.sh("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519 && cat ~/.ssh/id_ed25519.pub", user=OWNER)
    SITE.sh(f"cat >>{HOME}/.ssh/authorized_keys", stdin=public.encode())
    key = " ".join(SITE.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    BASTION.sh("cat >~/.ssh/known_hosts", user=OWNER, stdin=f"{airgap.address(SITE)} {key}\n".encode())
    return BASTION
