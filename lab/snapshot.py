"""Keeps a host on which a release was installed, so that the next one like it is copied instead of made again."""

from __future__ import annotations

from pathlib import Path

from docker.errors import ImageNotFound

from lab import host as hosts
from lab import images, swarm
from lab._common import CACHE, LABEL, ROOT, digest, run, told
from lab.host import Host

IMAGE = "slipway-lab/snapshot"
# A directory of an image's layer cannot be renamed, as one on any machine can: the application lies in the host's own.
PLACE = swarm.DIRECTORY
UNSHARE = f"cp -a {PLACE} {PLACE}.own; rm -rf {PLACE}; mv {PLACE}.own {PLACE}"
MADE_BY = ("images.py", "host.py", "swarm.py", "snapshot.py")


def key(release: str) -> str:
    """Return a name for everything that such a host is made of."""
    inputs = [ROOT / "lab" / "host", *(ROOT / "lab" / name for name in MADE_BY), swarm.SAMPLE]
    return f"{release}-{digest(*images.BOOTSTRAP, *inputs)}"


def archive(name: str, image: str) -> Path:
    """Return where the inner engine's files are kept; they belong to one image, with its secrets."""
    return CACHE / f"{name}-{image.removeprefix('sha256:')[:12]}.tar"


def find(name: str) -> Path | None:
    """Return the archive of a snapshot of which both halves are there.

    Another checkout on the same engine may have taken one of the same name: its image has another archive.
    """
    with hosts.engine() as client:
        try:
            image = client.images.get(f"{IMAGE}:{name}").id
        except ImageNotFound:
            return None
    path = archive(name, image or "")
    return path if path.exists() else None


def take(host: Host, name: str) -> None:
    """Keep a host on which a release was installed and does not run yet."""
    forget(name.rpartition("-")[0])
    with told(f"{host.name}: snapshot taken"):
        # What makes a host itself must not be found on two.
        host.sh("rm -f /etc/ssh/ssh_host_*; : >/etc/machine-id")
        run(["docker", "stop", "--time", "60", host.container])
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = CACHE / f"{name}.partial"
        copy(host, f"tar --create --xattrs --xattrs-include='*' --numeric-owner --file /cache/{partial.name} .")
        image = run(["docker", "commit", "--change", f"LABEL {LABEL}={name}", host.container, f"{IMAGE}:{name}"])
        partial.rename(archive(name, image.strip()))
        run(["docker", "start", host.container])
        hosts.wait(host)
        hosts.trust(host)


def restore(host: Host, name: str, files: Path) -> None:
    """Start a host from a snapshot and the archive that belongs to it."""
    with told(f"{host.name}: snapshot copied"):
        with hosts.engine() as client:
            hosts.make_volume(client, host.container)
        copy(host, f"tar --extract --xattrs --xattrs-include='*' --numeric-owner --file /cache/{files.name}")
        hosts.start(host, f"{IMAGE}:{name}")
        host.sh(UNSHARE)
    swarm.read_secrets(host)


def copy(host: Host, script: str) -> None:
    """Run a script in the volume of a host that is not running."""
    run(
        [
            *("docker", "run", "--rm", "--network", "none", "--label", LABEL, *hosts.PRIVILEGES),
            *("--volume", f"{host.container}:/volume", "--volume", f"{CACHE}:/cache", "--workdir", "/volume"),
            *("--entrypoint", "bash", images.HOST, "-ec", script),
        ]
    )


def forget(release: str) -> None:
    """Remove older snapshots of a release: what they were made of has changed."""
    with hosts.engine() as client:
        for image in client.images.list(name=IMAGE):
            for tag in image.tags:
                if tag.startswith(f"{IMAGE}:{release}-"):
                    client.images.remove(tag, force=True)
    for path in CACHE.glob(f"{release}-*"):
        path.unlink()
