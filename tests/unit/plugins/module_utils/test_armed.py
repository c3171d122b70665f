"""The host takes a release back when nobody has been heard of, and only then."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _agent, _armed, _guard
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, Step
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, LockedError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Ledger
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile, Site

pytestmark = pytest.mark.promise("R6")

APPLICATION = {
    "name": "swarm",
    "directory": "/opt/swarm",
    "version_variable": "APP_VERSION",
    "repository": {"url": "/srv/git/swarm.git"},
    "services": {"web": "web", "database": "postgres"},
    "database": {"name": "swarm_production", "user": "swarm_owner"},
    "base_url": "http://127.0.0.1",
    "login": {"path": "/login", "form": {"password": "correct-horse-battery"}},
    "pages": None,
}


class Systemctl:
    """Notes what systemctl is told."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []

    def run(self, argv: list[str], **_options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        self.told.append(list(argv))
        return Completed(0, "", "")

    def end_sessions(self) -> None:
        """None stays."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(_guard, "UNITS", tmp_path / "units")
    monkeypatch.setattr(_guard, "BOOTED", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    given = {name: value for name, value in APPLICATION.items() if value is not None}
    profile = replace(Profile.parse(given), state_directory=str(tmp_path / "state"))
    site = Site(profile, runner=Systemctl())  # type: ignore[arg-type]  # only run is used
    with site.ledger.locked():
        site.ledger.open_run("r1", "deploy", "anna@controller", "1.1.0", 60)
        site.ledger.update(candidate=Candidate("1.1.0", "migrating", Before("1.0.0", [], None)))
    return site


def arm(site: Site) -> dict[str, Any]:
    step = _armed.arming(site, APPLICATION, "1.1.0", 60, 3600)
    assert not step.done()
    with site.ledger.locked():
        facts = step.apply() or {}
    assert step.done()
    return facts


def be_silent(site: Site, seconds: float) -> None:
    with site.ledger.locked():
        run = site.ledger.state().run
        assert run is not None
        site.ledger.update(run=replace(run, last_seen=run.last_seen - seconds, boot=""))


def plan(site: Site, error: Exception | None = None) -> Plan:
    def apply() -> None:
        if error is not None:
            raise error
        site.ledger.update(candidate=None, history=site.ledger.event("1.1.0", "taken back", to="1.0.0"))

    return Plan("rollback", "1.1.0", "rollback", [Step("go back", lambda: False, apply)])


@pytest.fixture
def way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_armed, "rollback", lambda site, _identity, _timeout: plan(site))


def test_armed_it_has_an_engine_a_timer_that_outlives_a_reboot_and_no_secret(site: Site, tmp_path: Path) -> None:
    assert arm(site) == {"armed": "after 60 s of silence"}
    agent = site.ledger.root / "agent"
    assert "correct-horse" not in (agent / "armed.json").read_text()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (agent, *agent.iterdir()))
    timer = (tmp_path / "units" / "slipway-swarm.timer").read_text()
    assert "OnBootSec=15s" in timer
    assert "WantedBy=timers.target" in timer
    assert f"{agent}/slipway.pyz {agent}" in (tmp_path / "units" / "slipway-swarm.service").read_text()
    assert ["systemctl", "enable", "--quiet", "slipway-swarm.timer"] in site.runner.told  # type: ignore[attr-defined]  # Systemctl


def test_what_is_packed_runs_by_itself(tmp_path: Path) -> None:
    program, settings = tmp_path / "slipway.pyz", tmp_path / "armed.json"
    program.write_bytes(_guard.packed())
    application: dict[str, Any] = {**APPLICATION, "pages": [], "state_directory": str(tmp_path / "elsewhere")}
    settings.write_text(json.dumps({"application": application, "timeout": 60}))
    done = subprocess.run(
        [sys.executable, "-I", str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("nothing to look after\n", "")
    settings.write_text("{")
    done = subprocess.run(
        [sys.executable, "-I", str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )
    # nobody but the journal hears of it
    assert done.returncode == 1
    assert done.stderr.startswith(f"{settings} is damaged (")
    assert done.stderr.count("\n") == 1
    names = zipfile.ZipFile(program).namelist()
    assert {"__main__.py", "slipway/_plan_rollback.py", "slipway/_ledger.py"} <= set(names)


@pytest.mark.usefixtures("way_back")
def test_it_waits_for_its_time_then_takes_the_release_back_and_is_gone(site: Site, tmp_path: Path) -> None:
    arm(site)
    dead = site.ledger.state().run
    assert dead is not None
    assert _armed.look(site, 3600) == "somebody is at work"
    be_silent(site, 61)
    assert _armed.look(site, 3600) == "1.1.0 was taken back"
    state = site.ledger.state()
    assert (state.candidate, state.run, state.armed) == (None, None, None)
    assert (state.history[-1]["event"], state.history[-1]["by"]) == ("taken back", "the host itself")
    runs = {path.stem: json.loads(path.read_text()) for path in (site.ledger.root / "runs").iterdir()}
    assert runs["r1"]["interrupted"]["by"] == "the host itself"
    assert [item["steps"] for name, item in runs.items() if name.endswith("-host")] == [["go back"]]
    assert list((tmp_path / "units").iterdir()) == []
    assert not (site.ledger.root / "agent").exists()
    with site.ledger.locked(), pytest.raises(SlipwayError):
        site.ledger.check_run(dead.token)
    assert _agent.look(site.ledger.root / "agent") == ("nothing to look after", 0)


def test_a_guard_that_is_just_being_put_up_is_not_taken_down(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    arm(site)
    monkeypatch.setattr(_agent, "Site", lambda _profile: site)
    directory, other = site.ledger.root / "agent", Ledger(site.ledger.root)
    with other.locked():
        # whoever arms holds the lock from before the files are there until the ledger says so
        other.update(armed=None)
        assert _agent.look(directory) == ("a process is at work", 0)
    assert directory.exists()
    assert _agent.look(directory) == ("nothing to look after", 0)
    assert not directory.exists()


@pytest.mark.usefixtures("way_back")
def test_a_process_at_work_is_waited_for_however_long_it_takes(site: Site) -> None:
    arm(site)
    be_silent(site, 10_000)
    other = Ledger(site.ledger.root)
    with other.locked():
        assert _armed.look(site, 3600) == "a process is at work"
    assert site.ledger.state().candidate is not None


@pytest.mark.usefixtures("way_back")
def test_whoever_comes_first_has_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    arm(site)
    be_silent(site, 61)
    locked = site.ledger.locked

    def late(wait: float = 10) -> Any:  # noqa: ANN401 - a context manager
        # an operator takes the run over between the look and the lock
        other = Ledger(site.ledger.root)
        with other.locked():
            other.open_run("r2", "rollback", "ben@controller", "1.1.0", 60)
        return locked(wait)

    monkeypatch.setattr(site.ledger, "locked", late)
    assert _armed.look(site, 3600) == "somebody is at work"
    run = site.ledger.state().run
    assert run is not None
    assert run.owner == "ben@controller"


def test_a_way_back_that_fails_is_recorded_and_tried_again_after_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(site)
    be_silent(site, 61)
    error = LockedError("no room")
    monkeypatch.setattr(_armed, "rollback", lambda site, _identity, _timeout: plan(site, error))
    assert "1.1.0 could not be taken back: rollback of 1.1.0: go back: no room" in _armed.look(site, 3600)
    state = site.ledger.state()
    assert state.run is None
    assert state.armed is not None
    assert _armed.look(site, 3600) == "somebody is at work"
    with site.ledger.locked():
        site.ledger.update(armed=replace(state.armed, last_seen=state.armed.last_seen - 61, boot=""))
    monkeypatch.setattr(_armed, "rollback", lambda site, _identity, _timeout: plan(site))
    assert _armed.look(site, 3600) == "1.1.0 was taken back"


@pytest.mark.parametrize("begun", [True, False], ids=["step", "plan"])
def test_a_secret_of_the_env_file_is_in_nothing_that_the_host_says_or_writes_down(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    monkeypatch.setattr(site, "env_file", EnvFile(tmp_path / ".env"))
    (tmp_path / ".env").write_text("RAILS_ENV=production\nSECRET_KEY_BASE=canary-4711\n")
    error = CommandError(["docker"], 1, "production: SECRET_KEY_BASE is canary-4711")
    arm(site)
    be_silent(site, 61)
    monkeypatch.setattr(_agent, "Site", lambda _profile: site)

    def made(site: Site, *_: object) -> Plan:
        if begun:
            return plan(site, error)
        raise error

    monkeypatch.setattr(_armed, "rollback", made)
    said, _ = _agent.look(site.ledger.root / "agent")
    assert said.endswith("docker ended with code 1: production: SECRET_KEY_BASE is ********")
    kept = {path.name: path.read_text() for path in site.ledger.root.rglob("*.json*")}
    assert "is ********" in next(text for name, text in kept.items() if name.endswith("-host.json"))
    assert [name for name, text in kept.items() if "canary" in text] == []


def test_a_host_that_cannot_look_says_why_without_a_secret(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "env_file", EnvFile(tmp_path / ".env"))
    (tmp_path / ".env").write_text("SECRET_KEY_BASE=canary-4711\n")
    arm(site)

    def fail(*_: object) -> None:
        raise SlipwayError("no such canary-4711")

    monkeypatch.setattr(_agent, "Site", lambda _profile: site)
    monkeypatch.setattr(_armed, "look", fail)
    assert _agent.look(site.ledger.root / "agent") == ("no such ********", 1)


def test_without_systemd_nothing_pretends_to_be_armed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_guard, "BOOTED", Path("/nowhere"))
    assert (_guard.cannot_arm() or "").startswith("not armed: systemd does not run here")
    assert _armed.arming(site, APPLICATION, "1.1.0", 60, 3600).done()
    assert site.ledger.state().armed is None


def test_a_ledger_without_the_word_is_one_that_is_not_armed(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text(
        '{"format": 1, "token": 3, "current": "1.0.0", "candidate": null, "run": null, "history": []}'
    )
    assert Ledger(tmp_path).state().armed is None
