# SPDX-License-Identifier: GPL-3.0-or-later
"""A site receives a bundle's files piece by piece, so that a connection that is lost costs a piece and no more.

    NAME                     a file that is whole: its SHA-256 is the one that was told
    NAME.0123456789ab.partial   one that is not; where it ends the copy goes on

Nothing is trusted for having been copied: load verifies the signature and every part.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ._bundle_manifest import BundleError
from ._bundle_trust import plain
from ._errors import SlipwayError
from ._files import sync_directory
from ._stored import CHUNK


@dataclass(frozen=True)
class Wanted:
    """A file that is to be here.

    :param size: its bytes; None where whoever sends has it not, and only wants to know whether it is here.
    """

    name: str
    sha256: str
    size: int | None

    @property
    def partial(self) -> str:
        """The name of what is here of it while it is not whole: another file of the same name has another."""
        return f"{self.name}.{self.sha256[:12]}.partial"


def survey(directory: Path, wanted: Sequence[Wanted], piece: int) -> dict[str, int | None]:
    """How many bytes of each file are here; None where it is whole.

    SlipwayError when there is no room for the rest.

    :param piece: bytes of the pieces in which files come; one lies beside the others for a while.
    """
    found = {item.name: None if _whole(directory, item) else _begun(directory, item) for item in wanted}
    rest = sum(max(0, (item.size or 0) - (found[item.name] or 0)) for item in wanted if found[item.name] is not None)
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if rest and free < rest + piece:
        missing = (rest + piece - free) // 1_000_000 + 1
        raise SlipwayError(f"{directory} has no room for the bundle: make {missing} MB more free")
    return found


def _whole(directory: Path, wanted: Wanted) -> bool:
    try:
        with plain(directory / wanted.name) as stream:
            there = os.fstat(stream.fileno()).st_size
            # the size is known sooner than the sum
            return wanted.size in (None, there) and _sha256(stream) == wanted.sha256
    except BundleError:
        # what is no plain file is no part
        return False


def _begun(directory: Path, wanted: Wanted) -> int:
    """Where the copy goes on; at the beginning where it came to its end and nobody verified it."""
    path = directory / wanted.partial
    size = path.stat().st_size if path.is_file() else 0
    return size if wanted.size is None or size < wanted.size else 0


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(CHUNK):
        digest.update(block)
    return digest.hexdigest()


def receive(directory: Path, wanted: Wanted, offset: int, piece: Path) -> int:
    """Put a piece where a file ends; returns how many bytes of it are here then.

    The last piece makes it whole, when its SHA-256 says so.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = directory / wanted.partial
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as target, piece.open("rb") as source:
        try:
            # the call of a connection that was lost may still be at work
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SlipwayError(f"another copy of {wanted.name} is at work: wait for it, and run it again") from None
        if offset == 0:
            target.truncate()
        if target.seek(0, os.SEEK_END) != offset:
            raise SlipwayError(
                f"another copy of {wanted.name} was at work: run it again, it goes on where that stopped"
            )
        shutil.copyfileobj(source, target, CHUNK)
        target.flush()
        os.fsync(target.fileno())
        size = target.tell()
        if size < (wanted.size or 0):
            return size
        target.seek(0)
        digest = _sha256(target)
    if digest != wanted.sha256:
        partial.unlink()
        raise BundleError(
            wanted.name, "it is not what the sums say: the bundle is damaged where it comes from, or was on its way"
        )
    partial.chmod(0o644)
    partial.replace(directory / wanted.name)
    sync_directory(directory)
    for other in directory.glob(f"{wanted.name}.*.partial"):
        # of another bundle of the same name
        other.unlink()
    return size


def wanted_of(item: Mapping[str, Any]) -> Wanted:
    """A file as a call names it."""
    return Wanted(str(item["name"]), str(item["sha256"]), item["size"])
