"""A Compose project of several files, with a profile in use and one that is not, tags from the environment, monitoring.

Its images are built in the workshop, from one that is there; a machine inside whose engine has nothing takes it.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import yaml

from lab.host import Host
from lab.swarm import OWNER

HERE = Path(__file__).parent / "atlas"
GIVEN: dict[str, Any] = yaml.safe_load((HERE / "profile.yml").read_text())
VERSION, PROFILE = GIVEN["release_version"], GIVEN["application"]
ENVIRONMENT = {PROFILE["version_variable"]: VERSION, **GIVEN["application_environment"]}
COMPOSE = " ".join(
    [
        "docker compose",
        *(f"--file {name}" for name in PROFILE["compose_files"]),
        *(f"--profile {name}" for name in PROFILE["compose_profiles"]),
    ]
)
ASSIGNMENTS = "".join(f"{name}={value}\n" for name, value in ENVIRONMENT.items())
BUILD = f"""
cd atlas
git init --quiet && git add --all
git -c user.name=a -c user.email=a@example.test commit --quiet --message 'Release {VERSION}'
git tag {VERSION}
cat >/tmp/atlas.env <<'ENV'
{ASSIGNMENTS}ENV
{COMPOSE} --env-file /tmp/atlas.env build --quiet
"""
INSTALL = f"""
git init --quiet {PROFILE["directory"]} && cd {PROFILE["directory"]}
git fetch --quiet {PROFILE["repository"]["url"]} refs/tags/{VERSION}
git -c advice.detachedHead=false checkout --quiet FETCH_HEAD
cat >.env
"""


def write(workshop: Host, home: str, signers: str) -> str:
    """Build the project's images in a workshop and write its bundle there; returns the directory."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(HERE, "atlas")
    directory = f"{home}/atlas-bundles"
    workshop.sh(f"cd {home} && mkdir {directory} && tar -x --no-same-owner", user=OWNER, stdin=content.getvalue())
    workshop.sh(f"cd {home}\n{BUILD}", user=OWNER)
    given = {
        **GIVEN,
        "bundle_source": f"{home}/atlas",
        "bundle_directory": directory,
        "bundle_key": f"{home}/key",
        "bundle_signers": signers,
        "bundle_pythons": [],
        "bundle_evidence_directory": "",
        "bundle_level": 3,
    }
    workshop.sh(
        f'cd {home}/slipway && ../venv/bin/ansible-playbook playbooks/bundle.yml -i localhost, -e "$(cat)"',
        user=OWNER,
        stdin=json.dumps(given).encode(),
    )
    return directory


def install(place: Host) -> None:
    """Put the source that the bundle brought where Compose finds it, as a first install does."""
    place.sh(INSTALL, stdin=ASSIGNMENTS.encode())


def compose(place: Host, arguments: str) -> str:
    """What Compose prints of the project there, with all its files and the profile in use."""
    return place.sh(f"cd {PROFILE['directory']} && {COMPOSE} {arguments}")


def name_images(place: Host) -> None:
    """Give the images that were brought the names that Compose looks them up by, as a deploy does."""
    model = json.loads(compose(place, "config --format json"))
    for service, item in model["services"].items():
        place.sh(f"docker image tag slipway/{PROFILE['name']}-{service}:{VERSION} {item['image']}")
