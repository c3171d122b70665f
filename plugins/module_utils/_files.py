# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: replaced whole, read back or said to be damaged, and opened only where they are what they seem to be."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Callable, TypeVar

from ._errors import SlipwayError

# Bytes of a file with one entry on each line that are read at most.
LONGEST_FILE = 8_000_000
# Bytes of a file of somebody's that root reads at most.
LARGEST_INSIDE = 1_000_000

_PARTIAL = ".partial"

_Record = TypeVar("_Record")


class NotPlainError(OSError):
    """What was to be opened is a link, a directory, a device, a pipe or a socket."""


def write_file(path: Path, content: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` so that a crash at any moment leaves the old content or the new, never a mixture.

    Others may write in the directory too: what is written has a name that nobody can know before, and is closed to all
    until it is whole. What a write that was killed left is removed by the next one.
    """
    partial = None
    try:
        descriptor, partial = _begin(path)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            # as long as it is open nobody else removes it
            partial.replace(path)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    _remove_leftovers(path)
    sync_directory(path.parent)


def _begin(path: Path) -> tuple[int, Path]:
    """Make a new file beside `path` and lock it: what is not locked was left by a write that was killed."""
    while True:
        descriptor, name = tempfile.mkstemp(_PARTIAL, f".{path.name}.", path.parent)
        # where files cannot be locked, nobody takes one for a leftover
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        # another write was faster than the lock, and removed it
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed writes of a file left; another write of it may be at work."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'?' * 8}{_PARTIAL}"):
        with suppress(OSError), open_plain(left) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def sync_directory(path: Path) -> None:
    """Make renames inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Replace a file by a record, as JSON."""
    write_file(path, (json.dumps(record, indent=1) + "\n").encode())


def read_record(
    path: Path, build: Callable[[dict[str, Any]], _Record], mend: str = "restore it from a copy"
) -> _Record | None:
    """What `build` makes of the record in a file; None where there is no file.

    :param mend: what to do about a file that is damaged.
    :raises SlipwayError: it is damaged: no JSON, or no such record.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        if isinstance(record, dict):
            return build(record)
        reason = "it holds no record"
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    raise SlipwayError(f"{path} is damaged ({reason}): {mend}")


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a file with one on each line, oldest first; of a long one the newest."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - LONGEST_FILE))
            yield from filter(None, (entry_of(line.decode(errors="replace")) for line in stream))
    except FileNotFoundError:
        return


def entry_of(text: str) -> dict[str, Any] | None:
    """The mapping that a text is as JSON; None where it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def open_plain(path: Path, within: int | None = None) -> IO[bytes]:
    """Open a plain file, and nothing that would lead elsewhere, never end or be switched on by being opened.

    :param within: the descriptor of the directory that `path` is below.
    :raises NotPlainError: it is no plain file.
    """
    _refuse_special(path, os.stat(path, dir_fd=within, follow_symlinks=False))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
    try:
        # another may be there by now
        _refuse_special(path, os.fstat(descriptor))
    except NotPlainError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb", buffering=0)


def _refuse_special(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotPlainError(errno.EINVAL, "it is not a plain file", str(path))


def open_below(directory: Path, path: str) -> IO[bytes]:
    """Open a plain file below a directory in which others may write: no part of `path` may be a link."""
    *places, name = path.split("/")
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place in places:
            outer = descriptor
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=outer)
            os.close(outer)
        return open_plain(Path(name), descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: str | Path, flags: int, within: int | None = None) -> Iterator[int]:
    """The descriptor of a file or directory that is no link; `within` is that of the directory it is in."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_inside(directory: Path, name: str) -> bytes | None:
    """What a plain file holds that lies inside a directory of somebody's; None where there is none.

    Whoever may write there must not have root read what lies elsewhere. A directory on the way may be a link that
    stays inside, or that leads where root alone may write.

    :raises SlipwayError: it is no plain file or too large, or lies outside.
    """
    path, root = directory / name, Path(os.path.realpath(directory))
    try:
        with opened(os.path.realpath(path.parent), os.O_RDONLY | os.O_DIRECTORY) as parent:
            # where it really is, whatever bears its name meanwhile
            place = Path(f"/proc/self/fd/{parent}").readlink()
            status = os.fstat(parent)
            only_root_s = status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if root not in (place, *place.parents) and not only_root_s:
                raise SlipwayError(f"{path} lies in {place}, outside {directory}: put it inside")
            with open_plain(Path(path.name), parent) as stream:
                content = stream.read(LARGEST_INSIDE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotPlainError as error:
        raise SlipwayError(f"{path} is a link or no regular file: put a regular file in its place") from error
    except OSError as error:
        raise SlipwayError(f"{path} cannot be read ({error.strerror}): see who may, and what leads there") from error
    if len(content) > LARGEST_INSIDE:
        raise SlipwayError(f"{path} is larger than {LARGEST_INSIDE // 1_000_000} MB: put a smaller one in its place")
    return content
