# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression, through the command line of zstd: hosts' Python has no library for it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Callable

from ._errors import SlipwayError
from ._stored import CHUNK, finish, piped

if TYPE_CHECKING:
    from ._process import Runner

# One thread and one level: with the same zstd, the same bytes.
COMPRESS = ("--single-thread", "--no-check", "--quiet", "--stdout")
LEVEL = 22
# It looks back 32 MB; what asks for more memory is no bundle's.
WINDOW = "--long=25"
# Above 19 zstd would take up to a gigabyte for its tables: they stay as small as the window lets them, 180 MB in all.
LAST_SMALL, TABLES = 19, ("--ultra", "--zstd=clog=25,hlog=20")
DECOMPRESS = ("--decompress", "--memory=32MB", "--quiet", "--stdout")


class TooLargeError(SlipwayError):
    """Compressed content that is larger than it was said to be."""


@contextmanager
def _running(runner: Runner, argv: list[str], content: Iterator[bytes]) -> Iterator[IO[bytes]]:
    """What a command makes of `content`; CommandError when it fails, the content's own error when that failed."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = runner.stream(argv, errors)
        except FileNotFoundError as error:
            raise SlipwayError(f"{argv[0]} is not on this machine: install zstd") from error
        wrong: list[Exception] = []

        def feed() -> None:
            try:
                with piped(process.stdin) as target:
                    for piece in content:
                        target.write(piece)
            except BrokenPipeError:
                return  # why it stopped reading is in its exit code and message
            except (SlipwayError, OSError) as error:
                wrong.append(error)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield piped(process.stdout)
        except BaseException:
            process.kill()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
            feeder.join()
            if wrong:
                process.kill()
            process.wait()
        if wrong:
            raise wrong[0]
        finish(process, errors, argv)


def compressed(runner: Runner, content: Iterator[bytes], write: Callable[[bytes], object], level: int = LEVEL) -> None:
    """Hand `content` compressed to `write`, piece by piece."""
    tables = TABLES if level > LAST_SMALL else ()
    with _running(runner, ["zstd", f"-{level}", WINDOW, *tables, *COMPRESS], content) as stream:
        while piece := stream.read(CHUNK):
            write(piece)


def decompressed(runner: Runner, program: str, content: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield what compressed `content` holds; TooLargeError as soon as that is more than `size` bytes."""
    left = size
    with _running(runner, [program, *DECOMPRESS], content) as stream:
        while piece := stream.read(CHUNK):
            left -= len(piece)
            if left < 0:
                raise TooLargeError(f"it unpacks to more than the {size} bytes that the manifest says")
            yield piece
