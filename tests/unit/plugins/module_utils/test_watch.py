"""The host looks after a release: it tells people, and goes back once, where nothing is lost by it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _agent, _alert, _guard, _probe_jobs, _watch
from ansible_collections.slipway.release.plugins.module_utils._certificate import Certificate
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    Before,
    Candidate,
    Ledger,
    Release,
    Run,
    Watch,
)
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile, Site

from .application import PROFILE

CRITERIA: list[dict[str, Any]] = [
    {"id": "R2", "title": "Broken", "mode": "enforce", "probes": ["service", "page"], "required": ["service", "page"]},
    {"id": "R3", "title": "Slow", "mode": "enforce", "probes": ["page"], "over": 5, "unit": "s", "looks": 3},
    {"id": "P1", "title": "New errors", "mode": "warn", "probes": ["log"]},
    {"id": "P2", "title": "Jobs die", "mode": "shadow", "probes": ["job"]},
    {"id": "F1", "title": "More fails", "mode": "warn", "probes": ["job"], "counts": {"error": 0.02, "growth": 2}},
]
APPLICATION = {**PROFILE, "watch": {"hours": 1, "every": 60}}


def seen(probe: str = "page", subject: str = "/agents", *, ok: bool | None = True, value: float = 0.1) -> Observation:
    return Observation(probe, subject, "2026-11-24T02:00:00Z", value, "s", ok=ok, detail="as told")


class Killed(BaseException):
    """What ends a process at once."""


WELL = [seen(), seen("service", "web"), seen("service", "worker")]


class World:
    """A site whose probes see what a test says, and whose clock stands still until it is moved."""

    def __init__(
        self,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        criteria: list[dict[str, Any]] = CRITERIA,
        security: dict[str, Any] | None = None,
    ) -> None:
        profile = replace(Profile.parse(APPLICATION), state_directory=str(root / "state"))
        self.site = Site(profile, runner=SimpleNamespace(run=self.run, end_sessions=lambda: None))
        self.monkeypatch = monkeypatch
        self.now = time.time()
        self.sees: Callable[[], list[Observation]] = lambda: WELL
        self.asked: list[tuple[str, ...]] = []
        self.since: list[datetime] = []
        self.undone: list[str] = []
        self.applied: list[str] = []
        self.fails: Exception | None = None
        self.leaves: Callable[[World], None] = lambda _: None
        self.killed: Callable[[], None] | None = None
        monkeypatch.setattr(_guard, "UNITS", root)
        monkeypatch.setattr(_guard, "BOOTED", root)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(_watch, "prober", self.prober)
        monkeypatch.setattr(_watch, "take_back", self.take_back)
        monkeypatch.setattr("time.time", lambda: self.now)
        monkeypatch.setattr("time.sleep", self.pass_by)
        monkeypatch.setattr(Site, "database", SimpleNamespace(migrations=lambda: self.applied))
        ledger = self.site.ledger
        with ledger.locked():
            for version in ("1.0.0", "1.1.0"):
                ledger.save_release(Release(version, version[0] * 40, {}, {}, []))
            ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)), current="1.0.0")
            ledger.enter("switched")
            assert _watch.begin(self.site, "1.1.0", APPLICATION, criteria, 60, security or {}) is None
            ledger.update(candidate=None, current="1.1.0")

    def run(self, *_: object, **__: object) -> Completed:
        return Completed(0, "", "")

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def prober(
        self, _profile: object, _hidden: object, *, restarts: dict[str, int], counted: dict[str, Any]
    ) -> SimpleNamespace:
        def run(request: Any) -> SimpleNamespace:  # noqa: ANN401 - a Request
            self.asked.append(request.kinds)
            self.since.append(request.since)
            return SimpleNamespace(observations=tuple(self.sees()))

        return SimpleNamespace(run=run, restarts=restarts, counted={"looks": counted.get("looks", 0) + 1})

    def take_back(self, site: Site, run: Run, _timeout: float) -> None:
        self.undone.append(run.owner)
        if self.killed is not None:
            self.killed()
            raise Killed
        if self.fails is not None:
            self.leaves(self)
            site.ledger.close_run(run, {}, promote=False)
            raise self.fails
        site.ledger.update(current="1.0.0", candidate=None)
        site.ledger.close_run(run, {}, promote=False)
        self.sees = lambda: WELL

    def look(self) -> tuple[str, int]:
        settings = _guard.settings_of(self.site.ledger.root / "agent", "watch")
        assert settings is not None
        said = _watch.look(self.site, settings)
        self.now += 60
        return said

    @property
    def watching(self) -> Watch:
        watch = self.site.ledger.state().watch
        assert watch is not None
        return watch

    @property
    def alerts(self) -> list[dict[str, Any]]:
        path = self.site.ledger.root / "watch" / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def events(self) -> list[str]:
        return [item["event"] for item in self.alerts]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_look_says_what_it_saw_so_that_silence_is_no_proof(world: World) -> None:
    world.sees = lambda: [*WELL, seen("health", "database", ok=None)]
    world.look()
    (line,) = (world.site.ledger.root / "watch" / "looks.jsonl").read_text().splitlines()
    assert json.loads(line)["seen"] == ["page", "service"]
    assert [item["probe"] for item in json.loads(line)["not_ok"]] == ["health"]
    cost = json.loads(line)["cost"]
    assert cost["own"] > 0
    assert cost["memory"] > 1_000_000


def test_what_was_made_over_an_hour_ago_says_nothing_about_now(world: World) -> None:
    world.look()
    (since,) = world.since
    assert abs((datetime.now(UTC) - since).total_seconds() - 3600) < 60


@pytest.mark.promise("W1")
def test_a_websocket_error_is_noted_however_rare(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.look()
    monkeypatch.setattr(_watch, "socket_error", lambda item: item["subject"] == "worker")
    world.look()
    first, second = (world.site.ledger.root / "watch" / "looks.jsonl").read_text().splitlines()
    assert "sockets" not in json.loads(first)
    assert [item["subject"] for item in json.loads(second)["sockets"]] == ["worker"]


def broken() -> list[Observation]:
    return [seen(), seen("service", "worker", ok=False)]


def test_a_release_that_is_well_is_looked_at_until_it_is_proven(world: World) -> None:
    for _ in range(60):
        assert world.look() == ("hold", 0)
    assert world.look() == ("1.1.0 is proven", 0)
    state = world.site.ledger.state()
    assert (state.watch, state.history[-1]["event"], state.history[-1]["outcome"]) == (None, "watched", "proven")
    assert world.alerts == []
    assert not (world.site.ledger.root / "agent").exists()
    # each look is for the dear kinds only when their time has come
    assert [kind for kinds in world.asked[:9] for kind in kinds if kind in {"data", "flows", "exposure"}] == []
    assert sum("data" in kinds for kinds in world.asked) == 5
    assert sum("flows" in kinds for kinds in world.asked) <= 1


@pytest.mark.promise("P2")
def test_a_breach_that_lasts_is_told_and_taken_back_by_the_host(world: World) -> None:
    world.look()
    world.sees = broken
    said, _ = world.look()
    assert said == "R2 Broken: worker: as told; 1.1.0 was taken back, 1.0.0 runs and is well"
    assert world.undone == ["the host itself"]
    assert world.events == ["breach", "taken back"]
    assert (world.alerts[0]["release"], world.alerts[0]["next"]) == ("1.1.0", "the host goes back by itself")
    assert world.site.ledger.state().watch is None


def test_what_one_look_sees_alone_is_no_breach(world: World) -> None:
    answers = [broken(), WELL]
    world.sees = lambda: answers.pop(0) if len(answers) > 1 else answers[0]
    assert world.look() == ("hold", 0)
    slow = [[seen(value=8.0), seen("service", "web")], WELL]
    world.sees = lambda: slow.pop(0) if len(slow) > 1 else slow[0]
    assert world.look() == ("hold", 0)
    assert (world.undone, world.alerts) == ([], [])


def failing() -> list[Observation]:
    return [*WELL, seen("log", "web", ok=True), seen("log", "web: NoMethodError", ok=False)]


def well_logged() -> list[Observation]:
    return [*WELL, seen("log", "web", ok=True)]


@pytest.mark.promise("P1")
def test_what_only_warns_is_told_once_until_it_is_well_again(world: World) -> None:
    world.sees = failing
    for _ in range(2):
        world.look()
    assert world.events == []
    for _ in range(8):
        assert world.look() == ("hold", 0)
    (alert,) = world.alerts
    assert (alert["event"], alert["next"]) == ("warning", "nothing is taken back for it")
    assert alert["reason"] == "P1 New errors: web: NoMethodError: as told"
    assert world.undone == []
    # well for a while, and ill anew: that is not flapping
    for _ in range(2):
        world.sees = well_logged
        for _ in range(_watch.WELL - 1):
            world.look()
        world.sees = failing
        for _ in range(5):
            world.look()
    assert world.events == ["warning"]
    world.sees = well_logged
    for _ in range(_watch.WELL):
        world.look()
    world.sees = failing
    for _ in range(2):
        world.look()
    assert world.events == ["warning"]
    world.look()
    assert world.events == ["warning", "warning"]


def test_what_goes_on_for_hours_does_not_grow_what_is_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "_MOST_BREACHES", 4)
    world.sees = failing
    path = world.site.ledger.root / "watch" / "state.json"
    sizes = []
    for _ in range(12):
        world.look()
        sizes.append(path.stat().st_size)
    assert sizes[-1] - sizes[5] < 50
    assert world.events == ["warning"]


def test_looks_that_did_not_see_it_do_not_make_it_well(world: World) -> None:
    world.sees = failing
    for _ in range(3):
        world.look()
    world.sees = lambda: [*WELL, seen("log", "web", ok=None)]
    for _ in range(20):
        world.look()
    world.sees = failing
    for _ in range(3):
        world.look()
    assert world.events == ["warning"]


def test_a_warning_goes_to_whoever_hears_of_a_breach_and_a_shadow_tells_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str]] = []

    def deliver(_policy: object, pending: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
        sent.extend((item["channel"], item["message"]["event"]) for item in pending)
        return [], []

    monkeypatch.setattr(_alert, "deliver", deliver)
    monkeypatch.setattr(_alert, "channels", lambda _policy: ["webhook", "mail"])
    world.sees = lambda: [*failing(), seen("job", "dead", ok=False)]
    for _ in range(5):
        world.look()
    assert sent == [("webhook", "warning"), ("mail", "warning")]


@pytest.mark.promise("R2")
def test_a_flow_that_fails_is_told_at_once_and_counts_when_three_looks_saw_it(world: World) -> None:
    path = world.site.ledger.root / "agent" / "watch.json"
    settings = json.loads(path.read_text())
    settings["criteria"][0]["probes"].append("flow")
    path.write_text(json.dumps(settings))
    until = replace(world.watching, until=world.now + 8 * 3600)
    with world.site.ledger.locked():
        world.site.ledger.update(watch=until)
    answers = [False, True, False, False, False]

    def sees() -> list[Observation]:
        return [*WELL, *([seen("flow", "create", ok=answers.pop(0))] if "flows" in world.asked[-1] else [])]

    world.sees = sees
    told = []
    while not world.undone:
        world.look()
        told.append((len(answers), tuple(world.events)))
    # well in between, so that it is told anew
    assert dict(reversed(told)) == {
        5: (),
        4: ("warning",),
        3: ("warning",),
        2: ("warning", "warning"),
        1: ("warning", "warning"),
        0: ("warning", "warning", "breach", "taken back"),
    }
    assert world.alerts[0]["reason"] == "create: as told"
    assert world.alerts[0]["next"] == "it is tried again in 60 min, and counts when 3 looks saw it"


@pytest.mark.promise("P2")
def test_jobs_that_fail_more_often_than_before_are_told(world: World) -> None:
    with world.site.ledger.locked():
        # as Sidekiq counts them, by day
        world.site.ledger.save_baseline("1.1.0", _probe_jobs.noted([(144, 86400)] * 14))

    def jobs(failed: int) -> Callable[[], list[Observation]]:
        def seen_now() -> list[Observation]:
            at = datetime.fromtimestamp(world.now, UTC).isoformat().replace("+00:00", "Z")
            return [*WELL, Observation("job", "failed", at, failed, "jobs", ok=True, detail="failed", of=60)]

        return seen_now

    world.sees = jobs(0)
    for _ in range(5):
        world.look()
    world.sees = jobs(20)
    for _ in range(10):
        world.look()
    (alert,) = world.alerts
    assert alert["event"] == "warning"
    assert alert["reason"].startswith("F1 More fails: failed: ")


@pytest.mark.promise("R6")
@pytest.mark.parametrize(
    "certificate, goes_back",
    [
        (None, False),
        ({"old_code_wrong": []}, True),
        ({"old_code_wrong": ["GET /: 500"]}, True),
        ({"old_code_wrong": ["GET /: 500"], "drops": {"public.tasks.note": 0}}, False),
        ({"old_code_wrong": ["GET /: 500"], "down_wrong": ["tasks differ"]}, False),
        ({"old_code_wrong": [], "destroyed": ["2 of tasks.note"], "down_wrong": ["tasks differ"]}, False),
        ({"old_code_wrong": [], "migrations": ["1", "2"]}, False),
    ],
)
def test_it_goes_back_only_where_nothing_is_lost(
    world: World, certificate: dict[str, Any] | None, goes_back: bool
) -> None:
    world.applied = ["1"]
    if certificate is not None:
        given = {"migrations": ["1"], **certificate}
        with world.site.ledger.locked():
            world.site.ledger.save_certificate(Certificate("1.1.0", "1" * 40, "b1", "now", **given))
    world.sees = broken
    world.look()
    assert bool(world.undone) == goes_back
    assert world.events == (["breach", "taken back"] if goes_back else ["breach"])
    if not goes_back:
        assert world.look()[0].endswith("a person decides")
        assert world.events == ["breach"]
        watch = world.site.ledger.state().watch
        assert watch is not None
        assert watch.breach == "R2 Broken: worker: as told"


AGAIN, LEFT = "the next look tries it again", "playbooks/status.yml says where it stands"


def test_what_fails_each_time_is_left_to_people_and_they_are_told(world: World) -> None:
    world.fails = SlipwayError("no room")
    world.sees = broken
    assert world.look()[0].endswith(f"1.1.0 could not be taken back: no room: {AGAIN}")
    world.look()
    assert world.look()[0].endswith(f"1.1.0 could not be taken back: no room: {LEFT}")
    assert world.look()[0].endswith("it was tried to go back")
    assert len(world.undone) == 3
    assert [(item["event"], item["next"]) for item in world.alerts[1:]] == [("not taken back", AGAIN)] * 2 + [
        ("not taken back", LEFT)
    ]


def test_a_secret_of_the_env_file_is_told_to_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    place = world.site.ledger.root.parent / "env"
    place.write_text("SECRET_KEY_BASE=canary-4711\n")
    world.site.env_file = EnvFile(place)
    monkeypatch.setattr(_agent, "Site", lambda _profile: world.site)
    monkeypatch.setattr(_alert, "channels", lambda _policy: ["webhook", "mail"])
    sent: list[Any] = []
    monkeypatch.setattr(_alert, "_send", lambda _alert, _channel, message: sent.append(message))
    world.sees, world.fails = broken, CommandError(["docker"], 1, "no such canary-4711")
    said, _ = _agent.look(world.site.ledger.root / "agent")
    assert "docker ended with code 1: no such ********" in said
    assert sent[-1]["reason"] == "docker ended with code 1: no such ********"
    kept = "".join(path.read_text() for path in world.site.ledger.root.rglob("*.json*"))
    assert "canary" not in kept + json.dumps(sent)


@pytest.mark.promise("R6")
def test_a_way_back_that_fails_half_way_is_gone_on_with(world: World) -> None:
    world.look()
    world.sees, world.fails = broken, SlipwayError("swarm-web-5 is restarting instead of healthy")
    world.leaves = half_way
    world.look()
    assert world.site.ledger.state().run is None
    world.fails = None
    # nobody looks whether it is well what stands between two releases
    world.sees = unheard_of
    world.look()
    assert world.site.ledger.state().current == "1.0.0"
    assert world.events == ["breach", "not taken back", "taken back"]
    assert len(world.undone) == 2


def test_what_people_left_half_way_is_theirs(world: World) -> None:
    world.look()
    with world.site.ledger.locked():
        half_way(world)
    assert world.look() == ("somebody is at work", 0)
    assert world.undone == []


def half_way(world: World) -> None:
    world.site.ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None), stood=True))


def unheard_of() -> list[Observation]:
    raise AssertionError


def test_one_that_was_accepted_is_not_taken_back(world: World) -> None:
    with world.site.ledger.locked():
        world.site.ledger.accept("anna@controller")
    world.sees = broken
    assert "there is no way back from 1.1.0: anna@controller accepted it" in world.look()[0]
    assert world.undone == []


def test_evidence_that_stays_away_is_told_and_leaves_the_release_unproven(world: World) -> None:
    world.sees = lambda: [seen(), seen("service", "services", ok=None)]
    for _ in range(60):
        assert world.look() == ("inconclusive", 0)
    assert world.events == ["blind"]
    said, code = world.look()
    assert said == "1.1.0 is unproven: 0 looks saw all that is required, 60 were to be"
    assert code == 1
    assert world.site.ledger.state().history[-1]["outcome"] == "unproven"
    assert world.events == ["blind", "unproven"]


def test_what_is_looked_at_seldom_is_asked_for_by_the_looks_that_looked_for_it(world: World) -> None:
    path = world.site.ledger.root / "agent" / "watch.json"
    settings = json.loads(path.read_text())
    settings["criteria"].append({"id": "R4", "title": "Lost", "probes": ["data"], "attempted": ["data"]})
    path.write_text(json.dumps(settings))

    def sees(*, ok: bool | None) -> Callable[[], list[Observation]]:
        return lambda: [*WELL, *([seen("data", "rows", ok=ok)] if "data" in world.asked[-1] else [])]

    world.sees = sees(ok=None)
    while sum("data" in kinds for kinds in world.asked) < _watch.BLIND - 1:
        world.look()
    assert world.events == []
    for _ in range(11):
        world.look()
    (alert,) = world.alerts
    assert (alert["event"], alert["reason"]) == ("blind", "no evidence of data in 5 looks")
    memory = json.loads((world.site.ledger.root / "watch" / "state.json").read_text())
    # the looks in between were whole
    assert memory["whole"] == memory["looks"] - _watch.BLIND
    assert world.undone == []


def test_a_host_that_slept_has_proven_nothing(world: World) -> None:
    world.look()
    world.now += 3600
    assert world.look()[1] == 1


def test_it_looks_away_while_somebody_works_and_ends_when_another_release_stands(world: World) -> None:
    world.sees = broken
    other = Ledger(world.site.ledger.root)
    with other.locked():
        assert world.look() == ("somebody is at work", 0)
        run = other.open_run("r2", "deploy", "ben@controller", "1.2.0")
    assert world.look() == ("somebody is at work", 0)
    with other.locked():
        other.close_run(run, {}, promote=False)
        other.update(current="1.2.0")
    assert world.look() == ("1.1.0 stands no more", 0)
    assert world.site.ledger.state().watch is None
    assert (world.undone, world.alerts) == ([], [])


@pytest.mark.promise("D4")
def test_it_looks_away_while_the_maintenance_page_is_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sees = broken
    monkeypatch.setattr(_watch, "Maintenance", lambda _site: SimpleNamespace(container="page"))
    for _ in range(9):
        assert world.look() == ("the maintenance page is up", 0)
    assert (world.undone, world.alerts, world.asked) == ([], [], [])

    class Silent:
        @property
        def container(self) -> None:
            raise SlipwayError("the engine does not answer")

    monkeypatch.setattr(_watch, "Maintenance", lambda _site: Silent())
    assert world.look() != ("the maintenance page is up", 0)
    assert world.asked


def test_a_watch_that_ends_leaves_an_acceptance_as_it_is(world: World) -> None:
    ledger = world.site.ledger
    with ledger.locked():
        ledger.accept("anna@controller")
    for _ in range(61):
        world.look()
    assert ledger.state().history[-1]["event"] == "watched"
    accepted = ledger.accepted()
    assert accepted is not None
    assert accepted["by"] == "anna@controller"


def test_what_it_leaves_is_for_root_alone_and_told_to_the_node_exporter(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = replace(world.site.profile.watch, textfile_directory=str(tmp_path))
    monkeypatch.setattr(world.site, "profile", replace(world.site.profile, watch=policy))
    world.look()
    root = world.site.ledger.root
    assert all(path.stat().st_mode & 0o077 == 0 for name in ("agent", "watch") for path in (root / name).iterdir())
    told = _watch.told(world.site)
    assert told is not None
    assert (told["release"], told["looks"], told["breach"]) == ("1.1.0", 1, None)
    metrics = (tmp_path / "slipway_swarm.prom").read_text()
    assert 'slipway_watch_breach{application="swarm",release="1.1.0"} 0.000\n' in metrics
    assert 'slipway_page_load_seconds{application="swarm",release="1.1.0",page="/agents"} 0.100\n' in metrics
    world.now += 7200
    world.look()
    (line,) = re.findall(r"^slipway.*", (tmp_path / "slipway_swarm.prom").read_text(), re.MULTILINE)
    assert line.startswith(
        'slipway_watch_ended_timestamp_seconds{application="swarm",release="1.1.0",outcome="unproven"} '
    )


def test_people_are_shown_in_a_few_lines_what_it_saw(world: World) -> None:
    assert _watch.saw(world.site) == ["1.1.0 is watched for 1.0 h more: 0 looks, 0 saw all they had to"]
    world.look()
    first, last = _watch.saw(world.site)
    assert first.startswith("1.1.0 is watched for 1.0 h more: 1 looks, 1 saw")
    assert last.endswith(": hold")
    world.sees = failing
    for _ in range(3):
        world.look()
    _, last, told = _watch.saw(world.site)
    assert last.endswith(": hold; web: NoMethodError: as told")
    assert told.endswith(": warning: P1 New errors: web: NoMethodError: as told")
    world.sees = lambda: [seen(), seen("service", "services", ok=None)]
    for _ in range(_watch.BLIND):
        world.look()
    assert "no evidence of service" in _watch.saw(world.site)
    world.sees = WELL.copy
    world.now += 3600
    world.look()
    ended, *told_lines = _watch.saw(world.site)
    assert re.fullmatch(
        r"1\.1\.0 was watched until \S+: unproven, .* looks saw all that is required, 60 were to be", ended
    )
    assert len(told_lines) == 3
    with world.site.ledger.locked():
        world.site.ledger.update(current="1.0.0")
    assert _watch.saw(world.site) == ["the host looks after nothing: 1.0.0 stands, and no watch of it began"]


def test_what_one_look_counted_the_next_goes_on_from(world: World) -> None:
    world.look()
    world.look()
    memory = json.loads((world.site.ledger.root / "watch" / "state.json").read_text())
    assert memory["counted"] == {"looks": 2}


@pytest.mark.promise("P1", "P2", "P5")
def test_all_that_costs_little_is_looked_at_each_time_and_statements_seldom(world: World) -> None:
    for _ in range(21):
        world.look()
    each = {"services", "workers", "health", "pages", "jobs", "figures", "logs"}
    assert [each - set(kinds) for kinds in world.asked] == [set()] * 21
    assert sum("queries" in kinds for kinds in world.asked) == 2


def test_a_dead_job_of_its_own_time_says_nothing_about_the_release_that_came_back(world: World) -> None:
    real = world.take_back

    def take_back(site: Site, run: Run, timeout: float) -> None:
        real(site, run, timeout)
        world.sees = lambda: [*WELL, seen("job", "dead", ok=False)]

    world.look()
    world.sees = broken
    world.monkeypatch.setattr(_watch, "take_back", take_back)
    assert world.look()[0].endswith("1.0.0 runs and is well")


def test_the_log_of_looks_stays_small(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "_LONGEST_LOG", 1000)
    for _ in range(30):
        world.look()
    files = sorted((world.site.ledger.root / "watch").glob("looks*"))
    assert [path.name for path in files] == ["looks.1.jsonl", "looks.jsonl"]
    assert sum(path.stat().st_size for path in files) < 1500


@pytest.mark.promise("R6")
def test_a_way_back_that_was_cut_short_is_gone_on_with(world: World) -> None:
    def half_done() -> None:
        before = Before("1.0.0", [], None)
        world.site.ledger.update(candidate=Candidate("1.1.0", "switched", before, stood=True), current="1.0.0")

    world.look()
    world.sees, world.killed = broken, half_done
    with pytest.raises(Killed):
        world.look()
    world.killed = None
    world.look()
    assert len(world.undone) == 2
    assert world.events == ["breach", "taken back"]
    assert world.site.ledger.state().watch is None


def test_one_that_was_killed_before_it_began_is_begun_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> Run:
        raise Killed

    world.look()
    world.sees = broken
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "open_run", killed)
        with pytest.raises(Killed):
            world.look()
    world.look()
    assert world.events == ["breach", "taken back"]


def test_one_that_had_gone_back_before_it_could_say_so_says_it_then(world: World) -> None:
    world.look()
    world.sees, world.killed = broken, lambda: None
    with pytest.raises(Killed):
        world.look()
    with world.site.ledger.locked():
        world.site.ledger.update(current="1.0.0", run=None)
    world.look()
    assert world.events == ["breach", "taken back"]


def test_what_is_cut_short_each_time_is_left_to_people_and_they_are_told(world: World) -> None:
    world.look()
    world.sees, world.killed = broken, lambda: None
    for _ in range(3):
        with pytest.raises(Killed):
            world.look()
    for _ in range(3):
        world.look()
    assert len(world.undone) == 3
    assert world.events == ["breach", "not taken back"]
    assert world.site.ledger.state().run is None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("grafana")])
def test_whatever_keeps_it_from_going_back_is_told(world: World, error: Exception) -> None:
    world.look()
    world.sees, world.fails = broken, error
    world.look()
    assert world.events == ["breach", "not taken back"]
    assert world.alerts[-1]["reason"] == str(error)


def test_a_clock_that_goes_back_does_not_put_off_what_is_looked_at_seldom(world: World) -> None:
    world.look()
    world.now -= 1800
    world.look()
    assert {"data", "exposure", "queries"} <= set(world.asked[-1])


@pytest.mark.parametrize(
    "damage",
    [
        {"judged": {"breaches": 3}},
        {"judged": {"breaches": {"R2": []}}},
        {"judged": None},
        {"counted": None},
        {"at": {"": "x"}},
        {"blind": None},
        {"looks": "many"},
    ],
)
def test_what_it_remembered_and_cannot_be_read_is_a_new_beginning(world: World, damage: dict[str, Any]) -> None:
    world.look()
    path = world.site.ledger.root / "watch" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    assert world.look() == ("hold", 0)
    assert json.loads(path.read_text())["looks"] == 1
