# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which a bundle's entries are written: plain files of root, read-only, without a time.

A reader knows from the manifest which entry comes next and what its header is, byte for byte. So headers are compared
and never trusted; `what_it_is` only finds words for one that differs. Any tar unpacks a bundle.
"""

from __future__ import annotations

from pathlib import PurePosixPath

BLOCK = 512
END = bytes(2 * BLOCK)
MAGIC = slice(257, 263)
_TYPE = 156
_SIZE = slice(124, 136)
_NAME = slice(0, 100)
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device node",
    b"4": "a device node",
    b"5": "a directory",
    b"6": "a named pipe",
}


def header(name: str, size: int) -> bytes:
    """The header of a plain file."""
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000444\0",
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % size,
        b"00000000000\0",
        b" " * 8,
        b"0",
        bytes(100),
        b"ustar\x0000",
        b"root".ljust(32, b"\0"),
        b"root".ljust(32, b"\0"),
        b"0000000\0",
        b"0000000\0",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[_TYPE:]


def padding(size: int) -> int:
    """How many zero bytes follow content of a size."""
    return -size % BLOCK


def size_in(block: bytes) -> int | None:
    """The size that a header tells; None where it tells none."""
    field = block[_SIZE]
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.rstrip(b"\0 ")
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else None


def what_it_is(block: bytes) -> str:
    """What a header that is not the expected one says, in a few words."""
    if len(block) < BLOCK or not any(block):
        return "the bundle ends"
    name = block[_NAME].rstrip(b"\0").decode(errors="replace")
    kind = _KINDS.get(block[_TYPE : _TYPE + 1])
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return f"{name!r} is there, which leads outside"
    return f"{name!r} is there, {kind or 'with another header'}"
