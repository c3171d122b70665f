# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened in a run: collects the results of its tasks, makes one record of them and writes it."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._bounded import bounded
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._observation import timestamp

FORMAT = 1
OK, FAILED, UNREACHABLE, SKIPPED = "ok", "failed", "unreachable", "skipped"
DEPLOYED, ALREADY, TAKEN_BACK, FAILED_RUN, REFUSED, LOOKED_AT, NOT_BEGUN = (
    "deployed",
    "already runs",
    "taken back",
    "failed",
    "refused",
    "looked at",
    "not begun",
)
HIDDEN = "not shown: the task handles secrets"

_COLLECTION = "slipway.release."
# Actions that connect to no host.
_CONTROLLER_ONLY = frozenset(
    (
        "add_host",
        "assert",
        "debug",
        "fail",
        "group_by",
        "import_playbook",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "pause",
        "set_fact",
        "set_stats",
        "validate_argument_spec",
    )
)
# Modules of our own that connect to no host either.
_ON_CONTROLLER = frozenset(
    (
        "announce",
        "bundle",
        "check_arguments",
        "fleet_gate",
        "read_evidence",
        "read_feedback",
        "read_reports",
        "read_support",
        "rollback_criteria",
        "write_notes",
        "write_report",
        "write_support",
    )
)
# Phases in which nothing can change yet.
_BEFORE_ANYTHING = frozenset(("fleet", "verdict", "security", "release", "preflight"))
# Modules that bring a release in or take it out: after one of them failed, what runs is not known.
_MOVES_RELEASE = frozenset(("migrate", "switch", "rollback"))
_RUN_KEYS = ("id", "token", "verb", "release", "previous", "commit")
_OBSERVATION_KEYS = ("probe", "subject", "at", "value", "unit", "ok", "detail")


@dataclass(frozen=True)
class Ended:
    """A task that ended on a host.

    :param action: the task's action by its full name.
    :param phase: what `phase_of` says.
    :param result: the task's result; not looked at when `hidden`.
    :param ignored: it failed, and the play goes on regardless.
    :param hidden: it handles secrets (no_log).
    :param arguments: the task's arguments; only a few by name are looked at, and none when `hidden`.
    :param looped: the result holds one result an item.
    :param delegated: it ran on another host.
    """

    host: str
    task: str
    action: str
    phase: str | None
    status: str
    result: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = False
    ignored: bool = False
    hidden: bool = False
    looped: bool = False
    delegated: bool = False

    @property
    def ours(self) -> str | None:
        """The name of our module that ran, if it was one of ours."""
        return self.action[len(_COLLECTION) :] if self.action.startswith(_COLLECTION) else None

    @property
    def connects(self) -> bool:
        """Whether the action reaches the host."""
        if self.delegated or self.status == SKIPPED or self.ours in _ON_CONTROLLER:
            return False
        namespace, _, name = self.action.rpartition(".")
        return not (namespace in {"", "ansible.builtin", "ansible.legacy"} and name in _CONTROLLER_ONLY)

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        """The results that may be looked at: one an item of a loop, else one."""
        results = self.result.get("results") if self.looped else None
        found = results if isinstance(results, list) else [self.result]
        return [] if self.hidden else [part for part in found if isinstance(part, Mapping) and "censored" not in part]

    @property
    def calls(self) -> int:
        """How often the host was called; a retry is a call too."""
        results = self.result.get("results") if self.looped else None
        items = results if isinstance(results, list) else [self.result]
        ran = [item for item in items if isinstance(item, Mapping) and not item.get("skipped")]
        return sum(max(_count(item.get("attempts")), 1) for item in ran) if self.connects else 0

    @property
    def message(self) -> str:
        """Why it failed, in one piece of text."""
        if self.hidden or not self.parts:
            return HIDDEN
        failed = [part for part in self.parts if part.get("failed") or "exception" in part] or self.parts
        texts = dict.fromkeys(str(part["msg"]) for part in failed if part.get("msg"))
        return str(bounded("; ".join(texts) or "no reason was given"))


def phase_of(role: str | None, path: str | None) -> str | None:
    """The phase of a run that a task belongs to: its role; the role `deploy` has an entry point for each of its phases.

    :param role: the role's name, with or without its collection.
    :param path: the task's `FILE:LINE`.
    """
    if role is None:
        return None
    name = role.rpartition(".")[2]
    if name != "deploy":
        return name
    file = PurePosixPath((path or "").rpartition(":")[0])
    # checking a role's arguments has the path of the play, and is none of the phases
    return file.stem if file.parent.name == "tasks" else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@dataclass
class _Phase:
    name: str
    began: float
    ended: float
    ok: bool

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "seconds": round(self.ended - self.began, 3), "ok": self.ok}


@dataclass
class _Host:
    """What is known of one host while the run goes on.

    :param refused: whether preflight refused; None before it spoke.
    :param moved: something may have been brought in or out.
    :param went_back: the release was taken back.
    :param current_known: `current` is what runs, whatever failed.
    """

    application: str | None = None
    verb: str | None = None
    asked: str | None = None
    run: dict[str, Any] | None = None
    already: bool = False
    refused: bool | None = None
    began: float = 0.0
    phases: list[_Phase] = field(default_factory=list)
    observations: list[dict[str, Any]] = field(default_factory=list)
    verdict: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    failed: dict[str, str] | None = None
    announced: list[dict[str, Any]] = field(default_factory=list)
    moved: bool = False
    went_back: bool = False
    taken_back: str | None = None
    current: str | None = None
    current_known: bool = False
    concluded: bool = False
    logs: str | None = None
    pushed_back: int = 0
    at_work: list[str] = field(default_factory=list)
    lost: bool = False
    remote_calls: int = 0
    rails_boots: int = 0
    changed: int = 0


class Collector:
    """Collects a run, task by task.

    :param check_mode: the run changes nothing.
    :param inventory: what the command line named, for the commands that come next.
    """

    def __init__(
        self, playbook: str, *, check_mode: bool, inventory: Sequence[str] = (), clock: Clock | None = None
    ) -> None:
        self.playbook = playbook
        self.inventory = list(inventory)
        self.check_mode = check_mode
        self._clock = clock or Clock()
        self._started = self._clock.now()
        self._began = self._clock.monotonic()
        self._hosts: dict[str, _Host] = {}
        self._waves: list[list[str]] = []
        self._fleet: list[str] = []
        self.ours = False

    def wave(self, hosts: Sequence[str], fleet: Sequence[str]) -> None:
        """A play begins on some of the hosts that it is for, or on all."""
        if len(hosts) < len(fleet):
            self._waves.append(list(hosts))
            self._fleet = list(fleet)

    def begin(self, host: str) -> None:
        """A task begins on a host."""
        self._hosts.setdefault(host, _Host()).began = self._clock.monotonic()

    def end(self, event: Ended, *, of_our_role: bool = False) -> None:
        """A task ended on a host."""
        if event.host not in self._hosts:
            self.begin(event.host)
        host = self._hosts[event.host]
        if event.status == SKIPPED:
            return
        self.ours = self.ours or of_our_role or event.ours is not None
        self._time(host, event)
        host.remote_calls += event.calls
        host.changed += event.changed
        for part in event.parts:
            self._read(host, event, part)
        if event.status in {FAILED, UNREACHABLE}:
            self._failed(host, event)

    def _time(self, host: _Host, event: Ended) -> None:
        if event.phase is None:
            return
        now, good = self._clock.monotonic(), event.status == OK or event.ignored
        if host.phases and host.phases[-1].name == event.phase:
            host.phases[-1].ended = now
            host.phases[-1].ok &= good
        else:
            host.phases.append(_Phase(event.phase, host.began, now, good))

    def _read(self, host: _Host, event: Ended, part: Mapping[str, Any]) -> None:
        observations = part.get("observations")
        for item in observations if isinstance(observations, list) else ():
            if isinstance(item, Mapping):
                host.observations.append({key: bounded(item.get(key)) for key in _OBSERVATION_KEYS})
        told = part.get("announce_outcome")
        host.announced += bounded(told) if isinstance(told, list) else []
        host.rails_boots += _count(part.get("rails_boots"))
        if event.ours is None or event.delegated:
            # what a module of ours says of another host is not this one's
            return
        host.lost |= bool(part.get("lost_host"))
        host.application = host.application or bounded(_mapping(event.arguments.get("application")).get("name"))
        if isinstance(part.get("logs"), str):
            host.logs = bounded(part["logs"])
        host.pushed_back += _count(part.get("pushed_back"))
        at_work = part.get("at_work")
        host.at_work += map(str, bounded(at_work)) if isinstance(at_work, list) else []
        if isinstance(part.get("run"), Mapping):
            host.run = {key: bounded(part["run"].get(key)) for key in _RUN_KEYS}
        if isinstance(part.get("verdict"), Mapping) and event.ours == "rollback_criteria":
            self._judged(host, bounded(part["verdict"]), empty=part.get("judged") == 0)
        self._read_ours(host, event, part)

    def _read_ours(self, host: _Host, event: Ended, part: Mapping[str, Any]) -> None:
        """Read what one of our modules returns when it succeeds: `failed_when` may hide that it did not."""
        host.moved |= event.ours in _MOVES_RELEASE and not self.check_mode
        if event.ours == "preflight":
            host.verb = bounded(event.arguments.get("verb"))
            host.asked = bounded(event.arguments.get("version"))
            host.already = bool(part.get("already"))
            # a refusal names its gates, or comes before any is looked at; adopting may fail later than that
            host.refused = "run" not in part and bool(part.get("failures") or not part.get("observations"))
            if host.run is not None:
                host.current = host.run["previous"]
        elif event.ours == "rollback" and "standing" in part:
            host.taken_back = bounded(part.get("taken_back"))
            host.went_back = host.taken_back is not None and not self.check_mode
            # also where nothing had come in: the release before was seen to be in service
            if not self.check_mode:
                host.current, host.current_known = bounded(part["standing"]), True
        elif event.ours == "conclude" and "current" in part:
            host.concluded = not self.check_mode
            # the ledger's word; after a move that failed it says what stood, not what runs
            host.current_known |= not host.moved or host.failed is None
            host.current = bounded(part["current"])
        elif event.ours == "status":
            host.current = bounded(_mapping(part.get("status")).get("current"))

    @staticmethod
    def _judged(host: _Host, verdict: dict[str, Any], *, empty: bool) -> None:
        """Keep a verdict; the release before is judged at the deadline, else a verdict is on the release that came in.

        :param empty: there was nothing to judge; such a verdict says something only when it says to go back.
        """
        if host.went_back and verdict.get("deadline"):
            host.after = verdict
        elif empty and verdict.get("overall") != "rollback":
            return
        elif host.verdict is None or host.verdict.get("overall") != "rollback":
            host.verdict = verdict

    def _failed(self, host: _Host, event: Ended) -> None:
        host.lost |= event.status == UNREACHABLE
        judged = event.ours == "rollback_criteria" and any(part.get("verdict") for part in event.parts)
        known = host.failed is not None or host.refused or (host.verdict or {}).get("overall") == "rollback"
        repeats = known and event.action.rpartition(".")[2] == "fail"
        if not judged and not repeats and not any(part.get("observations") for part in event.parts):
            values: tuple[object, ...] = ("task", event.task, timestamp(self._clock.now()), None, None, False)
            host.observations.append(
                {key: bounded(value) for key, value in zip(_OBSERVATION_KEYS, (*values, event.message))}
            )
        if host.failed is None and not event.ignored:
            host.failed = {"task": str(bounded(event.task)), "msg": event.message}

    def record(self, failed: Iterable[str]) -> dict[str, Any]:
        """The record of the run, ready for JSON.

        :param failed: the hosts for which the run ended in failure.
        """
        lost = set(failed)
        ended = self._clock.now()
        not_begun = [name for name in self._fleet if name not in self._hosts]
        runs = [host.run for host in self._hosts.values() if host.run is not None]
        verbs = [host.verb for host in self._hosts.values() if host.verb is not None]
        return {
            "format": FORMAT,
            "run": runs[0] if runs else None,
            "verb": next((run["verb"] for run in runs if run["verb"]), None)
            or next(iter(verbs), PurePosixPath(self.playbook).stem),
            "playbook": str(bounded(self.playbook)),
            "inventory": bounded(self.inventory),
            "check_mode": self.check_mode,
            "started": timestamp(self._started),
            "ended": timestamp(ended),
            "seconds": round(self._clock.monotonic() - self._began, 3),
            "fleet": {"waves": self._waves, "not_begun": not_begun} if self._waves else None,
            "hosts": {
                **{name: self._host(host, failed=name in lost) for name, host in self._hosts.items()},
                **{name: {**self._host(_Host(), failed=False), "outcome": NOT_BEGUN} for name in not_begun},
            },
        }

    def _host(self, host: _Host, *, failed: bool) -> dict[str, Any]:
        outcome = self._outcome(host, failed=failed)
        unknown = outcome == FAILED_RUN and host.moved and not host.current_known
        return {
            "application": host.application,
            "release": (host.run or {}).get("release") or host.taken_back or host.asked,
            "outcome": outcome,
            "release_running": None if unknown else host.current,
            "run": host.run,
            "phases": [phase.to_dict() for phase in host.phases],
            "observations": host.observations,
            "verdict": host.verdict,
            "after": host.after,
            "failed": host.failed if failed else None,
            "announced": host.announced,
            "lost": host.lost,
            "pushed_back": {"jobs": host.pushed_back, "at_work": host.at_work} if host.pushed_back else None,
            "logs": host.logs,
            "remote_calls": host.remote_calls,
            "rails_boots": host.rails_boots,
            "changed": host.changed,
        }

    def _outcome(self, host: _Host, *, failed: bool) -> str:
        if host.went_back:
            return TAKEN_BACK
        if failed:
            # nothing can have changed before preflight spoke, nor on a host that did not answer once
            silent = host.lost and host.remote_calls == 1
            early = host.phases != [] and {phase.name for phase in host.phases} <= _BEFORE_ANYTHING
            untouched = host.refused is None and host.changed == 0 and (silent or early)
            return REFUSED if host.refused or untouched else FAILED_RUN
        if host.already:
            return ALREADY
        run = host.run or {}
        if run.get("verb") != "deploy" or self.check_mode:
            return LOOKED_AT
        if host.concluded and host.current == run.get("release"):
            return DEPLOYED
        # opened and never closed: `--tags` or the like left the rest out
        return FAILED_RUN if run.get("token") else LOOKED_AT


def write(record: Mapping[str, Any], directory: Path) -> Path:
    """Write a record into a directory, readable by its owner alone, and point `latest.json` at it.

    :raises OSError: it cannot be written; nothing half written is left.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    started = datetime.fromisoformat(record["started"].replace("Z", "+00:00")).astimezone(timezone.utc)
    verb = re.sub(r"[^A-Za-z0-9_-]+", "_", record["verb"])[:40]
    stem = f"{started:%Y%m%dT%H%M%SZ}-{verb}"
    draft = directory / f".{secrets.token_hex(8)}"
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # what is no character is escaped in JSON as well
        with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
            json.dump(record, stream, indent=2, ensure_ascii=False, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        target = _link(draft, directory, stem)
    finally:
        draft.unlink(missing_ok=True)
    try:
        draft.symlink_to(target.name)
        draft.replace(directory / "latest.json")
    finally:
        draft.unlink(missing_ok=True)
    return target


def _link(draft: Path, directory: Path, stem: str) -> Path:
    number = 1
    while True:
        target = directory / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            os.link(draft, target)
        except FileExistsError:
            number += 1
        else:
            return target
