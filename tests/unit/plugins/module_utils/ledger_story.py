"""A site's ledger as a host has it after months: releases that came in, one that was watched, one that went back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ansible_collections.slipway.release.plugins.module_utils._certificate import Certificate
from ansible_collections.slipway.release.plugins.module_utils._criteria import State, judge, parse
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.module_utils._ledger import (
    WATCHED,
    Before,
    Candidate,
    Ledger,
    Release,
)
from ansible_collections.slipway.release.plugins.module_utils._manifest import write_manifest
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._stored import StoredFile
from ansible_collections.slipway.release.plugins.module_utils._watch import Memory

from .application import PROFILE

# 2026-11-16, 20:00 UTC
EVENING = 1_794_859_200.0
DAY = 86400.0
PAGES = {"/agents": 0.31, "/campaigns": 0.52, "/system_health": 0.12}
CRITERIA = parse(
    [
        {"id": "R1", "title": "Database migrations fail", "probes": ["migration"]},
        {
            "id": "R2",
            "title": "Critical functionality broken",
            "probes": ["switch", "service", "worker", "health", "flow", "page"],
            "required": ["service", "page"],
        },
        {"id": "R3", "title": "A page takes over 5 seconds", "probes": ["page"], "over": 5, "unit": "s", "looks": 3},
        {"id": "R4", "title": "Data corrupted or lost", "probes": ["data", "schema", "backup", "rollback"]},
        {"id": "C2", "title": "A cache is not warm", "mode": "warn", "probes": ["cache"]},
    ]
)
FEEDBACK: dict[str, Any] = {
    "release": "1.1.0",
    "bugs": [
        {
            "severity": "medium",
            "date": "2026-11-18",
            "text": "The progress bar jumps back to 0 % when a campaign is paused",
        },
        {
            "severity": "low",
            "date": "2026-11-20",
            "text": "The priority column is not translated",
            "fixed": "2026-11-21",
        },
    ],
    "feedback": [
        {
            "score": 1,
            "customer": "Harbour operations",
            "date": "2026-11-19",
            "text": "Priorities save us an hour a day.",
        },
        {"score": 0, "customer": "Night shift", "date": "2026-11-20", "text": "Works as before, found nothing wrong."},
    ],
    "support": {"this_week": 4, "week_before": 9},
    "issues": [{"date": "2026-11-16", "text": "The maintenance window was announced to the wrong mailing list"}],
}


def seen(probe: str, subject: str, at: str, detail: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 plain data
    """An observation."""
    given = {"value": None, "unit": None, "ok": True, **changes}
    return Observation(probe, subject, at, detail=detail, **given).to_dict()


def load_time(page: str, number: float) -> float:
    """How long a page takes in a look: more by day than by night."""
    by_day = 1 + 0.35 * math.sin(number / 229) + 0.08 * math.sin(number * 1.7) + 0.05 * math.sin(number * 0.37)
    return round(PAGES[page] * by_day, 3)


class Story:
    """Tells a site's months to a real ledger.

    :param hostile: what stands in every text that others write.
    """

    def __init__(self, root: Path, hostile: str = "") -> None:
        self.now = EVENING
        self.hostile = hostile
        alert = {
            "webhook": "https://hooks.example.test/canary",
            "mail": {"server": "mail", "from": "a@b", "to": ["ops@example.test"]},
        }
        profile = Profile.parse({**PROFILE, "watch": {"alert": alert}})
        self.ledger = Ledger(root / "swarm", lambda: self.now, lambda: ("", 0.0))
        self.site = cast(
            "Site",
            SimpleNamespace(
                profile=profile, ledger=self.ledger, backups=self.ledger.root / "backups", at_rest=nullcontext
            ),
        )
        with self.ledger.locked():
            self.ledger.save_release(Release("1.0.0", "0" * 40, {}, {}, ["20260105090000"], adopted=True))
            self.ledger.update(current="1.0.0")
        (self.ledger.root / "watch").mkdir()

    def at(self, later: float = 0.0) -> str:
        """The time, `later` seconds from now."""
        return self.ledger.moment(self.now + later)

    def step(self, version: str, plan: str, name: str, took: float, **failed: str) -> None:
        """A step of a plan."""
        about = {"plan": plan, "release": version, "step": name}
        self.ledger.journal({**about, "event": "begin"})
        self.now += took
        self.ledger.journal({**about, "event": "failed" if failed else "done", **failed})

    def deploy(self, version: str, *, broken: str | None = None, owner: str = "anna@controller") -> str:
        """Deploy a release; `broken` is what a flow of it says. Returns the run's id."""
        ledger, old = self.ledger, self.ledger.state().current
        identity = f"{ledger.moment(self.now).replace('-', '').replace(':', '')}-deploy"
        new = f"2026{version.replace('.', '')}080000"
        with ledger.locked():
            known = ledger.known_release(str(old))
            run = ledger.open_run(identity, "deploy", owner, version)
            images = {"web": "sha256:" + "a" * 64, "worker": "sha256:" + "b" * 64}
            ledger.save_release(Release(version, version[0] * 40, images, {}, [*known.migrations, new]))
            ledger.update(candidate=Candidate(version, "staged", Before(old, known.migrations, "c" * 64)))
            self.step(version, "stage", "fetch the source", 1.2)
            self.step(version, "stage", "build the images", 6.1)
            self.step(version, "backup", "dump the database", 3.4)
            self.backup(identity, f"before {version}", str(old))
            ledger.enter("backed_up", backup=identity)
            self.step(version, "rehearse", "restore the backup", 5.0)
            self.step(version, "rehearse", "try the migrations and the way back", 8.0)
            ledger.save_certificate(self.certificate(version, identity, new))
            self.step(version, "migrate", "run db:migrate", 4.0)
            self.step(version, "switch", "start the release beside what runs", 9.0)
            self.step(version, "switch", "tell the proxy", 2.0)
            observations = self.evidence(broken)
            _, verdict = judge(CRITERIA, State(), [Observation.from_dict(item) for item in observations])
            self.now += 14
            if broken is not None:
                self.step(version, "rollback", "undo the migrations", 3.0)
                self.step(version, "rollback", "let the release before answer", 7.0)
                history = ledger.event(version, "taken back", to=old)
                ledger.update(candidate=None, history=history)
                self.backup(f"{identity}-rollback", f"before {version} is taken back", version)
            evidence = {"verdict": verdict.to_dict(), "observations": observations}
            ledger.close_run(run, evidence, promote=broken is None)
        return identity

    def backup(self, identity: str, reason: str, release: str) -> None:
        """A backup that lies on the host."""
        place = self.site.backups / identity
        place.mkdir()
        content = {"id": identity, "reason": reason, "created": self.at(), "release": release}
        write_manifest(
            place, {**content, "database": {"bytes": 4e8}}, {"database/toc.dat": StoredFile(83_400_000, "d" * 64)}
        )

    def certificate(self, version: str, backup: str, new: str) -> Certificate:
        """What the rehearsal found."""
        return Certificate(
            version,
            version[0] * 40,
            backup,
            self.at(),
            [new],
            drops={"public.campaigns.priority": 0},
            side_by_side_wrong=[],
            old_code_wrong=[],
            locks={"campaigns": "AccessExclusiveLock"},
            writes={"campaigns": [0, 1200, 0]},
            rows={"campaigns": 1200},
            seconds={"restore": 5.0, "migrate": 1.4, "down": 0.9},
            proven=True,
        )

    def evidence(self, broken: str | None) -> list[dict[str, Any]]:
        """What the deploy saw."""
        found = [
            seen("backup", "backup", self.at(-30), "dump the database"),
            seen("rehearsal", "rehearse", self.at(-17), f"all was as before{self.hostile}"),
            seen("migration", "migrate", self.at(-12), "run db:migrate"),
            seen("switch", "switch", self.at(), "tell the proxy"),
            seen("service", "web", self.at(1), "2 of 2", value=2, unit="containers"),
            seen("service", "worker", self.at(1), "1 of 1", value=1, unit="containers"),
            seen("worker", "sidekiq", self.at(1), "1 process", value=1, unit="processes"),
            seen("health", "database", self.at(2), "healthy"),
            seen("cache", "agents/metrics", self.at(2), "299 s left", value=299.0, unit="s"),
        ]
        for look in range(4):
            found += [
                seen(
                    "page",
                    page + self.hostile,
                    self.at(2 + 3 * look),
                    "200, 3 assets",
                    value=load_time(page, look),
                    unit="s",
                )
                for page in PAGES
            ]
        ok, detail = broken is None, (broken or "6 steps") + self.hostile
        return [*found, seen("flow", "create a test campaign", self.at(5), detail, value=0.8, unit="s", ok=ok)]

    def watch(
        self, version: str, *, looks: int = 1440, outcome: str | None = "proven", kinds: tuple[str, ...] = ()
    ) -> None:
        """The host looks after the release; at two looks a worker was away, at one a page could not be seen."""
        begun, directory, whole = self.now, self.ledger.root / "watch", 0
        for number in range(looks):
            self.now = begun + 60 * (number + 1)
            bad = []
            if number in {400, 401}:
                bad = [
                    seen(
                        "worker",
                        "sidekiq",
                        self.at(),
                        f"no process beats{self.hostile}",
                        value=0,
                        unit="processes",
                        ok=False,
                    )
                ]
            if number == 900:
                bad = [seen("page", "/agents", self.at(), "no answer within 15 s", unit="s", ok=None)]
            pages = {page + self.hostile: load_time(page, number) for page in PAGES}
            line = {
                "at": self.at(),
                "verdict": "inconclusive" if bad and bad[0]["ok"] is False else "hold",
                "seen": sorted({"health", "page", "service", "worker", *kinds}),
                "pages": pages,
                "not_ok": bad,
            }
            whole += 1
            with (directory / "looks.jsonl").open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        memory = Memory(version, looks=looks, whole=whole)
        write_file(directory / "state.json", json.dumps(vars(memory)).encode())
        if outcome is not None:
            with self.ledger.locked():
                history = self.ledger.event(
                    version, WATCHED, by="the host itself", outcome=outcome, reason=f"{looks} looks"
                )
                self.ledger.update(history=history)

    def alert(self, version: str, event: str, reason: str, what_next: str) -> None:
        """People are told."""
        message: Mapping[str, Any] = {
            "at": self.at(),
            "release": version,
            "event": event,
            "reason": reason,
            "next": what_next,
        }
        with (self.ledger.root / "watch" / "alerts.jsonl").open("a") as stream:
            stream.write(json.dumps(message) + "\n")


def months(root: Path, hostile: str = "") -> Story:
    """1.1.0 came in and proved itself, 1.2.0 was taken back ten days later."""
    story = Story(root, hostile)
    story.deploy("1.1.0")
    story.alert("1.1.0", "blind", f"no evidence of page in 5 looks{hostile}", "see watch/looks.jsonl")
    story.watch("1.1.0")
    story.now = EVENING + 10 * DAY
    story.deploy("1.2.0", broken="POST /campaigns: 500, expected 302 or 303", owner="ben@awx-job-17")
    story.now += 60
    return story
