"""Workers that end: what they are given, and what is said of the jobs that they could not finish."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _workers
from ansible_collections.slipway.release.plugins.module_utils._compose import Container
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._workers import (
    await_live,
    quiet,
    quieted,
    seconds,
    sidekiq_timeout,
    stop_workers,
)

WORKER = cast("Container", SimpleNamespace(id="w1", hostname="workerhost1", running=True, started=100.0))
JOB = ("workerhost1", "LaunchCampaignJob 1f")


class World:
    def __init__(self, root: Path) -> None:
        self.told: list[str] = []
        self.quiet = False
        self.jobs: list[tuple[str, str]] = []
        self.printed = ""
        self.looks = 0
        self.live_after: int | None = None
        docker = SimpleNamespace(
            kill=lambda ids, name: self.told.append(f"{name} {ids}"),
            stop=lambda some: self.told.append(f"stop {[item.id for item in some]}"),
            logs=lambda _id, since: self.printed if since else "",
        )
        self.there = [WORKER]
        self.site = cast(
            "Site",
            SimpleNamespace(
                docker=docker,
                ledger=SimpleNamespace(root=root),
                all_containers=lambda: self.there,
                profile=SimpleNamespace(jobs=SimpleNamespace(sidekiq=True)),
            ),
        )

    def processes(self) -> list[SimpleNamespace]:
        self.looks += 1
        live = self.live_after is not None and self.looks > self.live_after
        return [SimpleNamespace(hostname="workerhost1", quiet=self.quiet, live=live)]

    def jobs_at_work(self) -> list[tuple[str, str]]:
        return self.jobs


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(_workers, "_server", lambda _site: made)
    monkeypatch.setattr(_workers, "_PAUSE", 0.05)
    return made


def test_a_worker_without_work_is_stopped_as_soon_as_it_says_so(world: World) -> None:
    world.quiet = True
    began = time.monotonic()
    assert stop_workers(world.site, [WORKER], 60) == {}
    assert time.monotonic() - began < 30
    assert world.told == ["TSTP ['w1']", "stop ['w1']"]


def test_before_its_next_beat_nobody_knows_that_it_is_idle(world: World) -> None:
    began = time.monotonic()
    stop_workers(world.site, [WORKER], 0.3)
    assert time.monotonic() - began >= 0.3


def test_what_ran_longer_is_pushed_back_and_listed(world: World) -> None:
    world.quiet, world.jobs = True, [JOB, ("elsewhere", "OtherJob 2a")]
    world.printed = "INFO: Pushed 1 jobs back to Redis"
    assert stop_workers(world.site, [WORKER], 0.2) == {"pushed_back": 1, "at_work": ["LaunchCampaignJob 1f"]}


def test_without_redis_sidekiq_alone_decides(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_site: Site) -> World:
        raise SlipwayError("no container of redis is running")

    monkeypatch.setattr(_workers, "_server", gone)
    assert stop_workers(world.site, [WORKER], 5) == {}
    assert world.told[-1] == "stop ['w1']"


def test_a_worker_that_was_started_is_waited_for_until_it_says_that_it_lives(world: World) -> None:
    world.live_after = 3
    await_live(world.site, [WORKER])
    assert world.looks == 4


def test_a_worker_that_never_lives_is_left_to_the_judge(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "LIVE_WITHIN", 0.2)
    await_live(world.site, [WORKER])
    assert 1 < world.looks < 10


def test_a_worker_that_was_told_to_take_no_more_jobs_is_known_until_it_starts_again(world: World) -> None:
    assert quieted(world.site, [WORKER]) == []
    quiet(world.site, [WORKER])
    assert quieted(world.site, [WORKER]) == [WORKER]
    again = cast("Container", SimpleNamespace(id="w1", running=True, started=200.0))
    stopped = cast("Container", SimpleNamespace(id="w1", running=False, started=100.0))
    assert quieted(world.site, [again, stopped]) == []


def test_it_is_noted_before_it_is_told_so_that_a_kill_in_between_leaves_none_that_nobody_knows_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_ids: list[str], _name: str) -> None:
        raise SlipwayError("killed")

    monkeypatch.setattr(world.site.docker, "kill", killed)
    with pytest.raises(SlipwayError):
        quiet(world.site, [WORKER])
    assert quieted(world.site, [WORKER]) == [WORKER]


def test_a_container_that_is_gone_is_forgotten(world: World) -> None:
    quiet(world.site, [WORKER])
    other = cast("Container", SimpleNamespace(id="w2", running=True, started=300.0))
    world.there = [other]
    quiet(world.site, [other])
    world.there = [WORKER, other]
    assert quieted(world.site, [WORKER, other]) == [other]


def test_a_worker_that_crashes_again_and_again_is_stopped_and_not_waited_for(world: World) -> None:
    looping = cast("Container", SimpleNamespace(id="w2", hostname="workerhost2", running=False, started=100.0))
    began = time.monotonic()
    assert stop_workers(world.site, [looping], 30) == {}
    assert world.told == ["stop ['w2']"]
    assert time.monotonic() - began < 5


def test_workers_that_are_not_sidekiq_s_are_told_nothing_but_to_stop(world: World) -> None:
    """TSTP suspends whoever does not know it, and SIGTERM waits then."""
    world.site.profile.jobs.sidekiq = False  # type: ignore[misc]  # a stand-in
    stop_workers(world.site, [WORKER], 0)
    assert world.told == ["stop ['w1']"]
    assert quieted(world.site, [WORKER]) == []


def test_a_damaged_note_is_said_in_one_line(world: World) -> None:
    note = world.site.ledger.root / "quiet.json"
    note.write_text("{")
    with pytest.raises(SlipwayError, match=rf"^{note} is damaged \(.*\): remove it, and restart the workers$"):
        quieted(world.site, [WORKER])


def test_no_worker_is_asked_nothing(world: World) -> None:
    assert stop_workers(world.site, [], 5) == {}
    assert world.told == []


@pytest.mark.parametrize(
    "command, file, expected",
    [
        (["bundle", "exec", "sidekiq", "-t", "40"], ":timeout: 30", 40),
        (["sidekiq", "--timeout=50"], "", 50),
        ("bundle exec sidekiq -t 12", "", 12),
        (["sidekiq", "--config", "config/sidekiq.yml"], ":concurrency: 5\n:timeout: 30\n", 30),
        (["sidekiq"], "timeout: 9", 9),
        (None, ":concurrency: 5", 25),
        (["bin/start-thing"], None, 25),
        (["sidekiq"], ":timeout: 30\nproduction:\n  :timeout: 110\n", 110),
    ],
)
def test_sidekiq_s_own_timeout_is_read_where_it_stands(
    tmp_path: Path, command: object, file: str | None, expected: float
) -> None:
    if file is not None:
        (tmp_path / "config").mkdir()
        (tmp_path / "config/sidekiq.yml").write_text(file)
    assert sidekiq_timeout({"command": command}, tmp_path) == expected


def test_another_file_of_sidekiq_s_and_one_that_is_not_utf_8_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_bytes(b":timeout: 70 # f\xfcr alle\n")
    assert sidekiq_timeout({"command": ["sidekiq", "-C", "other.yml"]}, tmp_path) == 70


@pytest.mark.parametrize("text, expected", [("30s", 30), ("1m30s", 90), ("1h0m1.5s", 3601.5), ("500ms", 0.5)])
def test_durations_are_read_as_compose_writes_them(text: str, expected: float) -> None:
    assert seconds(text) == expected
