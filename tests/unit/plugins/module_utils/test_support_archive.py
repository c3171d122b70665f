"""A support archive comes from anywhere: a good one is read, anything else refused in one line."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError
from ansible_collections.slipway.release.plugins.module_utils._bundle_tar import BLOCK, END, header, padding
from ansible_collections.slipway.release.plugins.module_utils._support_archive import (
    LARGEST,
    NAME,
    Support,
    fits,
    read_archive,
    unpacked,
)
from hypothesis import given
from hypothesis import strategies as st

FILES = {"versions.json": b"{}\n", "runs/20261123T081500Z-deploy.json": b"x" * 700, "journal.jsonl": b""}
GOOD = Support("swarm", "customer-a", "2026-11-24T19:00:00Z", FILES, {"logs.json": "Docker does not answer"})


def test_what_was_packed_is_read_and_any_tar_unpacks_it(tmp_path: Path) -> None:
    path = tmp_path / "customer-a.support.tar.gz"
    path.write_bytes(GOOD.packed())
    assert read_archive(path) == GOOD
    assert GOOD.packed() == GOOD.packed()
    subprocess.run(["tar", "-xzf", path, "-C", tmp_path], check=True)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


def entry(name: str, content: bytes, head: bytes | None = None) -> bytes:
    return (head or header(name, len(content))) + content + bytes(padding(len(content)))


def written(manifest: bytes, *entries: bytes, end: bytes = END) -> bytes:
    return gzip.compress(entry(NAME, manifest) + b"".join(entries) + end, mtime=0)


def manifest(**changes: Any) -> bytes:  # noqa: ANN401 plain data
    return (json.dumps({**json.loads(GOOD.manifest()), **changes}, indent=1) + "\n").encode()


def listed(**changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401 plain data
    first, *others = json.loads(GOOD.manifest())["files"]
    return [{**first, **changes}, *others]


ENTRIES = [entry(name, content) for name, content in FILES.items()]


def special(kind: bytes) -> bytes:
    info = tarfile.TarInfo("versions.json")
    info.type, info.linkname = kind, "/etc/passwd"
    return info.tobuf(tarfile.USTAR_FORMAT)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "it does not begin with support.json: the bundle ends"),
    "no gzip": (lambda: b"no archive at all" * 100, "it is no gzip file, or is damaged"),
    "cut short": (lambda: GOOD.packed()[:-40], "it is no gzip file, or is damaged"),
    "a flipped bit": (lambda: bytes([*GOOD.packed()[:-6], GOOD.packed()[-6] ^ 1, *GOOD.packed()[-5:]]), "damaged"),
    "another tar": (lambda: gzip.compress(entry("versions.json", b"{}") + END), "'versions.json' is there"),
    "no manifest": (lambda: written(b"[]"), "is not of format 1"),
    "no JSON": (lambda: written(b"[" * 90_000), "is not JSON"),
    "a manifest that is too large": (
        lambda: gzip.compress(header(NAME, 10**9)),
        "it does not begin with support.json",
    ),
    "a size below nothing": (lambda: gzip.compress(header(NAME, -512)), "it does not begin with support.json"),
    "another format": (lambda: written(manifest(format=2), *ENTRIES), "is not of format 1"),
    "no site": (lambda: written(manifest(site=""), *ENTRIES), "does not say which site"),
    "a site that is no line": (lambda: written(manifest(site="a\nb"), *ENTRIES), "does not say which site"),
    "no time": (lambda: written(manifest(at="now"), *ENTRIES), "does not say which site"),
    "no reason": (lambda: written(manifest(left_out={"logs.json": 1}), *ENTRIES), "what was left out"),
    "no file": (lambda: written(manifest(files=[])), "does not list from 1 to 500 files"),
    "too many files": (lambda: written(manifest(files=listed() * 200)), "does not list from 1 to 500 files"),
    "an absolute path": (lambda: written(manifest(files=listed(path="/etc/passwd"))), "'/etc/passwd' leads outside"),
    "traversal": (lambda: written(manifest(files=listed(path="runs/../../x"))), "'runs/../../x' leads outside"),
    "a path that is none": (lambda: written(manifest(files=listed(path="runs//x"))), "is not the plain path"),
    "a long path": (lambda: written(manifest(files=listed(path="x" * 101))), "is not the plain path"),
    "twice": (lambda: written(manifest(files=[*listed(), *listed()])), "lists a file twice"),
    "no size": (lambda: written(manifest(files=listed(size=-1))), "is no number from 0"),
    "too large": (lambda: written(manifest(files=listed(size=LARGEST))), f"more than {LARGEST}"),
    "no digest": (lambda: written(manifest(files=listed(sha256="x"))), "has no SHA-256 of versions.json"),
    "another content": (lambda: written(manifest(), entry("versions.json", b"[]\n"), *ENTRIES[1:]), "SHA-256"),
    "another size": (lambda: written(manifest(), entry("versions.json", b"[] \n")), "with another header"),
    "a bomb": (lambda: written(manifest(), entry("versions.json", bytes(LARGEST))), "with another header"),
    "a symbolic link": (lambda: written(manifest(), special(tarfile.SYMTYPE)), "a symbolic link"),
    "a hard link": (lambda: written(manifest(), special(tarfile.LNKTYPE)), "a hard link"),
    "a device": (lambda: written(manifest(), special(tarfile.CHRTYPE)), "a device node"),
    "a pipe": (lambda: written(manifest(), special(tarfile.FIFOTYPE)), "a named pipe"),
    "another entry": (lambda: written(manifest(), entry("../../x", b"{}\n")), "leads outside"),
    "a missing entry": (lambda: written(manifest(), *ENTRIES[:-1]), "the bundle ends"),
    "one that ends inside": (
        lambda: written(manifest(), ENTRIES[0], ENTRIES[1][: BLOCK + 9], end=b""),
        "it ends inside runs/20261123T081500Z-deploy.json",
    ),
    "something hidden": (
        lambda: written(manifest(), ENTRIES[0][:-1] + b"x", *ENTRIES[1:]),
        "something is hidden after versions.json",
    ),
    "something after the end": (lambda: written(manifest(), *ENTRIES, end=END + b"x"), "does not end where it should"),
    "no end": (lambda: written(manifest(), *ENTRIES, end=END[:BLOCK]), "does not end where it should"),
    "a second gzip": (lambda: GOOD.packed() * 2, "does not end where it should"),
    "another key": (lambda: written(manifest(more=1), *ENTRIES), "is not written as Slipway writes it"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_refused(name: str) -> None:
    content, reason = BAD[name]
    with pytest.raises(BundleError) as refused:
        unpacked(io.BytesIO(content()), "a.support.tar.gz")
    assert str(refused.value).startswith("a.support.tar.gz: ")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(GOOD.packed())
    (tmp_path / "link").symlink_to("there")
    for name, reason in (("link", "a symbolic link"), ("missing", "missing"), (".", "not a plain file")):
        with pytest.raises(BundleError, match=reason):
            read_archive(tmp_path / name)
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(LARGEST + 1)
    with pytest.raises(BundleError, match=f"more than {LARGEST} bytes"):
        read_archive(tmp_path / "large")


@given(st.binary(max_size=300), st.integers(0, 6000), st.booleans())
def test_whatever_stands_in_it_it_is_read_as_it_was_or_refused(noise: bytes, place: int, inside: bool) -> None:
    content = gzip.decompress(GOOD.packed()) if inside else GOOD.packed()
    content = content[:place] + noise + content[place + len(noise) :]
    found = GOOD
    with suppress(BundleError):
        found = unpacked(io.BytesIO(gzip.compress(content, mtime=0) if inside else content), "archive")
    assert found == GOOD


@pytest.mark.parametrize("path", ["", "/x", "../x", "a/../x", "a//x", "a/", ".", "a b", "ä", "x" * 101, NAME])
def test_what_cannot_be_a_path_is_known_before(path: str) -> None:
    assert not fits(path)
