from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _parked_jobs
from ansible_collections.slipway.release.plugins.module_utils._parked_jobs import PARKED, classes, park, replay

pytestmark = pytest.mark.promise("R6")

SOURCES = {
    "old": "class LaunchJob < ApplicationJob\n  class Helper\n",
    "new": "class LaunchJob < ApplicationJob\nclass Quiet::LaunchLaterJob < ApplicationJob\n",
}


class Redis:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def count(self, _script: str, keys: Sequence[str]) -> int:
        self.asked.append(list(keys))
        return 1


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Redis:
    server = Redis()
    monkeypatch.setattr(_parked_jobs, "_redis", lambda _site: server)
    return server


@pytest.fixture
def site() -> Any:  # noqa: ANN401 a stand-in
    return SimpleNamespace(checkout=SimpleNamespace(class_lines=lambda commit, *_directories: SOURCES[commit]))


def test_classes_are_known_by_the_last_part_of_their_name() -> None:
    assert classes(["class A::B < C\n  class D; end\n# class E\nclass << self\n"]) == {"B", "D"}


def test_only_what_the_newer_code_alone_defines_is_parked(site: Any, redis: Redis) -> None:  # noqa: ANN401 the same
    assert park(site, "new", "old") == 1
    assert redis.asked == [[PARKED, "LaunchLaterJob"]]


def test_where_both_know_all_nothing_is_asked(site: Any, redis: Redis) -> None:  # noqa: ANN401 the same
    assert park(site, "old", "old") == 0
    assert redis.asked == []


def test_what_the_release_knows_is_put_back(site: Any, redis: Redis) -> None:  # noqa: ANN401 the same
    assert replay(site, "new") == 1
    assert redis.asked == [[PARKED, "LaunchJob", "LaunchLaterJob"]]
