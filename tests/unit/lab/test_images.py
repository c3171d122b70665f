from __future__ import annotations

import pytest

from lab import images
from lab._common import LabError

DEB822 = "# http://old.example/archive\nTypes: deb\nURIs: http://one.example/debian\nSuites: bookworm\n"


@pytest.mark.parametrize(
    "texts,expected",
    [
        ([DEB822], "http://one.example/debian"),
        (["deb http://two.example/debian bookworm main\n"], "http://two.example/debian"),
        (["deb [arch=amd64 signed-by=/x] http://two.example/debian bookworm main\n"], "http://two.example/debian"),
        (["# deb http://no.example/debian x main\n", DEB822], "http://one.example/debian"),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(texts: list[str], expected: str) -> None:
    assert images.mirror(texts) == expected


def test_a_machine_without_apt_sources_is_told_what_is_missing() -> None:
    with pytest.raises(LabError, match="no Debian mirror found in /etc/apt"):
        images.mirror([""])


def test_every_runtime_image_has_a_version() -> None:
    assert images.RUNTIME_TAGS == ("swarm-ruby:3.3", "swarm-postgres:17", "swarm-redis:8", "swarm-nginx:1.26")
