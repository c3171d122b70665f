"""Files that are written, and opened, in directories in which others may write too."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _files
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._files import (
    LARGEST_INSIDE,
    NotPlainError,
    entries,
    open_below,
    open_plain,
    read_inside,
    write_file,
)

SECRET = b"KEY=canary-4711-secret\n"
# A pipe without a writer would be waited for.
SOON = pytest.mark.timeout(20)


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_file(path, b"new", mode=0o640, owner=(os.geteuid(), os.getegid()))
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_for_which_there_is_no_room_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_file(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_no_file_can_be_made_the_one_that_was_wanted_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_file(tmp_path / "no" / "file", b"new")
    assert caught.value.filename == str(tmp_path / "no" / "file")


def a_link(place: Path, to: Path) -> None:
    place.symlink_to(to)


def a_second_name(place: Path, to: Path) -> None:
    place.hardlink_to(to)


@pytest.mark.parametrize("plant", [a_link, a_second_name])
def test_what_somebody_planted_beside_a_file_is_not_written_to(
    tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    other, directory = tmp_path / "passwd", tmp_path / "upstreams"
    other.write_text("root:x:0:0")
    directory.mkdir()
    other.chmod(0o640)
    plant(directory / "app.conf.partial", other)
    plant(directory / "app.conf", other)
    write_file(directory / "app.conf", SECRET, mode=0o644)
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("root:x:0:0", 0o640)
    assert (directory / "app.conf").read_bytes() == SECRET
    assert not (directory / "app.conf").is_symlink()


def test_until_it_is_whole_a_file_has_a_name_that_nobody_knows_and_is_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    give = os.fchmod

    def look(descriptor: int, mode: int) -> None:
        seen.extend((path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir())
        give(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", look)
    for _ in range(2):
        write_file(tmp_path / "site.prom", b"1", mode=0o644)
        (tmp_path / "site.prom").unlink()
    (first, mode), (second, _) = seen
    assert first != second
    assert mode == 0o600
    # whoever reads all files of a kind takes neither hidden ones nor any that end otherwise
    assert first.startswith(".site.prom.")
    assert first.endswith(".partial")


class Killed(BaseException):
    """Nothing is cleaned up."""


def kill(_descriptor: int) -> None:
    raise Killed


def test_what_a_killed_write_left_goes_with_the_next_write_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app[1].env"
    for name in (path.name, path.name, f"{path.name}.old"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", kill)
            with pytest.raises(Killed):
                write_file(tmp_path / name, SECRET)
    assert len(list(tmp_path.iterdir())) == 3
    write_file(path, b"1")
    assert sorted(item.name.startswith(f".{path.name}.old.") for item in tmp_path.iterdir()) == [False, True]


def test_a_write_that_is_at_work_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sync = tmp_path / "notes.md", os.fsync

    def another(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_file(path, b"of another host")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", another)
    write_file(path, b"of this host")
    assert path.read_bytes() == b"of this host"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_was_taken_for_a_leftover_before_its_lock_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "notes.md", fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        write_file(path, b"of another host")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_file(path, b"of this host")
    assert path.read_bytes() == b"of this host"
    assert list(tmp_path.iterdir()) == [path]


def test_where_files_cannot_be_locked_they_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unable)
    write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@SOON
def test_what_somebody_planted_in_the_place_of_a_leftover_leads_nowhere(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_text("stays")
    (tmp_path / ".file.abcdefgh.partial").mkdir()
    os.mkfifo(tmp_path / ".file.abcdefgi.partial")
    (tmp_path / ".file.abcdefgj.partial").symlink_to(other)
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert other.read_text() == "stays"


def test_lines_that_are_no_entries_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b'{"a": 1}\n[1]\n\xff\n{"a": 2\n{"a": 3}')
    assert list(entries(tmp_path / "lines")) == [{"a": 1}, {"a": 3}]
    assert list(entries(tmp_path / "none")) == []


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_socket(place: Path) -> None:
    os.mknod(place, stat.S_IFSOCK | 0o600)


def a_directory(place: Path) -> None:
    place.mkdir()


def a_link_to_a_device(place: Path) -> None:
    place.symlink_to("/dev/zero")


def a_link_to_a_file(place: Path) -> None:
    place.with_name("target").write_bytes(SECRET)
    place.symlink_to("target")


def a_link_to_itself(place: Path) -> None:
    place.symlink_to(place.name)


SPECIAL = [a_pipe, a_socket, a_directory, a_link_to_a_device, a_link_to_a_file, a_link_to_itself]


@SOON
@pytest.mark.parametrize("make", SPECIAL)
def test_only_a_plain_file_is_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "file")
    with pytest.raises(NotPlainError):
        open_plain(tmp_path / "file")


@SOON
@pytest.mark.parametrize("make", [a_pipe, a_socket, a_directory, a_link_to_a_file])
def test_what_takes_a_plain_file_s_place_before_it_is_opened_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "file")
    (tmp_path / "plain").touch()
    plain = (tmp_path / "plain").stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: plain)
    with pytest.raises(OSError, match=r"^\[Errno"):
        open_plain(tmp_path / "file")


def test_a_device_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda path, *_, **__: opened.append(path))
    with pytest.raises(NotPlainError):
        open_plain(Path("/dev/null"))
    assert opened == []


def test_no_part_of_a_path_below_a_directory_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "mounted/a/b").mkdir(parents=True)
    (tmp_path / "mounted/a/b/file").write_bytes(SECRET)
    # the directory itself is named by whoever runs the site
    (tmp_path / "storage").symlink_to("mounted")
    with open_below(tmp_path / "storage", "a/b/file") as stream:
        assert stream.read() == SECRET
    (tmp_path / "mounted/a/c").symlink_to("b")
    for path in ("a/c/file", "a/b/none", "a/none/file", "a/b/file/x"):
        with pytest.raises(OSError, match=r"^\[Errno"):
            open_below(tmp_path / "storage", path)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("root's own")
    (tmp_path / "app/public").mkdir(parents=True)
    (tmp_path / "app/public/page").write_text("page")
    (tmp_path / "app/.env").write_text("KEY=secret")
    return tmp_path / "app"


@pytest.mark.promise("D4")
@pytest.mark.parametrize("name", ["public/page", "linked/page"])
def test_a_file_is_read_also_where_a_directory_on_the_way_is_a_link_that_stays_inside(
    directory: Path, name: str
) -> None:
    (directory / "linked").symlink_to("public")
    assert read_inside(directory, name) == b"page"


@pytest.mark.promise("D4")
def test_the_directory_itself_may_be_reached_by_a_link(directory: Path) -> None:
    (directory.parent / "current").symlink_to("app")
    assert read_inside(directory.parent / "current", "public/page") == b"page"


@pytest.mark.promise("D4")
@pytest.mark.parametrize("name", ["absent", "absent/page", ".env/page"])
def test_where_there_is_no_file_nothing_is_read(directory: Path, name: str) -> None:
    assert read_inside(directory, name) is None


@pytest.mark.promise("D4")
@pytest.mark.parametrize("target", ["../../secret", "../.env", "absent", "page"])
def test_a_link_is_refused_wherever_it_leads(directory: Path, target: str) -> None:
    (directory / "public/page.html").symlink_to(target)
    with pytest.raises(SlipwayError, match=r"/app/public/page\.html is a link or no regular file: put a regular file"):
        read_inside(directory, "public/page.html")


@pytest.mark.promise("D4")
def test_a_directory_on_the_way_that_leads_outside_is_refused(directory: Path) -> None:
    (directory / "elsewhere").symlink_to("..")
    directory.parent.chmod(0o775)
    with pytest.raises(SlipwayError, match=r"/app/elsewhere/secret lies in .*, outside .*/app: put it inside"):
        read_inside(directory, "elsewhere/secret")


@pytest.mark.promise("D4")
def test_what_is_no_file_is_refused_and_not_waited_for(directory: Path) -> None:
    os.mkfifo(directory / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "socket"))
        for name in ("pipe", "socket", "public"):
            with pytest.raises(SlipwayError, match=rf"/app/{name} is a link or no regular file"):
                read_inside(directory, name)


@pytest.mark.promise("D4")
def test_what_is_too_large_is_refused(directory: Path) -> None:
    (directory / "page").write_bytes(b"x" * LARGEST_INSIDE)
    assert len(read_inside(directory, "page") or b"") == LARGEST_INSIDE
    (directory / "page").write_bytes(b"x" * (LARGEST_INSIDE + 1))
    with pytest.raises(SlipwayError, match="/app/page is larger than 1 MB"):
        read_inside(directory, "page")


@pytest.mark.promise("D4")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs a directory of root's")
def test_a_directory_on_the_way_may_lead_where_root_alone_writes(directory: Path) -> None:
    (directory / "elsewhere").symlink_to("..")
    directory.parent.chmod(0o755)
    assert read_inside(directory, "elsewhere/secret") == b"root's own"
    os.chown(directory.parent, 1000, 1000)
    with pytest.raises(SlipwayError, match="outside"):
        read_inside(directory, "elsewhere/secret")


@pytest.mark.promise("D4")
def test_behind_a_link_to_itself_there_is_no_file(directory: Path) -> None:
    (directory / "round").symlink_to("round")
    assert read_inside(directory, "round/page") is None


@pytest.mark.promise("D4")
def test_a_file_that_may_not_be_read_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_path: Path, _within: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_files, "open_plain", denied)
    with pytest.raises(SlipwayError, match=r"/app/public/page cannot be read \(Permission denied\)"):
        read_inside(directory, "public/page")
