# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's git checkout on the host. Every command runs as the checkout's owner, with that user's keys."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import SlipwayError

if TYPE_CHECKING:
    from ._process import Runner

NETWORK_TIMEOUT = 300
LOCK_AGE = 10.0
_NETWORK = ("fetch", "ls-remote")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class CheckoutError(SlipwayError):
    """A checkout in which git would do as one user what another says: it is not run there."""


class Checkout:
    """The git checkout that the application runs from.

    :param directory: the project directory.
    :param url: the repository it is cloned and fetched from.
    """

    def __init__(self, runner: Runner, directory: Path, url: str) -> None:
        self._runner = runner
        self.directory = directory
        self._url = url
        self._refusal: CheckoutError | None = None

    @property
    def exists(self) -> bool:
        """Whether the directory is a git checkout."""
        return (self.directory / ".git").exists()

    @property
    def owner(self) -> tuple[int, int]:
        """The uid and gid that the checkout belongs to; those of its nearest existing parent before it is there."""
        place = self.directory
        while not place.exists():
            place = place.parent
        status = place.stat()
        return status.st_uid, status.st_gid

    def check(self) -> None:
        """See that git does not do as one user what another says: it does what configuration and hooks say.

        From then on it is not run here where that is not so. This is asked before a release comes in, and not on the
        way back, which must not fail for it.

        :raises CheckoutError: the checkout is not one user's, or is root's and others may write there.
        """
        try:
            self._check()
        except CheckoutError as error:
            self._refusal = error
            raise

    def _check(self) -> None:
        if self.directory.is_symlink() and self.directory.lstat().st_uid != 0:
            # who made it decides where root writes
            raise CheckoutError(
                f"{self.directory} is a link that is not root's: name what it leads to in application.directory"
            )
        if not self.directory.exists():
            return
        uid, git = self.owner[0], self.directory / ".git"
        # in others' checkouts root may have left a file or two
        inside = (git / "config", git / "hooks") if uid == 0 else ()
        for part in (self.directory.resolve(), git, *inside):
            if not os.path.lexists(part):
                continue
            status = part.lstat()
            if part in inside and stat.S_ISLNK(status.st_mode) and status.st_uid == 0 and part.exists():
                # a company's own hooks lie elsewhere
                status = part.stat()
            if status.st_uid != uid:
                raise CheckoutError(
                    f"{part} belongs to the user id {status.st_uid} and {self.directory} to {uid}, as whom git would "
                    f"do what {git} says: chown {self.directory} and chown -R {git} to one of them"
                )
            if uid == 0 and part == git and not stat.S_ISDIR(status.st_mode):
                raise CheckoutError(f"{git} is root's and leads elsewhere: make {self.directory} a clone of its own")
            others = stat.S_IWOTH if status.st_gid == 0 else stat.S_IWOTH | stat.S_IWGRP
            if uid == 0 and status.st_mode & others:
                raise CheckoutError(
                    f"{part} is root's and others may write there, so that git would do as root what they say: chown "
                    f"{self.directory} and chown -R {git} to the user who deploys, or chmod go-w"
                )

    def _git(self, *arguments: str, directory: Path | None = None, timeout: float = 60, check: bool = True) -> str:
        if self._refusal is not None:
            raise self._refusal
        place = str(directory or self.directory)
        # never ask for a password, never start an editor: nobody is there to answer
        environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true"}
        if arguments[0] in _NETWORK:
            environment["GIT_SSH_COMMAND"] = f"{self._ssh_command} -o BatchMode=yes"
        argv = ["git", "-c", f"safe.directory={place}", "-C", place, *arguments]
        return self._runner.run(argv, env=environment, owner=self.owner[0], timeout=timeout, check=check).stdout

    @cached_property
    def _ssh_command(self) -> str:
        """How the checkout, or its owner, reaches repositories: with a key of its own where there are several."""
        place = self.directory if self.exists else Path("/")
        return self._git("config", "core.sshCommand", directory=place, check=False).strip() or "ssh"

    def _unlock(self, directory: Path) -> None:
        """Remove what a git that was killed left: nothing of ours holds it, and nobody else's lock lasts that long."""
        lock = directory / self._git("rev-parse", "--git-path", "index.lock", directory=directory).strip()
        try:
            time.sleep(max(0.0, lock.stat().st_mtime + LOCK_AGE - time.time()))
            lock.unlink()
        except FileNotFoundError:
            return

    def remote_commit(self, ref: str) -> str | None:
        """The commit that a tag, a branch or a full commit id names in the repository; None when it has none such."""
        patterns = [f"refs/tags/{ref}", f"refs/tags/{ref}^{{}}", f"refs/heads/{ref}"]
        place = self.directory if self.exists else Path("/")
        listed = self._git("ls-remote", self._url, *patterns, directory=place, timeout=NETWORK_TIMEOUT)
        commits = {name: commit for commit, name in (line.split("\t") for line in listed.splitlines())}
        # an annotated tag's own id is no commit: the peeled one is
        for pattern in (patterns[1], patterns[0], patterns[2]):
            if pattern in commits:
                return commits[pattern]
        return ref if _COMMIT.fullmatch(ref) else None

    def fetch(self) -> None:
        """Bring the repository's branches and tags here; begin a checkout around what is there where none is yet."""
        if not self.exists:
            uid, gid = self.owner
            if not self.directory.exists():
                self.directory.mkdir(parents=True)
                os.chown(self.directory, uid, gid)
            self._git("init", "--quiet")
            self._git("remote", "add", "origin", self._url)
        self._git(
            "fetch",
            "--quiet",
            "--tags",
            # a tag that was moved ends it otherwise, without a word; a release's own may not: see check_unchanged
            "--force",
            "--prune",
            self._url,
            "+refs/heads/*:refs/remotes/slipway/*",
            timeout=NETWORK_TIMEOUT,
        )

    @contextmanager
    def holding(self, commit: str) -> Iterator[Path]:
        """A repository that has `commit`: this one, or else one that is fetched for the while; nothing here changes."""
        if self.exists and self.has_commit(commit):
            yield self.directory
            return
        with tempfile.TemporaryDirectory(prefix="slipway-") as name:
            place = Path(name)
            os.chown(place, *self.owner)
            self._git("init", "--quiet", "--bare", directory=place)
            # of a server of 2018 or later any commit may be asked for
            arguments = ("--quiet", "--depth=1", "--no-tags", self._url, commit)
            self._git("fetch", *arguments, directory=place, timeout=NETWORK_TIMEOUT)
            yield place

    def file_at(self, place: Path, commit: str, path: str, limit: int) -> str | None:
        """What a file holds at a commit, in a repository that `holding` gave; None where there is none."""
        name = f"{commit}:{path}"
        if self._git("cat-file", "-t", name, directory=place, check=False).strip() != "blob":
            return None
        size = int(self._git("cat-file", "-s", name, directory=place))
        if size > limit:
            raise SlipwayError(f"{path} is larger than {limit // 1_000_000} MB at {commit[:12]}: it is not read")
        return self._git("cat-file", "blob", name, directory=place)

    def names_at(self, place: Path, commit: str, directory: str) -> list[str]:
        """The paths of the files in and below a directory at a commit, in a repository that `holding` gave."""
        listed = self._git("ls-tree", "-r", "--name-only", f"{commit}:{directory}", directory=place, check=False)
        return listed.splitlines()

    def head(self) -> str | None:
        """The commit that is checked out; None before the first."""
        return self._git("rev-parse", "--quiet", "--verify", "HEAD", check=False).strip() or None

    def has_commit(self, commit: str) -> bool:
        """Whether a commit is already here."""
        return bool(self._git("rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}", check=False).strip())

    def tag_of(self, commit: str) -> str | None:
        """A tag that names `commit`, the highest version first."""
        names = self._git("tag", "--points-at", commit, "--sort=-version:refname").split()
        return names[0] if names else None

    def changes(self) -> list[str]:
        """The tracked files that somebody changed by hand."""
        return [line[3:] for line in self._git("status", "--porcelain", "--untracked-files=no").splitlines()]

    def is_at(self, commit: str) -> bool:
        """Whether exactly the files of `commit` are in place."""
        return self.head() == commit and not self.changes()

    def differing(self, old: str, new: str) -> list[str]:
        """The files that differ between two commits; one that was moved differs in both places."""
        return self._git("diff", "--name-only", "--no-renames", "-z", old, new).split("\0")[:-1]

    def class_lines(self, commit: str, *directories: str) -> str:
        """The lines of a commit's Ruby files that define a class."""
        pattern = r"^[[:space:]]*class[[:space:]]"
        paths = [f":(glob){directory}/**/*.rb" for directory in directories]
        return self._git("grep", "-h", "-E", pattern, commit, "--", *paths, check=False)

    def check_out(self, commit: str) -> None:
        """Put the files of `commit` in place; files of nobody's (the env file, data) are left alone.

        Changes to tracked files are kept under refs/slipway/kept/.
        """
        self._unlock(self.directory)
        if self.changes():
            # a checkout that was killed, or somebody's work: it is kept as a commit of its own
            author = ("-c", "user.name=slipway", "-c", "user.email=slipway@localhost")
            kept = self._git(*author, "stash", "create").strip()
            if kept:
                self._git("update-ref", f"refs/slipway/kept/{kept[:12]}", kept)
        self._git("checkout", "--quiet", "--force", "--detach", commit)

    def export(self, commit: str, destination: Path) -> None:
        """Put the files of `commit` into `destination` as a work tree of its own; what is there is replaced."""
        uid, gid = self.owner
        if not destination.exists():
            destination.mkdir(mode=0o700)
        os.chown(destination, uid, gid)
        if (destination / ".git").exists():
            self._unlock(destination)
            self._git("checkout", "--quiet", "--force", "--detach", commit, directory=destination)
            return
        if any(destination.iterdir()):
            raise SlipwayError(f"{destination} holds files that Slipway did not put there: move them away")
        self._git("worktree", "prune")
        self._git("worktree", "add", "--quiet", "--force", "--force", "--detach", str(destination), commit)
