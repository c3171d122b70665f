# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a bundle's files to a host, piece by piece: only what is not there, from where the last copy stopped."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Callable

from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import manifest_in
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import (
    SIGNATURE,
    parse_sums,
    plain,
    summed_parts,
)

# Bytes of a piece: what a lost connection costs, and what lies in the host's temporary directory.
PIECE = 64_000_000
_LARGEST_SUMS = 1_000_000


@dataclass(frozen=True)
class File:
    """A file of a bundle.

    :param size: its bytes; None where it lies on another medium.
    """

    path: Path
    sha256: str
    size: int | None

    @property
    def told(self) -> dict[str, Any]:
        """What the host has to know of it."""
        return {"name": self.path.name, "sha256": self.sha256, "size": self.size}


def files_of(sums: Path) -> list[File]:
    """The files of a bundle: its parts, then the signature, and last the sums, so that they are there when all is."""
    signature = sums.with_name(sums.name + SIGNATURE)
    small = {path: _small(path) for path in (signature, sums)}
    listed = {sums.with_name(name): digest for name, digest in parse_sums(small[sums], sums.name).items()}
    parts = [File(path, digest, _size(path)) for path, digest in listed.items()]
    return parts + [File(path, hashlib.sha256(text).hexdigest(), len(text)) for path, text in small.items()]


def _small(path: Path) -> bytes:
    with plain(path) as stream:
        content = stream.read(_LARGEST_SUMS + 1)
    if not 0 < len(content) <= _LARGEST_SUMS:
        raise BundleError(path.name, "it is empty, or far too large")
    return content


def _size(path: Path) -> int | None:
    if not path.exists():
        return None
    with plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
    if not size:
        raise BundleError(path.name, "it is empty")
    return size


def told_ahead(files: Sequence[File], there: Mapping[str, int | None]) -> dict[str, str]:
    """What the host is told before anything is sent: the sums, the signature, and the manifest where it can be read.

    BundleError where a part that is to be sent is not what the sums say.
    """
    *parts, signature, sums = files
    # the manifest lies in the first ones, which are read whether they are sent or not
    first = list(takewhile(lambda file: file.size is not None, parts))
    rest = [file for file in parts if file not in first and file.size is not None and there[file.path.name] is not None]
    try:
        told = {"sums": sums.path.read_text("utf-8"), "signature": signature.path.read_text("utf-8")}
    except UnicodeDecodeError as error:
        raise BundleError(signature.path.name, "it is no signature: it holds more than text") from error
    with summed_parts({file.path: file.sha256 for file in rest}):
        pass
    with summed_parts({file.path: file.sha256 for file in first}) as leading:
        try:
            return {**told, "manifest": manifest_in(leading).written().decode()} if first else told
        except BundleError:
            if len(first) == len(parts):
                raise
            # it goes on in a part that lies on another medium
            return told


class Sender:
    """Sends what is not there.

    :param put: hands the host a piece that lies in a file here, to be put where a file ends; returns its size then.
    :param tell: shows a line to the operator.
    """

    def __init__(self, put: Callable[[File, int, Path], int], tell: Callable[[str], None], piece: int = PIECE) -> None:
        self._put, self._tell, self._piece = put, tell, piece
        # where the copy is
        self.at: tuple[str, int, int] | None = None

    def send(self, files: Sequence[File], there: Mapping[str, int | None]) -> list[str]:
        """Send; returns the names of the files that were sent."""
        lacking = [file.path.name for file in files if file.size is None and there[file.path.name] is not None]
        sent = []
        for number, file in enumerate(files, 1):
            name, begin = file.path.name, there[file.path.name]
            what = f"{name} ({number} of {len(files)})"
            if begin is None:
                self._tell(f"{what}: is there")
            elif file.size is not None and not (lacking and file in files[-2:]):
                for end in self._pieces(file, begin):
                    self._tell(f"{what}: {_of(end, file.size)}")
                sent.append(name)
        if lacking:
            more = f", as are {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise BundleError(lacking[0], f"it is neither here nor on the host{more}: bring the medium that has it")
        return sent

    def _pieces(self, file: File, begin: int) -> Iterator[int]:
        """Send a file from where it stopped; yields where it ends after each piece."""
        size, at = file.size or 0, begin
        with plain(file.path) as source, tempfile.NamedTemporaryFile() as scratch:
            while at < size:
                self.at = (file.path.name, at, size)
                os.ftruncate(scratch.fileno(), 0)
                source.seek(at)
                scratch.seek(0)
                left = self._piece
                while left and (block := source.read(min(left, 1_000_000))):
                    scratch.write(block)
                    left -= len(block)
                scratch.flush()
                if left == self._piece:
                    raise BundleError(file.path.name, "it became shorter")
                at = self._put(file, at, Path(scratch.name))
                yield at


def _of(done: int, size: int) -> str:
    return f"{100 * done // size} %, {done / 1e6:.0f} of {size / 1e6:.0f} MB"
