#!/usr/bin/env python3
"""Composes the sample application's git repository: a commit and a tag a release, the same ids every time."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


class ComposeError(Exception):
    """The repository cannot be made; the message is one line that says why."""


@dataclass(frozen=True)
class Release:
    """A version, the version that it was made from, and the moment it was made."""

    version: str
    parent: str | None
    date: str

    @property
    def files(self) -> Path:
        """What this release adds to its parent, or replaces."""
        return HERE / "releases" / self.version if self.parent else HERE / "base"


RELEASES = (
    Release("1.0.0", None, "2026-01-05T12:00:00Z"),
    Release("1.1.0", "1.0.0", "2026-03-02T12:00:00Z"),
    Release("1.2.0", "1.1.0", "2026-04-06T12:00:00Z"),
    Release("1.3.0", "1.1.0", "2026-05-04T12:00:00Z"),
    Release("1.4.0", "1.1.0", "2026-06-01T12:00:00Z"),
    Release("1.5.0", "1.1.0", "2026-06-08T12:00:00Z"),
    Release("1.6.0", "1.1.0", "2026-06-15T12:00:00Z"),
    Release("1.7.0", "1.1.0", "2026-06-22T12:00:00Z"),
    Release("1.8.0", "1.1.0", "2026-06-29T12:00:00Z"),
    Release("1.9.0", "1.1.0", "2026-07-06T12:00:00Z"),
)
MAIN = "1.1.0"


def environment(date: str) -> dict[str, str]:
    """Return what git is told: nothing of this user's settings, and no clock."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        settings |= {f"GIT_{role}_NAME": "Swarm", f"GIT_{role}_EMAIL": "swarm@example.test", f"GIT_{role}_DATE": date}
    return inherited | settings


def git(directory: Path, *arguments: str, date: str = RELEASES[0].date) -> None:
    """Run git in a directory."""
    done = subprocess.run(
        ["git", "-C", str(directory), *arguments], env=environment(date), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ComposeError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")


def commit(work: Path, release: Release) -> None:
    """Add a release to the repository in a work tree."""
    if release.parent:
        git(work, "checkout", "--quiet", release.parent)
    shutil.copytree(release.files, work, dirs_exist_ok=True)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", f"Release {release.version}", date=release.date)
    git(work, "tag", "--annotate", "--message", f"Release {release.version}", release.version, date=release.date)


def compose(destination: Path, *, bare: bool) -> None:
    """Make the repository in a directory that is empty or does not exist."""
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise ComposeError(f"{destination} is not an empty directory: name another one")
    with tempfile.TemporaryDirectory(prefix="swarm-") as scratch:
        work = Path(scratch)
        git(work, "init", "--quiet", "--initial-branch", "main")
        for release in RELEASES:
            commit(work, release)
        git(work, "checkout", "--quiet", "-B", "main", MAIN)
        git(work, "clone", "--quiet", *(["--bare"] if bare else []), scratch, str(destination.absolute()))
    git(destination, "remote", "remove", "origin")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("destination", type=Path, help="an empty directory, or one that does not exist yet")
    parser.add_argument("--bare", action="store_true", help="make it without a work tree, as a server keeps it")
    asked = parser.parse_args(arguments)
    try:
        compose(asked.destination, bare=asked.bare)
    except (ComposeError, OSError) as error:
        sys.exit(f"compose_repository: {error}")


if __name__ == "__main__":
    main()
