#!/usr/bin/env python3
"""Composes the sample application's git repository: a commit and a tag a release, the same ids every time."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Each release is an overlay on the one that it was made from; the bad ones were all made from 1.1.0.
RELEASES = (
    ("1.0.0", None, "2026-01-05T12:00:00Z"),
    ("1.1.0", "1.0.0", "2026-03-02T12:00:00Z"),
    ("1.2.0", "1.1.0", "2026-04-06T12:00:00Z"),
    ("1.3.0", "1.1.0", "2026-05-04T12:00:00Z"),
    ("1.4.0", "1.1.0", "2026-06-01T12:00:00Z"),
)
IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Swarm"), ("EMAIL", "swarm@example.test"))
}


def git(directory: Path, *arguments: str, date: str | None = None) -> None:
    """Run git, untouched by whatever this user has configured."""
    dates = {} if date is None else {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    environment = os.environ | IDENTITY | dates | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-C", str(directory), *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


def compose(directory: Path) -> None:
    """Make the repository with its work tree in an empty directory."""
    git(directory, "init", "--quiet", "--initial-branch=main")
    for version, base, date in RELEASES:
        if base is not None:
            git(directory, "checkout", "--quiet", base)
        overlay = HERE / "base" if base is None else HERE / "releases" / version
        shutil.copytree(overlay, directory, dirs_exist_ok=True)
        git(directory, "add", "--all")
        git(directory, "commit", "--quiet", "--message", f"Release {version}", date=date)
        git(directory, "tag", "--annotate", "--message", f"Release {version}", version, date=date)
    git(directory, "branch", "--force", "main", "1.1.0")
    git(directory, "checkout", "--quiet", "main")


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("destination", type=Path, help="an empty directory, or one that does not exist yet")
    parser.add_argument("--bare", action="store_true", help="without a work tree, as a server keeps it")
    asked = parser.parse_args()
    if asked.destination.exists() and (not asked.destination.is_dir() or any(asked.destination.iterdir())):
        print(f"compose_repository: {asked.destination} is not an empty directory: name another", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="swarm-") as scratch:
        compose(Path(scratch))
        kind = ["--bare"] if asked.bare else []
        git(Path(scratch), "clone", "--quiet", *kind, scratch, str(asked.destination.absolute()))
    git(asked.destination, "remote", "remove", "origin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
