"""A bundle is sent piece by piece: only what is not there, with a line for each piece, and the sums last."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError
from ansible_collections.slipway.release.plugins.module_utils._bundle_receive import receive, survey, wanted_of
from ansible_collections.slipway.release.plugins.plugin_utils._bundle_sender import (
    File,
    Sender,
    files_of,
    told_ahead,
)

PARTS = {"swarm.001": b"a" * 1000, "swarm.002": b"b" * 250}
NAMES = [*PARTS, "swarm.sums.sig", "swarm.sums"]


class LostError(Exception):
    pass


class Site:
    """A bundle on one side, an empty host on the other."""

    def __init__(self, root: Path) -> None:
        self.here, self.there = root / "here", root / "there"
        self.here.mkdir()
        sums = "".join(f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in PARTS.items())
        for name, text in {**PARTS, "swarm.sums": sums.encode(), "swarm.sums.sig": b"signed"}.items():
            (self.here / name).write_bytes(text)
        self.lines: list[str] = []
        self.pieces: list[tuple[str, int, int]] = []
        self.pieces_until_lost = 1000

    @property
    def files(self) -> list[File]:
        return files_of(self.here / "swarm.sums")

    def put(self, file: File, at: int, piece: Path) -> int:
        if not self.pieces_until_lost:
            raise LostError
        self.pieces_until_lost -= 1
        self.pieces.append((file.path.name, at, piece.stat().st_size))
        return receive(self.there, wanted_of(file.told), at, piece)

    def copy(self) -> list[str]:
        self.sender = Sender(self.put, self.lines.append, 400)
        return self.sender.send(self.files, survey(self.there, [wanted_of(file.told) for file in self.files], 400))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_all_of_it_arrives_the_sums_last_and_each_piece_is_told(site: Site) -> None:
    assert site.copy() == NAMES
    assert {path.name: path.read_bytes() for path in site.there.iterdir()} == {
        path.name: path.read_bytes() for path in site.here.iterdir()
    }
    assert [item[:2] for item in site.pieces][:4] == [
        ("swarm.001", 0),
        ("swarm.001", 400),
        ("swarm.001", 800),
        ("swarm.002", 0),
    ]
    assert site.pieces[2] == ("swarm.001", 800, 200)
    assert site.lines[:4] == [
        "swarm.001 (1 of 4): 40 %, 0 of 0 MB",
        "swarm.001 (1 of 4): 80 %, 0 of 0 MB",
        "swarm.001 (1 of 4): 100 %, 0 of 0 MB",
        "swarm.002 (2 of 4): 100 %, 0 of 0 MB",
    ]


def test_nothing_is_sent_twice(site: Site) -> None:
    site.copy()
    site.pieces.clear()
    site.lines.clear()
    assert site.copy() == []
    assert site.pieces == []
    assert site.lines == [f"{name} ({number} of 4): is there" for number, name in enumerate(NAMES, 1)]


def test_after_a_lost_connection_it_goes_on_where_it_stopped(site: Site) -> None:
    site.pieces_until_lost = 2
    with pytest.raises(LostError):
        site.copy()
    assert site.sender.at == ("swarm.001", 800, 1000)
    assert not (site.there / "swarm.sums").exists()
    site.pieces.clear()
    site.pieces_until_lost = 1000
    assert site.copy() == NAMES
    assert site.pieces[0] == ("swarm.001", 800, 200)


def test_a_bundle_on_several_media_is_taken_medium_by_medium(site: Site) -> None:
    second = (site.here / "swarm.002").rename(site.here.parent / "swarm.002")
    with pytest.raises(
        BundleError, match=r"swarm.002: it is neither here nor on the host: bring the medium that has it"
    ):
        site.copy()
    assert [path.name for path in site.there.iterdir()] == ["swarm.001"]
    second.rename(site.here / "swarm.002")
    (site.here / "swarm.001").unlink()
    assert site.copy() == NAMES[1:]


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("swarm.sums", b"x\n", r"swarm.sums: line 1 is not the sum of swarm.001"),
        ("swarm.sums", b"", r"swarm.sums: it is empty, or far too large"),
        ("swarm.sums.sig", None, r"swarm.sums.sig: it is missing"),
        ("swarm.001", b"", r"swarm.001: it is empty"),
    ],
)
def test_what_is_no_bundle_is_refused_before_anything_is_sent(
    site: Site, name: str, content: bytes | None, reason: str
) -> None:
    path = site.here / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(BundleError, match=reason):
        site.copy()
    assert not site.there.exists()


def test_a_signature_that_is_no_text_is_refused(site: Site) -> None:
    (site.here / "swarm.sums.sig").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match=r"swarm.sums.sig: it is no signature"):
        told_ahead(site.files, {})
