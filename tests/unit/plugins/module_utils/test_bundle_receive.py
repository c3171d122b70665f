"""What is copied to a site is whole or goes on where it stopped; nothing that is damaged gets its name."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError
from ansible_collections.slipway.release.plugins.module_utils._bundle_receive import Wanted, receive, survey
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError

pytestmark = pytest.mark.promise("X4")

CONTENT = bytes(range(256)) * 4
PART = Wanted("swarm.001", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "incoming" / "swarm"


def put(place: Path, offset: int, content: bytes, wanted: Wanted = PART) -> int:
    piece = place.parent.parent / "piece"
    piece.write_bytes(content)
    return receive(place, wanted, offset, piece)


def begun(place: Path) -> int | None:
    return survey(place, [PART], 10)[PART.name]


def test_a_copy_goes_on_where_it_stopped_and_is_whole_at_its_end(place: Path) -> None:
    assert begun(place) == 0
    assert not place.exists()
    assert put(place, 0, CONTENT[:300]) == 300
    assert not (place / PART.name).exists()
    assert begun(place) == 300
    assert put(place, 300, CONTENT[300:]) == len(CONTENT)
    assert (place / PART.name).read_bytes() == CONTENT
    assert begun(place) is None
    assert [path.name for path in place.iterdir()] == [PART.name]
    assert place.stat().st_mode & 0o777 == 0o700


def test_what_was_damaged_on_its_way_is_copied_anew(place: Path) -> None:
    put(place, 0, bytes(300))
    with pytest.raises(BundleError, match=r"swarm.001: it is not what the sums say"):
        put(place, 300, CONTENT[300:])
    assert list(place.iterdir()) == []
    assert begun(place) == 0


@pytest.mark.parametrize("spoil", ["longer", "shorter", "changed", "link"])
def test_a_file_that_is_not_the_one_does_not_count_and_is_replaced(place: Path, spoil: str) -> None:
    place.mkdir(parents=True)
    path = place / PART.name
    other = {"longer": CONTENT + b"x", "shorter": CONTENT[:-1], "changed": CONTENT[:-1] + b"x", "link": CONTENT}[spoil]
    (place / "other" if spoil == "link" else path).write_bytes(other)
    if spoil == "link":
        path.symlink_to("other")
    assert begun(place) == 0
    put(place, 0, CONTENT)
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()


def test_one_that_came_to_its_end_unverified_begins_anew(place: Path) -> None:
    place.mkdir(parents=True)
    (place / PART.partial).write_bytes(CONTENT)
    assert begun(place) == 0
    assert put(place, 0, CONTENT) == len(CONTENT)


def test_the_beginning_of_another_bundle_of_the_same_name_does_not_count(place: Path) -> None:
    put(place, 0, b"of another", Wanted(PART.name, "f" * 64, 9000))
    assert begun(place) == 0
    put(place, 0, CONTENT)
    assert [path.name for path in place.iterdir()] == [PART.name]


def test_two_copies_do_not_mix(place: Path) -> None:
    put(place, 0, CONTENT[:300])
    with pytest.raises(SlipwayError, match="was at work: run it again, it goes on where that stopped"):
        put(place, 200, CONTENT[200:])
    with (place / PART.partial).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SlipwayError, match=r"another copy of swarm.001 is at work"):
            put(place, 300, CONTENT[300:])
    assert begun(place) == 300


def test_one_of_another_medium_is_known_when_it_is_there(place: Path) -> None:
    unknown = Wanted(PART.name, PART.sha256, None)
    assert survey(place, [unknown], 10) == {PART.name: 0}
    put(place, 0, CONTENT)
    assert survey(place, [unknown], 10) == {PART.name: None}


def test_room_is_looked_for_first_and_what_is_there_needs_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place, 0, CONTENT[:300])
    needed = len(CONTENT) - 300 + 10
    free = SimpleNamespace(free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: free)
    assert begun(place) == 300
    free.free -= 1
    with pytest.raises(SlipwayError, match="has no room for the bundle: make 1 MB more free"):
        begun(place)
    free.free = needed
    put(place, 300, CONTENT[300:])
    free.free = 0
    assert begun(place) is None
