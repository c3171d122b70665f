"""Builds the lab's images from Debian packages, and skips those whose inputs are unchanged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from lab._common import LABEL, ROOT, LabError, digest, program, run, told
from lab.engine import KEYRING

BASE = "slipway-lab/debian:trixie"
HOST = "slipway-lab/host:trixie"
RUNTIME = {"ruby": "3.3", "postgres": "17", "redis": "8", "nginx": "1.26"}
RUNTIME_TAGS = tuple(f"swarm-{name}:{version}" for name, version in RUNTIME.items())
HAPROXY = "swarm-haproxy:3.0"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
MEMORY = Path("/dev/shm")  # noqa: S108  a new directory is made in it
BOOTSTRAP = (
    "--variant=apt",
    "--include=passwd",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    # What only people read is left out. As dpkg options these would send each package through a filter in Python.
    '--customize-hook=cd "$1"/usr/share && rm -rf doc/* man/* locale/*',
    "--customize-hook=printf 'path-exclude=/usr/share/%s/*\\n' doc man locale >\"$1\"/etc/dpkg/dpkg.cfg.d/slim",
    # The mirror is this machine's affair: builds get it as a secret, and no image keeps it.
    '--customize-hook=cd "$1" && rm -rf etc/apt/sources.list etc/apt/sources.list.d/* var/log/*',
)


@dataclass(frozen=True)
class Image:
    """An image that is built from a directory."""

    tag: str
    context: Path


def mirror(texts: list[str]) -> str:
    """Return the Debian mirror that this machine uses, from apt's files in either format."""
    for text in texts:
        found = re.search(r"^(?:URIs:|deb(?: +\[[^]]*\])?) +(\S+)", text, re.MULTILINE)
        if found:
            return found[1]
    raise LabError(
        f"no Debian mirror found in {' or '.join(map(str, SOURCES))}: the lab's images are made of its packages"
    )


@contextmanager
def apt_sources() -> Iterator[Path]:
    """Give a file with the apt source of the lab's Debian, for as long as it is needed."""
    uri = mirror([path.read_text() for path in SOURCES if path.exists()])
    with tempfile.TemporaryDirectory(prefix="slipway-lab-") as directory:
        path = Path(directory) / "sources.list"
        path.write_text(f"deb [signed-by={KEYRING}] {uri} trixie main\n")
        yield path


def current(tag: str, inputs: str) -> bool:
    """Tell whether an image is there and made of these inputs."""
    client = docker.from_env()
    try:
        return bool(client.images.get(tag).labels.get(LABEL) == inputs)
    except ImageNotFound:
        return False
    finally:
        client.close()


def scratch() -> dict[str, str]:
    """Unpack the base in memory where there is room for it: it is written once and read once."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 1 << 30
    return {"TMPDIR": str(MEMORY)} if roomy else {}


def bootstrap(sources: Path) -> None:
    """Make the base image without a registry."""
    inputs = digest(*BOOTSTRAP)
    if current(BASE, inputs):
        return
    with told(BASE), tempfile.TemporaryFile() as errors:
        maker = subprocess.Popen(
            [program("mmdebstrap") or "mmdebstrap", *BOOTSTRAP, "trixie", "-", str(sources)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **scratch()},
        )
        try:
            run(["docker", "import", "--change", f"LABEL {LABEL}={inputs}", "-", f"{BASE}-new"], stdin=maker.stdout)
        finally:
            failed = maker.wait()
        if failed:
            errors.seek(0)
            raise LabError(f"mmdebstrap ended with {failed}: {errors.read().decode().strip().splitlines()[-1:]}")
        run(["docker", "tag", f"{BASE}-new", BASE])
        run(["docker", "rmi", f"{BASE}-new"])


def build(image: Image, sources: Path) -> None:
    """Build one image."""
    inputs = digest(*BOOTSTRAP, image.context)
    if current(image.tag, inputs):
        return
    with told(image.tag):
        run(
            [
                *("docker", "build", "--progress=plain", "--label", f"{LABEL}={inputs}"),
                *("--secret", f"id=apt_sources,src={sources}", "--tag", image.tag, str(image.context)),
            ],
            env={"DOCKER_BUILDKIT": "1"},
        )


def chains() -> tuple[tuple[Image, ...], tuple[Image, ...]]:
    """Return what is built side by side: two chains fill two cores."""
    runtime = tuple(
        Image(tag, ROOT / "examples" / "swarm" / "images" / name)
        for name, tag in zip(RUNTIME, RUNTIME_TAGS, strict=True)
    )
    return (Image(HOST, ROOT / "lab" / "host"),), runtime


def ensure() -> None:
    """Build what is missing or changed."""
    with apt_sources() as sources:
        bootstrap(sources)

        def chain(images: tuple[Image, ...]) -> None:
            for image in images:
                build(image, sources)

        with ThreadPoolExecutor() as pool:
            list(pool.map(chain, chains()))
    # What an image of the same name replaced.
    run(["docker", "image", "prune", "--force", "--filter", f"label={LABEL}"])


def ensure_haproxy() -> None:
    """Build the image that only hosts with HAProxy in front have."""
    with apt_sources() as sources:
        build(Image(HAPROXY, ROOT / "examples" / "swarm" / "images" / "haproxy"), sources)


def remove() -> None:
    """Remove every image that the lab made."""
    client = docker.from_env()
    try:
        for image in client.images.list(filters={"label": LABEL}):
            client.images.remove(str(image.id), force=True)
    finally:
        client.close()
