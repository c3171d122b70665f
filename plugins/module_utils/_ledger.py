# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: what runs on this site, what ran before, who works on it now, and which steps were begun.

One directory a site, on the host, so that it survives the controller:

    ledger.json       the state below, replaced atomically
    lock              the flock that every state-changing process holds from its beginning to its end
    journal.jsonl     the write-ahead record: a line before and after each step
    releases/VERSION/ the release's record, its source, what it replaced, its certificate, how people found it
    backups/ID/       dumps and their manifests
    runs/ID.json      the evidence and the verdict of each run
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, TypeVar

from ._certificate import Certificate
from ._errors import LockedError, OutOfOrderError, SlipwayError
from ._files import entry_of, read_record, write_record
from ._observation import parse_timestamp

FORMAT = 1
CONTROLLER_TIMEOUT = 900.0

# The events with which a watch and a restore end: the release stands as it did.
WATCHED, RESTORED = "watched", "restored"

# The event with which a way back ends, and what it says of migrations that stayed applied.
TAKEN_BACK, KEPT = "taken back", "kept_migrations"

PHASES = ("staged", "backed_up", "rehearsed", "migrating", "migrated", "switching", "switched")

# How many of the latest records are looked through for one.
_RECENT = 30

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Release:
    """One immutable release: `images` maps a Compose service to an image id, `references` to the name Compose uses.

    :param compose_files: of which its containers are made; None in a record of old: those of the profile.
    :param compose_profiles: Compose's own, which were switched on for it; None in a record of old.
    """

    version: str
    commit: str
    images: dict[str, str]
    references: dict[str, str]
    migrations: list[str]
    adopted: bool = False
    compose_files: list[str] | None = None
    compose_profiles: list[str] | None = None


@dataclass(frozen=True)
class Before:
    """What a candidate replaces: the state that a rollback must return to.

    :param version: the release that stood; None on a first install.
    :param migrations: the versions that were applied to the database.
    :param schema: SHA-256 of the normalised schema; None when there was no database yet.
    :param backup: the id of the backup taken for this release; None until there is one.
    """

    version: str | None
    migrations: list[str]
    schema: str | None
    backup: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A release on its way in, and the last phase that it entered (one of PHASES).

    :param stood: it stood already, and is on its way out.
    """

    version: str
    phase: str
    before: Before
    stood: bool = False

    def reached(self, phase: str) -> bool:
        """Whether the candidate has entered `phase`, or one after it."""
        return PHASES.index(self.phase) >= PHASES.index(phase)


@dataclass(frozen=True)
class Run:
    """Who works on this site now. `token` is the fencing token: a higher one ends an older run's rights.

    :param last_seen: seconds since the epoch, when a call of it last began or ended.
    :param release: the release that it is about, where it is about one.
    :param timeout: seconds of silence after which its controller counts as dead.
    :param excused: gates that did not have to hold: which, why, by whom and when.
    :param boot: the boot of the host that it was last seen in, and `uptime` the seconds since that began.
    """

    id: str
    token: int
    verb: str
    owner: str
    started: str
    last_seen: float
    release: str | None = None
    timeout: float = CONTROLLER_TIMEOUT
    excused: list[dict[str, str]] = field(default_factory=list)
    boot: str = ""
    uptime: float = 0.0


@dataclass(frozen=True)
class Armed:
    """That the host takes `release` back by itself when nobody has been heard of for `timeout` seconds.

    :param last_seen: seconds since the epoch, as `boot` and `uptime` of a run; counts where no run is open.
    """

    release: str
    timeout: float
    last_seen: float
    boot: str = ""
    uptime: float = 0.0


@dataclass(frozen=True)
class Watch:
    """That the host looks after `release`, which stands.

    :param begun: seconds since the epoch, as `until` is.
    :param breach: why it is to go back, once a look said so; None until then.
    """

    release: str
    begun: float
    until: float
    breach: str | None = None


@dataclass(frozen=True)
class Restoring:
    """A restore that was begun.

    :param saved: the id of the backup of the state before it.
    :param stamp: ends the names under which the database and the uploads before it are kept.
    :param uploads: whether uploads go back too.
    """

    backup: str
    saved: str
    stamp: str
    uploads: bool

    @property
    def description(self) -> str:
        """What it is, in words."""
        return f"the restore of {self.backup} was begun and did not end"

    @property
    def command(self) -> str:
        """What goes on with it."""
        uploads = " -e restore_uploads=true" if self.uploads else ""
        return f"playbooks/restore.yml -e restore_backup={self.backup}{uploads}"


@dataclass(frozen=True)
class State:
    """All that changes: the release that stands, the one on its way in, the run that is open, what happened."""

    token: int = 0
    current: str | None = None
    candidate: Candidate | None = None
    run: Run | None = None
    restoring: Restoring | None = None
    armed: Armed | None = None
    watch: Watch | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def _record(kind: type[_Record], data: Mapping[str, Any]) -> _Record:
    """Build a dataclass from stored JSON; what a newer version added is left out."""
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]  # each kind is a dataclass
    return kind(**{name: value for name, value in data.items() if name in known})


def _state(data: Mapping[str, Any]) -> State:
    candidate, run, restoring, armed = data["candidate"], data["run"], data.get("restoring"), data.get("armed")
    watch = data.get("watch")
    return State(
        token=data["token"],
        current=data["current"],
        candidate=candidate and _record(Candidate, {**candidate, "before": _record(Before, candidate["before"])}),
        run=run and _record(Run, run),
        restoring=restoring and _record(Restoring, restoring),
        armed=armed and _record(Armed, armed),
        watch=watch and _record(Watch, watch),
        history=data["history"],
    )


def since_boot() -> tuple[str, float]:
    """Which boot of the host this is, "" where nobody knows, and the seconds since it began: nobody sets that clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "", 0.0
    return boot, time.clock_gettime(time.CLOCK_BOOTTIME)


class Ledger:
    """The ledger of one site.

    :param root: the site's directory; made on the first write.
    :param clock: seconds since the epoch.
    :param uptime: which boot this is, and the seconds since it began.
    """

    def __init__(
        self,
        root: Path,
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], tuple[str, float]] = since_boot,
    ) -> None:
        self.root = root
        self._clock, self._uptime = clock, uptime
        self._held = False
        # the open lock, for the commands that must keep the site busy as long as they work
        self.descriptors: tuple[int, ...] = ()
        # called before the flock is given up: whatever inherited it would go on holding it
        self.before_release: Callable[[], None] = lambda: None

    # reading

    def state(self) -> State:
        """The state as it stands; an empty one where no ledger is."""
        path = self.root / "ledger.json"

        def build(data: dict[str, Any]) -> State:
            if data.get("format") != FORMAT:
                raise SlipwayError(
                    f"{path} has format {data.get('format')}, this version reads {FORMAT}: "
                    "use the Slipway that wrote it"
                )
            return _state(data)

        return read_record(path, build) or State()

    def release(self, version: str) -> Release | None:
        """The record of a release that was built or adopted here, or None."""
        return read_record(self.release_directory(version) / "release.json", partial(_record, Release))

    def known_release(self, version: str) -> Release:
        """The record of a release that must be here."""
        release = self.release(version)
        if release is None:
            raise SlipwayError(
                f"release {version} has no record in {self.root / 'releases'}: it was never built or adopted here"
            )
        return release

    def before(self, version: str) -> Before | None:
        """What a release replaced when it came in; None for one that was adopted."""
        return read_record(self.release_directory(version) / "before.json", partial(_record, Before))

    def certificate(self, version: str) -> Certificate | None:
        """What the rehearsal of a release found; None when there was none."""
        return read_record(self.release_directory(version) / "certificate.json", partial(_record, Certificate))

    def baseline(self, version: str) -> dict[str, Any]:
        """How the data was before a release touched it; empty when nobody looked."""
        return read_record(self.release_directory(version) / "baseline.json", dict) or {}

    def duration(self, release: str) -> tuple[str, float] | None:
        """When the last deploy of a release began, and how many seconds it took; None when no record says so."""

        def took(record: dict[str, Any]) -> tuple[str, float] | None:
            if record.get("release") != release or "ended" not in record:
                return None
            begun, ended = (parse_timestamp(record[key]) for key in ("started", "ended"))
            return record["started"], (ended - begun).total_seconds()

        paths = sorted((self.root / "runs").glob("*-deploy.json"), reverse=True)[:_RECENT]
        for path in paths:
            # one that is damaged says nothing, and keeps nobody from deploying
            with suppress(SlipwayError):
                found = read_record(path, took)
                if found is not None:
                    return found
        return None

    def assessment(self, version: str) -> dict[str, Any] | None:
        """How people found that a release did; None when nobody assessed it, or it cannot be read."""
        try:
            return entry_of((self.release_directory(version) / "assessment.json").read_text("utf-8", "replace"))
        except FileNotFoundError:
            return None

    def check_unchanged(self, version: str, commit: str) -> None:
        """Refuse a version that this site knows as another commit."""
        known = self.release(version)
        if known is not None and known.commit != commit:
            raise SlipwayError(
                f"release {version} was commit {known.commit[:12]} on this site and is now {commit[:12]}: "
                "releases never change, give the new one a version of its own"
            )

    def release_directory(self, version: str) -> Path:
        """Where a release keeps its record and source."""
        return self.root / "releases" / version

    def busy(self) -> bool:
        """Whether a state-changing process is at work on this site at this moment."""
        try:
            with (self.root / "lock").open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def now(self) -> str:
        """The time in UTC, ISO 8601."""
        return self.moment(self._clock())

    @staticmethod
    def moment(seconds: float) -> str:
        """A time in seconds since the epoch, as `now` tells it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    def stamp(self) -> str:
        """The time as a part of a name, in lower case."""
        return self.now().replace(":", "").replace("-", "").lower()

    # writing

    @property
    def held(self) -> bool:
        """Whether this process holds the site's flock."""
        return self._held

    @contextmanager
    def locked(self, wait: float = 10) -> Iterator[None]:
        """Hold the site's flock, waiting for at most `wait` seconds."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for name, mode in (("releases", 0o711), ("backups", 0o700), ("runs", 0o700)):
            (self.root / name).mkdir(mode=mode, exist_ok=True)
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor) as stream:
            deadline = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise LockedError(f"another process works on this site now: {self.describe_run()}") from None
                    time.sleep(0.1)
            self._held, self.descriptors = True, (descriptor,)
            try:
                yield
            finally:
                self._held, self.descriptors = False, ()
                self.before_release()

    def describe_run(self) -> str:
        """Who holds the site, in words."""
        run = self.state().run
        if run is None:
            return "no run is open"
        verb = f"{run.verb} of {run.release}" if run.release else run.verb
        return f"{verb} by {run.owner} since {run.started}, last sign of life {self.silence():.0f} s ago"

    def silence(self) -> float:
        """Seconds since the open run, or else whoever armed the host, was last heard of."""
        state = self.state()
        heard = state.run or state.armed
        if heard is None:
            return self._clock()
        boot, uptime = self._uptime()
        # whoever sets the clock makes nobody silent, and nobody alive
        known = heard.boot and heard.boot == boot
        return max(0.0, uptime - heard.uptime if known else self._clock() - heard.last_seen)

    def _heard(self) -> dict[str, Any]:
        """What a run notes of now, so that its silence can be told later."""
        boot, uptime = self._uptime()
        return {"last_seen": self._clock(), "boot": boot, "uptime": uptime}

    def may_take_over(self, owner: str) -> bool:
        """Whether the open run, if no process of it works any more, may be ended for `owner`'s own."""
        run = self.state().run
        return run is not None and (run.owner == owner or self.silence() > run.timeout)

    def await_last_call(self, owner: str, wait: float) -> None:
        """Wait at most `wait` seconds for the last call of a run that `owner` may take over; it outlives its run."""
        deadline = time.monotonic() + wait
        while self.busy() and self.may_take_over(owner) and time.monotonic() < deadline:
            time.sleep(0.2)

    def _write(self, state: State) -> None:
        if not self._held:
            raise OutOfOrderError("the ledger is written only under its lock")
        write_record(self.root / "ledger.json", {"format": FORMAT, **asdict(state)})

    def update(self, **changes: Any) -> State:  # noqa: ANN401 - any field of State
        """Replace parts of the state, durably. A host without a candidate has nothing to be armed for."""
        state = replace(self.state(), **changes)
        if state.candidate is None:
            state = replace(state, armed=None)
        self._write(state)
        return state

    def open_run(  # noqa: PLR0913 - what a run is
        self,
        run_id: str,
        verb: str,
        owner: str,
        release: str | None = None,
        timeout: float = CONTROLLER_TIMEOUT,
        *,
        excused: Sequence[tuple[str, str, str]] = (),
    ) -> Run:
        """Take the site for a run of several calls; LockedError when another run has it that lives.

        A dead one is recorded as interrupted, and its token is worth nothing any more.

        :param excused: for each gate that does not have to hold its name, why, and who says so.
        """
        state = self.state()
        # two may begin in one second, by which runs are named
        if state.run is not None and (state.run.id, state.run.owner) != (run_id, owner):
            if not self.may_take_over(owner):
                raise LockedError(
                    f"another run has this site: {self.describe_run()}; if it is dead: playbooks/unlock.yml"
                )
            self._interrupted(state, owner)
        token = state.token + 1
        known = [{"gate": gate, "why": why, "by": by, "at": self.now()} for gate, why, by in excused]
        about = {"release": release, "timeout": timeout, "excused": known, **self._heard()}
        run = Run(run_id, token, verb, owner, self.now(), **about)
        self.update(token=token, run=run)
        return run

    def end_run(self, by: str) -> None:
        """End the open run for good and leave what it did as it is; a host that is armed starts to wait anew."""
        self._interrupted(self.state(), by)
        self.wait_anew()
        self.update(run=None)

    def abandoned(self) -> bool:
        """Whether the host is armed and nobody has been heard of for as long as it was told to wait."""
        armed = self.state().armed
        return armed is not None and self.silence() > armed.timeout

    def wait_anew(self) -> None:
        """Let a host that is armed begin to wait from now on."""
        armed = self.state().armed
        if armed is not None:
            self.update(armed=replace(armed, **self._heard()))

    def _interrupted(self, state: State, by: str) -> None:
        """Record a run that did not come to its end. What it had recorded itself, when killed at its end, stays."""
        if state.run is None:
            return
        path, journal = self.root / "runs" / f"{state.run.id}.json", self.journal_tail(1)
        interrupted = {
            "at": self.now(),
            "by": by,
            "candidate": state.candidate and {"version": state.candidate.version, "phase": state.candidate.phase},
            "journal": journal[0] if journal else None,
        }
        known = read_record(path, dict, "move it away, and run the same again") or asdict(state.run)
        write_record(path, {**known, "interrupted": interrupted})
        self.journal({"event": "interrupted", "run": state.run.id, "by": by})

    def start_afresh(self) -> None:
        """Let a candidate that the site has not felt yet begin at its backup again, which must be fresh."""
        candidate = self.state().candidate
        if candidate is not None and not candidate.reached("migrating"):
            self.update(candidate=replace(candidate, phase="staged"))

    def event(self, release: str | None, what: str, **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - plain data
        """The history and one event more, with who did it."""
        state = self.state()
        by = state.run.owner if state.run is not None else None
        return [*state.history, {"at": self.now(), "release": release, "event": what, "by": by, **more}]

    def kept_under(self, version: str) -> set[str]:
        """The migrations that ways back to `version` left applied."""
        back = [item for item in self.state().history if item["event"] == TAKEN_BACK and item.get("to") == version]
        return {migration for item in back for migration in item.get(KEPT, [])}

    def acceptable(self) -> str:
        """The release that stands, where it may be accepted now; SlipwayError names what speaks against it."""
        state = self.state()
        if state.run is not None:
            raise LockedError(f"a run has this site: {self.describe_run()}: wait for it")
        half = state.candidate.version if state.candidate is not None else None
        if half is not None or state.current is None:
            standing = f"release {half} is half done" if half else "no release stands here"
            raise SlipwayError(f"{standing}: there is nothing to accept, playbooks/status.yml says what comes next")
        return state.current

    def accept(self, by: str) -> dict[str, Any]:
        """Accept the release that stands for good; returns the event."""
        history = self.event(self.acceptable(), "accepted", by=by)
        self.update(history=history)
        return history[-1]

    def accepted(self) -> dict[str, Any] | None:
        """The event by which the release that stands was accepted for good; None when one may go back from it."""
        state = self.state()
        about = [item for item in state.history if item["release"] == state.current]
        known = [item for item in about if item["event"] not in {WATCHED, RESTORED}]
        return known[-1] if known and known[-1]["event"] == "accepted" else None

    def check_free(self) -> None:
        """Make sure that no run is between two of its calls, which would find the site taken; a dead one is not."""
        run = self.state().run
        if run is not None and self.silence() <= run.timeout:
            raise LockedError(f"a run has this site: {self.describe_run()}: wait for it")

    def check_run(self, token: int) -> Run:
        """Make sure that the caller still has the site, and note that it lives."""
        run = self.state().run
        if run is None:
            raise OutOfOrderError(
                "no run is open on this site: start the playbook from its beginning, where the gates are checked"
            )
        if run.token != token:
            raise LockedError(
                f"this run has lost the site ({self.describe_run()}): playbooks/status.yml says where it stands"
            )
        run = replace(run, **self._heard())
        self.update(run=run)
        return run

    def close_run(self, run: Run, evidence: Mapping[str, Any], *, promote: bool) -> State:
        """Record a run's evidence and free the site; with `promote` its candidate becomes the release that stands."""
        state = self.state()
        record = {**asdict(run), "ended": self.now(), **evidence}
        write_record(self.root / "runs" / f"{run.id}.json", record)
        if promote and state.candidate is not None:
            version = state.candidate.version
            history = self.event(version, "deployed", **{"from": state.current})
            return self.update(current=version, candidate=None, run=None, history=history)
        return self.update(run=None)

    def save_release(self, release: Release) -> None:
        """Record a release; a version can never be recorded with another commit."""
        self.check_unchanged(release.version, release.commit)
        directory = self.release_directory(release.version)
        directory.mkdir(mode=0o711, exist_ok=True)
        write_record(directory / "release.json", asdict(release))

    def save_baseline(self, version: str, baseline: Mapping[str, Any]) -> None:
        """Keep how the data was before a release touched it."""
        write_record(self.release_directory(version) / "baseline.json", baseline)

    def save_assessment(self, version: str, assessment: Mapping[str, Any]) -> None:
        """Keep how people found that a release did."""
        write_record(self.release_directory(version) / "assessment.json", assessment)

    def save_certificate(self, certificate: Certificate) -> None:
        """Keep what the rehearsal of a release found."""
        write_record(self.release_directory(certificate.version) / "certificate.json", certificate.to_dict())

    def enter(self, phase: str, **before: Any) -> Candidate:  # noqa: ANN401 - any field of Before
        """Note that the candidate enters `phase`, never stepping back, and what is newly known of the state before."""
        candidate = self.state().candidate
        if candidate is None:
            raise OutOfOrderError("no release is on its way in on this site: stage one first")
        candidate = replace(
            candidate,
            phase=candidate.phase if candidate.reached(phase) else phase,
            before=replace(candidate.before, **before),
        )
        write_record(self.release_directory(candidate.version) / "before.json", asdict(candidate.before))
        self.update(candidate=candidate)
        return candidate

    def journal(self, entry: Mapping[str, Any]) -> None:
        """Append one line to the write-ahead record, durably."""
        line = json.dumps({"at": self.now(), **entry}, default=str) + "\n"
        descriptor = os.open(self.root / "journal.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            cut_short = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (b"\n" if cut_short else b"") + line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def journal_tail(self, count: int) -> list[dict[str, Any]]:
        """The last `count` entries of the journal; a line cut short by a crash is left out."""
        try:
            lines = (self.root / "journal.jsonl").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        return [found for found in map(entry_of, lines[-count:]) if found is not None]
