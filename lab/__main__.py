"""`python -m lab`: the throwaway lab from the command line."""

from __future__ import annotations

import argparse
import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lab import airgap, engine, evidence, host, images, snapshot, stock, swarm
from lab._common import BUILD, CACHE, LabError, told
from lab.host import Host


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m lab", description="Hosts to deploy to, made of containers.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("engine", help="find, or install and start, a Docker engine")
    commands.add_parser("images", help="build the images that are missing or changed")
    up = commands.add_parser("up", help="start a host; one of that name is replaced")
    up.add_argument("name", help="site1 (10.89.0.11), site2 (10.89.0.12), ...")
    content = up.add_mutually_exclusive_group()
    content.add_argument("--release", default="1.0.0", help="the release that runs there (default: %(default)s)")
    up.add_argument("--proxy", choices=swarm.PROXIES, default=swarm.PROXIES[0], help="what stands in front of it")
    content.add_argument("--empty", action="store_true", help="no application, only its images and repository")
    content.add_argument("--bare", action="store_true", help="nothing but Debian, SSH and an engine")
    content.add_argument("--stock", action="store_true", help="the application of examples/stock instead of the sample")
    up.add_argument("--airgap", action="store_true", help="on a network without a way out: see lab/airgap.py")
    down = commands.add_parser("down", help="remove a host, or everything that the lab started")
    extent = down.add_mutually_exclusive_group()
    extent.add_argument("name", nargs="?", help="only this host")
    extent.add_argument("--images", action="store_true", help="everything, with the images and the snapshots")
    return top


@contextmanager
def alone() -> Iterator[None]:
    """Let one command work at a time: two would build the same image."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(wanted: Host, release: str, proxy: str, *, empty: bool) -> None:
    """Start a host as asked."""
    images.ensure()
    host.remove(wanted)
    if empty:
        fresh(wanted)
        host.make_secrets(wanted)
        evidence.write(wanted)
        return
    name = snapshot.key(release)
    files = snapshot.find(name)
    if files is not None:
        snapshot.restore(wanted, name, files)
    else:
        fresh(wanted)
        swarm.install(wanted, release)
        snapshot.take(wanted, name)
    if swarm.BY_HAND.get(proxy, ("",))[0] == swarm.HAPROXY:
        images.ensure_haproxy()
        swarm.load_images(wanted, images.HAPROXY)
    with told(f"{wanted.name}: release {release} started behind {proxy}"):
        swarm.set_proxy(wanted, proxy)
        swarm.begin(wanted)
    evidence.write(wanted)


def up_bare(wanted: Host) -> None:
    """Start a host with nothing on it."""
    images.ensure()
    host.remove(wanted)
    with told(f"{wanted.name}: started"):
        host.start(wanted)


def up_stock(wanted: Host) -> None:
    """Start a host with the application of examples/stock."""
    up_bare(wanted)
    stock.prepare(wanted)
    stock.install(wanted)
    evidence.write(wanted, stock.REPOSITORY)


def fresh(wanted: Host) -> None:
    """Start a host without any application."""
    with told(f"{wanted.name}: started"):
        host.start(wanted)
    swarm.prepare(wanted)


def down(name: str | None, *, with_images: bool) -> None:
    """Remove what was asked for; where no engine answers there are only files."""
    answers = engine.answers()
    counted = answers and airgap.stands()
    if answers and name is not None:
        host.remove(Host(name))
    elif answers:
        host.remove_all()
    if counted:
        airgap.forget()
    if name is not None:
        return
    if answers and with_images:
        images.remove()
    host.forget_all()
    if with_images:
        shutil.rmtree(CACHE, ignore_errors=True)


def main() -> int:
    """Do what the command line says."""
    asked = parser().parse_args()
    try:
        wanted = Host(asked.name) if getattr(asked, "name", None) else None
        with alone():
            if asked.command == "down":
                down(asked.name, with_images=asked.images)
                return 0
            engine.ensure()
            if asked.command == "images":
                images.ensure()
            elif wanted is not None:
                with told(f"{wanted.name}: ready at {wanted.address}"):
                    if asked.stock:
                        up_stock(wanted)
                    elif asked.bare:
                        up_bare(wanted)
                    else:
                        up(wanted, asked.release, asked.proxy, empty=asked.empty)
                    if asked.airgap:
                        airgap.isolate(wanted)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
