# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that a site hands back: a tar of plain files, compressed with gzip, its manifest first.

    support.json     format, application, site, time; path, size and SHA-256 of each file; what was left out, and why
    ...              the files, in the manifest's order

It comes on a medium from a place that nobody here watches, and is not signed. So it is read as a bundle is: each header
is compared with the one that the manifest expects, no more is unpacked than the manifest says, and nothing is written.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ._bundle_manifest import BundleError
from ._bundle_tar import BLOCK, END, header, padding, size_in, what_it_is
from ._bundle_trust import plain

FORMAT = 1
NAME = "support.json"
SUFFIX = ".support.tar.gz"
# Bytes of all files, and of the manifest; a path must fit into a header.
LARGEST, LARGEST_MANIFEST, LONGEST_PATH = 32_000_000, 500_000, 100
MOST_FILES = 500
_HEX = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"[A-Za-z0-9@_+~.,=-]+(?:/[A-Za-z0-9@_+~.,=-]+)*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_LONGEST_NAME, _LONGEST_REASON = 200, 500


@dataclass(frozen=True)
class Support:
    """What a site hands back.

    :param at: when it was collected.
    :param files: the content of each file by its path.
    :param left_out: why something is not among them, by its path.
    """

    application: str
    site: str
    at: str
    files: Mapping[str, bytes] = field(repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def manifest(self) -> bytes:
        """What the first entry says."""
        listed = [
            {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.files.items()
        ]
        told = {
            "format": FORMAT,
            "application": self.application,
            "site": self.site,
            "at": self.at,
            "files": listed,
            "left_out": dict(self.left_out),
        }
        return (json.dumps(told, indent=1) + "\n").encode()

    def packed(self) -> bytes:
        """The archive; the same content gives the same bytes."""
        archive = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=archive, mtime=0) as stream:
            for name, content in {NAME: self.manifest(), **self.files}.items():
                stream.write(header(name, len(content)) + content + bytes(padding(len(content))))
            stream.write(END)
        return archive.getvalue()


def fits(path: str) -> bool:
    """Whether an archive can hold a file under this path."""
    inside = _PATH.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))
    return inside and len(path) <= LONGEST_PATH and path != NAME


def read_archive(path: Path) -> Support:
    """Read an archive; BundleError says what is wrong with it."""
    with plain(path) as source:
        if os.fstat(source.fileno()).st_size > LARGEST:
            raise BundleError(path.name, f"it has more than {LARGEST} bytes")
        return unpacked(source, path.name)


def unpacked(source: IO[bytes], name: str) -> Support:
    """Read an archive from a stream; BundleError, which names the file `name`, says what is wrong with it."""
    archive = _Archive(source, name)
    size = size_in(archive.peek()) if len(archive.peek()) == BLOCK else None
    if size is None or size > LARGEST_MANIFEST:
        raise BundleError(name, f"it does not begin with {NAME}: {what_it_is(archive.peek())}")
    content = archive.entry(NAME, size)
    told = _manifest(content, name)
    found = {item["path"]: archive.entry(item["path"], item["size"]) for item in told["files"]}
    for item in told["files"]:
        if hashlib.sha256(found[item["path"]]).hexdigest() != item["sha256"]:
            raise BundleError(name, f"{item['path']} is not what {NAME} says: its SHA-256 is another")
    archive.ends()
    support = Support(told["application"], told["site"], told["at"], found, told["left_out"])
    if support.manifest() != content:
        raise BundleError(name, f"{NAME} is not written as Slipway writes it")
    return support


class _Archive:
    """An archive from its beginning to its end, never more of it than was asked for."""

    def __init__(self, source: IO[bytes], name: str) -> None:
        self._stream = gzip.GzipFile(fileobj=source, mode="rb")
        self._name = name
        self._next = self._take(BLOCK)

    def peek(self) -> bytes:
        """The header that comes next."""
        return self._next

    def entry(self, path: str, size: int) -> bytes:
        """The content of the file that must come next."""
        if self._next != header(path, size):
            raise BundleError(self._name, f"where {path} of {size} bytes is expected, {what_it_is(self._next)}")
        filled = padding(size)
        content = self._take(size + filled)
        if len(content) != size + filled:
            raise BundleError(self._name, f"it ends inside {path}")
        if content[size:] != bytes(filled):
            raise BundleError(self._name, f"something is hidden after {path}")
        self._next = self._take(BLOCK)
        return content[:size]

    def ends(self) -> None:
        """Refuse an archive that goes on, or ended too early."""
        if self._next + self._take(len(END) - BLOCK + 1) != END:
            raise BundleError(self._name, "it does not end where it should")

    def _take(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise BundleError(self._name, "it is no gzip file, or is damaged") from error


def _manifest(content: bytes, name: str) -> dict[str, Any]:
    """The manifest, when each value is what it should be."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(name, f"{NAME} is not JSON") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise BundleError(name, f"{NAME} is not of format {FORMAT}, which this version reads")
    files, left_out = told.get("files"), told.get("left_out")
    plain_texts = all(_is_text(told.get(key), _LONGEST_NAME) for key in ("application", "site"))
    if not plain_texts or not isinstance(told.get("at"), str) or not _TIME.fullmatch(told["at"]):
        raise BundleError(name, f"{NAME} does not say which site it is about, and of when")
    if not isinstance(left_out, dict) or not all(
        _is_text(path, _LONGEST_NAME) and _is_text(reason, _LONGEST_REASON) for path, reason in left_out.items()
    ):
        raise BundleError(name, f"{NAME} does not say what was left out")
    if not isinstance(files, list) or not 0 < len(files) <= MOST_FILES:
        raise BundleError(name, f"{NAME} does not list from 1 to {MOST_FILES} files")
    total = sum(_checked(item, name) for item in files)
    if total > LARGEST:
        raise BundleError(name, f"it unpacks to {total} bytes, more than {LARGEST}")
    if len({item["path"] for item in files}) != len(files):
        raise BundleError(name, f"{NAME} lists a file twice")
    return told


def _checked(item: object, name: str) -> int:
    """The size of a file, when all that the manifest says of it is what it should be."""
    if not isinstance(item, dict) or not isinstance(item.get("path"), str):
        raise BundleError(name, f"{NAME} lists something that is no file")
    path, size, digest = item["path"], item.get("size"), item.get("sha256")
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise BundleError(name, f"{path[:LONGEST_PATH]!r} leads outside")
    if not fits(path):
        raise BundleError(name, f"{path[:LONGEST_PATH]!r} is not the plain path of a file")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST:
        raise BundleError(name, f"the size of {path} is no number from 0 to {LARGEST}")
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        raise BundleError(name, f"{NAME} has no SHA-256 of {path}")
    return size


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()
