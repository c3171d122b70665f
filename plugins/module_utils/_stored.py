# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a backup: written once, hashed on the way, durable, and readable by root alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ._errors import CommandError, SlipwayError, tail
from ._files import sync_directory

CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """One file: its size in bytes and its SHA-256."""

    size: int
    sha256: str


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return digest_of(stream)


def digest_of(stream: IO[bytes]) -> str:
    """The SHA-256 of all that is left of a stream."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def store(stream: IO[bytes], path: Path) -> StoredFile:
    """Write all of `stream` to a new file, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "wb") as target:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(descriptor)
    return StoredFile(size, digest.hexdigest())


def make_durable(path: Path) -> StoredFile:
    """Make a file durable that another program wrote; SlipwayError where it is no plain file."""
    if path.is_symlink() or not path.is_file():
        raise SlipwayError(f"{path} is no plain file: a dump has none such")
    with path.open("rb") as stream:
        digest = digest_of(stream)
        os.fsync(stream.fileno())
        return StoredFile(stream.tell(), digest)


def receive(stream: IO[bytes], directory: Path) -> dict[str, StoredFile]:
    """Write the plain files of a tar stream into `directory`, by name; a name with a directory in it is refused."""
    files: dict[str, StoredFile] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                continue
            if "/" in name or name.startswith("."):
                raise SlipwayError(f"the database container sent a file named {name!r}: a dump has none such")
            files[name] = store(content, directory / name)
    return files


def send(directory: Path, stream: IO[bytes], prefix: str = "") -> None:
    """Write the files of `directory` as one tar into `stream`, and close it.

    A reader that stops early is no error here: why it did is in its exit code and message.
    """
    try:
        with stream, tarfile.open(fileobj=stream, mode="w|") as archive:
            for path in sorted(directory.iterdir()):
                archive.add(path, arcname=f"{prefix}{path.name}")
    except BrokenPipeError:
        pass


def make_directory(path: Path) -> Path:
    """Make a directory, and those above it, that root alone may enter; one that is there keeps its mode."""
    if not path.exists():
        make_directory(path.parent)
        path.mkdir(mode=0o700)
    return path


def sync_tree(directory: Path) -> None:
    """Make the names inside `directory` and below it durable."""
    for path in [*(item for item in directory.rglob("*") if item.is_dir()), directory]:
        sync_directory(path)


def total(files: Mapping[str, StoredFile]) -> int:
    """The size in bytes of files together."""
    return sum(item.size for item in files.values())


def piped(stream: IO[bytes] | None) -> IO[bytes]:
    """One end of a pipe that a command was started with."""
    if stream is None:
        raise SlipwayError("the command was started without a pipe")
    return stream


def close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes to a command; what was not sent yet is dropped."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


def finish(process: subprocess.Popen[bytes], errors: IO[bytes], argv: list[str], good: tuple[int, ...] = (0,)) -> str:
    """Wait for a command; returns its messages, CommandError when it failed."""
    code = process.wait()
    close(process)
    errors.seek(0)
    messages = errors.read().decode(errors="replace")
    if code not in good:
        raise CommandError(argv, code, tail(messages))
    return messages
