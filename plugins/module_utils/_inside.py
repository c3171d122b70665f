# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in a directory that is not root's: whoever may write there must not have root read what lies elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._errors import SlipwayError

SIZE_LIMIT = 1_000_000  # bytes


@contextmanager
def opened(path: str | Path, flags: int, directory: int | None = None) -> Iterator[int]:
    """A file or directory that is no link, open; `directory` is an open one that a relative `path` is in."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_inside(directory: Path, name: str) -> bytes | None:
    """What a file inside a directory holds; None where there is none.

    :raises SlipwayError: it is no regular file or too large, or a directory on the way is a link that leads outside.
    """
    path, root = directory / name, Path(os.path.realpath(directory))
    try:
        with opened(os.path.realpath(path.parent), os.O_RDONLY | os.O_DIRECTORY) as parent:
            # where it really is, whatever bears its name meanwhile
            place = Path(f"/proc/self/fd/{parent}").readlink()
            if root not in (place, *place.parents):
                raise SlipwayError(f"{path} lies in {place}, outside {directory}: put it inside")
            with opened(path.name, os.O_RDONLY | os.O_NONBLOCK, parent) as file:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise _no_file(path)
                with os.fdopen(file, "rb", closefd=False) as stream:
                    content = stream.read(SIZE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # a link, and a socket
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise _no_file(path) from error
        raise
    if len(content) > SIZE_LIMIT:
        raise SlipwayError(f"{path} is larger than {SIZE_LIMIT // 1_000_000} MB: put a smaller one in its place")
    return content


def _no_file(path: Path) -> SlipwayError:
    return SlipwayError(f"{path} is a link or no regular file: put a regular file in its place")
