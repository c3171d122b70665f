# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers as differences to layers that a site has: which ranges are copied, and what is new.

A layer is a tar. A rebuilt one holds mostly the same files under new times, so it is cut where its files begin and end:
headers apart from content. Content over 64 KiB is cut further where its own bytes say so, so that an insertion moves no
later cut: by a gear hash, with the skipping and the two masks of FastCDC (Xia et al., "FastCDC: a Fast and Efficient
Content-Defined Chunking Approach for Data Deduplication", USENIX ATC 2016).

A recipe is text, a line for each range: `c SOURCE SKIP LENGTH` copies from SKIP bytes after where the last copy from
that source ended; `l LENGTH` takes the next literal bytes. Whoever applies it compares the SHA-256 of the whole with
the layer's diff id, so that neither recipe nor base has to be trusted.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Iterator, Sequence
from typing import IO, Callable

from ._bundle_manifest import BundleError, Patch
from ._bundle_tar import BLOCK, MAGIC, padding, size_in
from ._stored import CHUNK

SMALLEST = 16 << 10
NORMAL = 64 << 10
LARGEST = 256 << 10
MOST_CHUNKS = 1_000_000  # about 180 MB of memory; what is over it is sent whole
_SURE = 16  # bytes of a SHA-256 that tell chunks apart; the layer's own tells the rest
_WORD = (1 << 64) - 1
# 18 and 14 bits: hard to meet before NORMAL, easy after it
_STRICT = 0x0003FFFF << 46
_EASY = 0x00003FFF << 50
_LONGEST_LINE = 64
_COPY = re.compile(rb"c (\d{1,6}) (-?\d{1,12}) (\d{1,12})\n")
_LITERAL = re.compile(rb"l (\d{1,12})\n")


def _gear() -> tuple[int, ...]:
    """A random word for each byte, always the same ones."""
    source = random.Random("slipway")  # noqa: S311 - nothing is secret about it
    return tuple(source.getrandbits(64) for _ in range(256))


_GEAR = _gear()


def cut(data: bytes) -> int:
    """Where the first chunk of `data` ends, which holds LARGEST bytes or all that is left."""
    end = min(len(data), LARGEST)
    if end <= SMALLEST:
        return end
    gear, value = _GEAR, 0
    middle = min(end, NORMAL)
    for mask, begin, stop in ((_STRICT, SMALLEST, middle), (_EASY, middle, end)):
        for at in range(begin, stop):
            value = ((value << 1) + gear[data[at]]) & _WORD
            if not value & mask:
                return at + 1
    return end


class _Source:
    """Pieces of a stream, of exactly the sizes asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end, which stay."""
        while len(self._held) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._held += piece
        return bytes(self._held[:size])

    def take(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        taken = self.peek(size)
        del self._held[: len(taken)]
        return taken


def chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a layer: each header, and what each file holds with what fills its last block."""
    source = _Source(pieces)
    while block := source.take(BLOCK):
        yield block
        size = size_in(block) if block[MAGIC].startswith(b"ustar") else None
        if size is None:
            # the end of the tar, or no tar at all
            yield from _content(source, None)
        else:
            yield from _content(source, size + padding(size))


def _content(source: _Source, left: int | None) -> Iterator[bytes]:
    """Cut content of a size; all that is left when it is None."""
    while left is None or left > 0:
        wanted = LARGEST if left is None else min(left, LARGEST)
        data = source.peek(wanted)
        if not data:
            return
        end = len(data) if left is not None and left <= NORMAL else cut(data)
        yield source.take(end)
        if left is not None:
            left -= end


def _name(chunk: bytes) -> bytes:
    return hashlib.sha256(chunk).digest()[:_SURE]


class Known:
    """The chunks of layers that a site has."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self._places: dict[bytes, tuple[int, int]] = {}

    def add(self, layer: str, pieces: Iterator[bytes]) -> None:
        """Add a layer's chunks."""
        number, offset = len(self.sources), 0
        self.sources.append(layer)
        for chunk in chunks(pieces):
            if len(self._places) < MOST_CHUNKS:
                self._places.setdefault(_name(chunk), (number, offset))
            offset += len(chunk)

    def find(self, chunk: bytes) -> tuple[int, int] | None:
        """Where a chunk lies: a layer's number and an offset."""
        return self._places.get(_name(chunk))


class _Recipe:
    """Writes a recipe; ranges that follow each other become one."""

    def __init__(self, write: Callable[[bytes], object], sources: int) -> None:
        self._write = write
        self._ends = [0] * sources
        self._open: tuple[int | None, int, int] | None = None

    def add(self, place: tuple[int, int] | None, length: int) -> None:
        """Add a range that is copied from a place, or that is new."""
        number, offset = place or (None, 0)
        if self._open is not None:
            current, begin, size = self._open
            if current == number and (number is None or begin + size == offset):
                self._open = (number, begin, size + length)
                return
            self.flush()
        self._open = (number, offset, length)

    def flush(self) -> None:
        """Write the range that is still open."""
        if self._open is None:
            return
        number, offset, length = self._open
        if number is None:
            self._write(b"l %d\n" % length)
        else:
            self._write(b"c %d %d %d\n" % (number, offset - self._ends[number], length))
            self._ends[number] = offset + length
        self._open = None


def write_patch(
    known: Known, pieces: Iterator[bytes], recipe: Callable[[bytes], object], literals: Callable[[bytes], object]
) -> None:
    """Write how a layer is made from known ones: the recipe, and the bytes that none of them has."""
    lines = _Recipe(recipe, len(known.sources))
    for chunk in chunks(pieces):
        place = known.find(chunk)
        lines.add(place, len(chunk))
        if place is None:
            literals(chunk)
    lines.flush()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(held) > _LONGEST_LINE:
            break
    if held:
        yield held


def apply_patch(
    patch: Patch, recipe: Iterator[bytes], literals: Iterator[bytes], sources: Sequence[IO[bytes]]
) -> Iterator[bytes]:
    """Yield a layer made of a recipe; BundleError, at its end at the latest, when it is not the layer that is meant.

    :param sources: the patch's sources as open files.
    """
    file = f"layer {patch.layer[:12]}"
    digest, left = hashlib.sha256(), patch.size
    ends = [0] * len(sources)
    new = _Source(literals)
    for line in _lines(recipe):
        copy, literal = _COPY.fullmatch(line), _LITERAL.fullmatch(line)
        length = int(copy[3]) if copy else int(literal[1]) if literal else -1
        if not 0 < length <= left:
            raise BundleError(file, f"its recipe has a line that is none: {line[:40]!r}")
        left -= length
        number = 0
        if copy:
            number = int(copy[1])
            offset = ends[number] + int(copy[2]) if number < len(sources) else -1
            if offset < 0:
                raise BundleError(file, f"its recipe copies from nowhere: {line[:40]!r}")
            ends[number] = offset + length
        while length:
            size = min(length, CHUNK)
            piece = os.pread(sources[number].fileno(), size, ends[number] - length) if copy else new.take(size)
            if not piece:
                raise BundleError(file, "its recipe asks for more bytes than there are")
            digest.update(piece)
            length -= len(piece)
            yield piece
    if left or new.take(1) or digest.hexdigest() != patch.layer:
        raise BundleError(file, "what its recipe makes is not the layer that is meant: the base is another, or damaged")
