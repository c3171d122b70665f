# SPDX-License-Identifier: GPL-3.0-or-later
"""Who made a bundle, and that its parts are what was signed.

    NAME.001 NAME.002 ...   the parts; one after the other they are the bundle
    NAME.sums               their SHA-256 sums, as sha256sum writes them
    NAME.sums.sig           the signature of the sums by ssh-keygen

The file of allowed signers comes to the site by another way than the bundle. It may name several keys, so that a new
one is trusted before the old one goes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ._bundle_manifest import LARGEST, BundleError
from ._bundle_tar import BLOCK, size_in
from ._errors import CommandError, SlipwayError
from ._files import NotPlainError, open_plain
from ._stored import CHUNK

if TYPE_CHECKING:
    from ._process import Runner

NAMESPACE = "slipway-bundle"
SUMS = ".sums"
SIGNATURE = ".sig"
MOST_PARTS = 999
_LARGEST_SUMS = 1_000_000
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def part_name(name: str, number: int) -> str:
    """The file name of a part, counted from 1."""
    return f"{name}.{number:03}"


def commands(sums: str, signers: str) -> list[str]:
    """The two commands that verify a bundle on any host, before anything of the bundle is run."""
    quoted, signature = shlex.quote(sums), shlex.quote(sums + SIGNATURE)
    trusted = f"-f {shlex.quote(signers)} -I {NAMESPACE} -n {NAMESPACE}"
    return [f"ssh-keygen -Y verify {trusted} -s {signature} < {quoted}", f"sha256sum -c {quoted}"]


def sign(runner: Runner, sums: Path, key: Path) -> None:
    """Sign the sums with a private key, or with the agent's when `key` is a public one."""
    runner.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(sums)])


def read_sums(runner: Runner, sums: Path, signers: Path) -> bytes:
    """The sums, when a trusted key has signed them."""
    content = _small(sums)
    signature = sums.with_name(sums.name + SIGNATURE)
    _small(signature)
    if not signers.is_file():
        raise SlipwayError(f"the allowed signers {signers} are not here: they do not come with the bundle, bring them")
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", NAMESPACE, "-n", NAMESPACE, "-s", str(signature)]
    try:
        runner.run(verify, text=content.decode("ascii"))
    except UnicodeDecodeError as error:
        raise BundleError(sums.name, "it is no list of sums") from error
    except CommandError as error:
        said = next((line.strip() for line in error.output.splitlines() if line.strip()), "no reason is given")
        raise BundleError(
            signature.name, f"no key in {signers} has signed {sums.name} as it is here ({said[:120]})"
        ) from error
    return content


def _small(path: Path) -> bytes:
    """The content of a plain file that is never large."""
    with plain(path) as stream:
        content = stream.read(_LARGEST_SUMS + 1)
    if len(content) > _LARGEST_SUMS:
        raise BundleError(path.name, "it is far too large")
    return content


def plain(path: Path) -> IO[bytes]:
    """Open a plain file: no link, no device, no pipe that would never end."""
    try:
        return open_plain(path)
    except FileNotFoundError as error:
        raise BundleError(path.name, f"it is missing in {path.parent}") from error
    except NotPlainError as error:
        reason = "it is a symbolic link" if path.is_symlink() else "it is not a plain file"
        raise BundleError(path.name, reason) from error
    except OSError as error:
        raise BundleError(path.name, f"it cannot be read: {error.strerror}") from error


def parse_sums(content: bytes, sums: str) -> dict[str, str]:
    """The parts and their SHA-256, in their order."""
    stem = sums[: -len(SUMS)]
    lines = content.decode("ascii", errors="replace").splitlines(keepends=True)
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line.rstrip("\n"))
        expected = part_name(stem, number)
        if match is None or not line.endswith("\n") or match[2] != expected:
            raise BundleError(sums, f"line {number} is not the sum of {expected}")
        found[expected] = match[1]
    if not sums.endswith(SUMS) or not 1 <= len(found) <= MOST_PARTS:
        raise BundleError(sums, f"it does not list from 1 to {MOST_PARTS} parts")
    return found


@dataclass(frozen=True)
class _Part:
    name: str
    stream: IO[bytes]
    size: int


class Parts:
    """The parts of a bundle, verified and held open.

    A medium, or the owner of a file, may answer differently when it is read again. So the first entry, which says what
    all the others are, is kept as it was when it was summed; of the others, whoever reads them compares the sum.

    :param first: the first entry, with its header.
    """

    def __init__(self, parts: Sequence[_Part], first: bytes) -> None:
        self._parts = parts
        self._first = first
        self.size = sum(part.size for part in parts)

    def read(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield `size` bytes from `offset`, across parts; fewer where the bundle ends."""
        if offset + size <= len(self._first):
            yield self._first[offset : offset + size]
            return
        for part in self._parts:
            if size <= 0:
                return
            if offset >= part.size:
                offset -= part.size
                continue
            while size > 0 and offset < part.size:
                piece = os.pread(part.stream.fileno(), min(CHUNK, size, part.size - offset), offset)
                if not piece:
                    raise BundleError(part.name, "it became shorter")
                yield piece
                offset += len(piece)
                size -= len(piece)
            offset = 0

    def at(self, offset: int) -> str:
        """The name of the part that an offset lies in."""
        for part in self._parts:
            if offset < part.size:
                return part.name
            offset -= part.size
        return self._parts[-1].name


@contextmanager
def trusted_parts(runner: Runner, sums: Path, signers: Path) -> Iterator[Parts]:
    """The parts that a signed list of sums names; BundleError when one is not what was signed."""
    expected = parse_sums(read_sums(runner, sums, signers), sums.name)
    with summed_parts({sums.with_name(name): sha256 for name, sha256 in expected.items()}) as parts:
        yield parts


@contextmanager
def summed_parts(expected: Mapping[Path, str]) -> Iterator[Parts]:
    """Parts, each with its SHA-256; BundleError when one is another."""
    with ExitStack() as stack:
        parts, front = [], bytearray()
        for path, sha256 in expected.items():
            stream = stack.enter_context(plain(path))
            digest, size = hashlib.sha256(), 0
            while piece := stream.read(CHUNK):
                digest.update(piece)
                size += len(piece)
                front += piece[: max(0, BLOCK + LARGEST - len(front))]
            if digest.hexdigest() != sha256:
                raise BundleError(path.name, f"it is not what was signed: its SHA-256 is {digest.hexdigest()[:12]}...")
            parts.append(_Part(path.name, stream, size))
        yield Parts(parts, _first_entry(front))


def _first_entry(front: bytearray) -> bytes:
    """What a bundle begins with: a header and its content, of which it tells the size."""
    block = bytes(front[:BLOCK])
    return bytes(front[: BLOCK + (size_in(block) or 0)]) if len(block) == BLOCK else block
