"""Runs as the collector sees them, told by what the modules return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.plugin_utils._run_record import FAILED, OK, Collector, Ended

RUN = {
    "id": "20261123T080000Z-deploy",
    "token": 7,
    "verb": "deploy",
    "release": "1.2.0",
    "previous": "1.1.0",
    "commit": "c0ffee",
}
ARGUMENTS = {
    "application": {"name": "swarm", "login": {"form": {"session[password]": "canary"}}},
    "verb": "deploy",
    "version": "1.2.0",
}


def seen(probe: str, subject: str, detail: str, **changes: object) -> dict[str, Any]:
    """An observation."""
    item = {"probe": probe, "subject": subject, "at": "2026-11-23T08:00:00.000Z", "value": None, "unit": None}
    return {**item, "ok": True, "detail": detail, **changes}


def verdict(overall: str, **changes: object) -> dict[str, Any]:
    """A verdict in which R2 says what counts."""
    broken = seen("flow", "create a test campaign", "POST /campaigns answered 500, expected 302 or 303", ok=False)
    finding = {
        "id": "R2",
        "title": "Critical functionality broken",
        "mode": "enforce",
        "verdict": overall,
        "reason": "seen well: page, service" if overall == "hold" else "create a test campaign: answered 500",
        "count": 1,
        "looks": 1,
        "threshold": None,
        "observations": [] if overall == "hold" else [broken],
        **changes,
    }
    first = {**finding, "id": "R1", "title": "Database migrations fail", "verdict": "hold", "observations": []}
    return {"overall": overall, "criteria": [{**first, "reason": "seen well: migration"}, finding]}


def clock() -> Clock:
    """A clock on which each look takes half a second."""
    ticks: Iterator[int] = count()
    begin = datetime(2026, 11, 23, 8, tzinfo=UTC)
    return Clock(now=lambda: begin + timedelta(seconds=next(ticks)), monotonic=lambda: next(ticks) / 2)


@dataclass
class Story:
    """Tells a run to a collector."""

    check_mode: bool = False
    playbook: str = "playbooks/deploy.yml"
    failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.collector = Collector(self.playbook, check_mode=self.check_mode, clock=clock())

    def task(self, action: str, result: dict[str, Any] | None = None, **changes: object) -> Story:
        """A task ends on the host, well unless told otherwise."""
        name = action.rpartition(".")[2]
        given: dict[str, Any] = {
            "host": "site1",
            "task": name,
            "phase": name,
            "status": OK,
            "result": result or {},
            **changes,
        }
        self.collector.begin(given["host"])
        self.collector.end(Ended(action=action, **given))
        if given["status"] != OK and not given.get("ignored"):
            self.failed.add(given["host"])
        return self

    def ours(self, module: str, result: dict[str, Any] | None = None, **changes: object) -> Story:
        """One of our modules ends."""
        return self.task(f"slipway.release.{module}", result, **{"arguments": ARGUMENTS, **changes})

    def opened(self, **changes: object) -> Story:
        """Preflight lets the run pass."""
        return self.ours("preflight", {"run": {**RUN, **changes}, "already": False, "observations": []})

    def judged(self, overall: str, *, deadline: bool = False, judged: int = 1, **changes: object) -> Story:
        """The judge speaks."""
        spoken = {**verdict(overall, **changes), "deadline": deadline}
        return self.ours("rollback_criteria", {"verdict": spoken, "judged": judged}, phase="verdict")

    def fails(self, message: str, **changes: object) -> Story:
        """The play fails with what it knows."""
        return self.task("ansible.builtin.fail", {"msg": message}, **{"status": FAILED, "phase": "verdict", **changes})

    def record(self, *failed: str) -> dict[str, Any]:
        """The record at the end."""
        return self.collector.record({*self.failed, *failed})

    def host(self) -> dict[str, Any]:
        """What the record says of the host."""
        host: dict[str, Any] = self.record()["hosts"]["site1"]
        return host


def good_deploy() -> Story:
    """A release comes in and stands."""
    story = Story().opened()
    story.ours("stage", {"changed": True}, changed=True)
    story.ours("backup", {"rails_boots": 0}, changed=True)
    story.ours("migrate", {"rails_boots": 1, "observations": [seen("migration", "migrate", "2 applied")]}, changed=True)
    story.ours("switch", {"rails_boots": 0}, changed=True)
    story.judged("inconclusive").judged("hold")
    return story.ours("conclude", {"current": "1.2.0"})


def bad_deploy() -> Story:
    """A release comes in, is found bad and is taken back."""
    story = Story().opened()
    story.ours("stage", changed=True).ours("switch", changed=True)
    broken = seen("flow", "create a test campaign", "answered 500", ok=False)
    story.ours("probe", {"observations": [broken]}, phase="smoke_test")
    story.judged("rollback").fails("R2 Critical functionality broken: create a test campaign: answered 500")
    back = {"taken_back": "1.2.0", "standing": "1.1.0", "rails_boots": 1, "logs": "/var/lib/slipway/swarm/logs/7"}
    story.ours("rollback", back, changed=True)
    story.judged("hold", deadline=True).ours("conclude", {"current": "1.1.0"})
    return story.fails("1.2.0 was taken back, 1.1.0 runs")


def refused() -> Story:
    """Two gates do not hold."""
    gates = [
        seen("gate", "docker", "26.1.5"),
        seen(
            "gate", "disk", "12 GB needed, 3 GB free on /var/lib/docker: free some, or 'docker image prune'", ok=False
        ),
        seen("gate", "secrets", "SECRET_KEY_BASE is missing in /opt/swarm/.env: add it", ok=False),
    ]
    failures = [f"{item['subject']}: {item['detail']}" for item in gates if not item["ok"]]
    story = Story().ours("preflight", {"failures": failures, "observations": gates, "msg": "; ".join(failures)})
    return story.fails("deploy of 1.2.0 is refused, nothing was changed")
