"""Root reads what is in somebody's directory, and nothing else that its owner would have it read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._inside import SIZE_LIMIT, read_inside

pytestmark = pytest.mark.promise("D4")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("root's own")
    (tmp_path / "app/public").mkdir(parents=True)
    (tmp_path / "app/public/page").write_text("page")
    (tmp_path / "app/.env").write_text("KEY=secret")
    return tmp_path / "app"


@pytest.mark.parametrize("name", ["public/page", "linked/page"])
def test_a_file_is_read_also_where_a_directory_on_the_way_is_a_link_that_stays_inside(
    directory: Path, name: str
) -> None:
    (directory / "linked").symlink_to("public")
    assert read_inside(directory, name) == b"page"


def test_the_directory_itself_may_be_reached_by_a_link(directory: Path) -> None:
    (directory.parent / "current").symlink_to("app")
    assert read_inside(directory.parent / "current", "public/page") == b"page"


@pytest.mark.parametrize("name", ["absent", "absent/page", ".env/page"])
def test_where_there_is_no_file_nothing_is_read(directory: Path, name: str) -> None:
    assert read_inside(directory, name) is None


@pytest.mark.parametrize("target", ["../../secret", "../.env", "absent", "page"])
def test_a_link_is_refused_wherever_it_leads(directory: Path, target: str) -> None:
    (directory / "public/page.html").symlink_to(target)
    with pytest.raises(SlipwayError, match=r"/app/public/page\.html is a link or no regular file: put a regular file"):
        read_inside(directory, "public/page.html")


def test_a_directory_on_the_way_that_leads_outside_is_refused(directory: Path) -> None:
    (directory / "elsewhere").symlink_to("..")
    with pytest.raises(SlipwayError, match=r"/app/elsewhere/secret lies in .*, outside .*/app: put it inside"):
        read_inside(directory, "elsewhere/secret")


def test_what_is_no_file_is_refused_and_not_waited_for(directory: Path) -> None:
    os.mkfifo(directory / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "socket"))
        for name in ("pipe", "socket", "public"):
            with pytest.raises(SlipwayError, match=rf"/app/{name} is a link or no regular file"):
                read_inside(directory, name)


def test_what_is_too_large_is_refused(directory: Path) -> None:
    (directory / "page").write_bytes(b"x" * SIZE_LIMIT)
    assert len(read_inside(directory, "page") or b"") == SIZE_LIMIT
    (directory / "page").write_bytes(b"x" * (SIZE_LIMIT + 1))
    with pytest.raises(SlipwayError, match="/app/page is larger than 1 MB"):
        read_inside(directory, "page")
