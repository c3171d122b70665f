# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs probes of several kinds at once and gathers what they saw. It judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import RLock
from typing import Any, Callable, ClassVar

from . import _integrity as integrity
from ._clock import Clock
from ._compose import Container
from ._containers import Containers
from ._errors import SlipwayError
from ._http import Client
from ._ledger import Release
from ._observation import NEW, Observation
from ._postgres import Database
from ._probe_caches import probe_caches
from ._probe_compose import probe_services, unseen
from ._probe_exposure import probe_exposure
from ._probe_figures import probe_figures
from ._probe_flows import probe_flow
from ._probe_health import probe_health
from ._probe_jobs import counted, probe_jobs
from ._probe_logs import LATELY, probe_logs
from ._probe_pages import probe_page
from ._probe_queries import Seen, probe_queries, read, texts_of
from ._probe_redis import Jobs, RedisError, RedisServer, SidekiqProcess, probe_workers
from ._probe_vulnerabilities import probe_reports, probe_vulnerabilities
from ._process import HostRunner, Runner
from ._profile import Profile
from ._scrub import scrubbed
from ._session import Session
from ._site import Site
from ._vulnerabilities import Policy, ScanEvidence

# These may write, or a scanner takes long, so that they run once however many looks there are.
_ONCE = frozenset({"flows", "warm", "vulnerabilities"})


@dataclass(frozen=True)
class Request:
    """What to look at.

    :param kinds: some of KINDS.
    :param since: a health document made before this moment counts as unhealthy, and what was logged before is old.
    :param looks: how often the kinds that only read are looked at.
    :param interval: seconds from the beginning of one look to that of the next.
    :param check_mode: write nothing: no flow that writes, no key deleted.
    :param security: what scanners know, for the kind vulnerabilities.
    :param reports: what counts of the reports on the host, which are read in place of `security` then.
    """

    kinds: tuple[str, ...]
    since: datetime | None = None
    looks: int = 1
    interval: float = 0
    check_mode: bool = False
    security: ScanEvidence | None = None
    reports: Policy | None = None


@dataclass(frozen=True)
class Findings:
    """What was seen.

    :param changed: a cache key was deleted, or something that a flow made is still there.
    :param skipped: flows that were left out because they write.
    """

    observations: tuple[Observation, ...]
    changed: bool
    skipped: tuple[str, ...]


def _nothing() -> None:
    """Nobody has to know that this lives."""


@dataclass
class Prober:
    """Looks at one application, from its own host.

    :param secrets: texts that appear in no observation.
    :param alive: called before each look, so that a long watch is no silence.
    :param restarts: how often each container had restarted, by its id; more is a failure. Those of the last look then.
    :param counted: what the last look counted, by kind, ready for JSON: the next tells what came since.
    """

    profile: Profile
    client: Client
    runner: Runner
    clock: Clock = field(default_factory=Clock)
    secrets: frozenset[str] = frozenset()
    alive: Callable[[], object] = _nothing
    restarts: dict[str, int] = field(default_factory=dict)
    counted: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._asking = RLock()
        self._session = Session(self.client, self.profile)
        self._site = Site(self.profile, runner=self.runner)
        self._expected: dict[str, int] | None = None
        self._restarts = dict(self.restarts)

    def run(self, request: Request) -> Findings:
        """Look as often as asked."""
        try:
            return self._run(request)
        finally:
            self.client.close()

    def _run(self, request: Request) -> Findings:
        observations: list[Observation] = []
        changed = False
        skipped: tuple[str, ...] = ()
        for look in range(request.looks):
            begun = self.clock.monotonic()
            self.alive()
            kinds = [kind for kind in KINDS if kind in request.kinds and (look == 0 or kind not in _ONCE)]
            findings = self._look(request, kinds)
            observations += findings.observations
            changed = changed or findings.changed
            skipped += findings.skipped
            if look + 1 < request.looks:
                self.clock.sleep(max(0.0, begun + request.interval - self.clock.monotonic()))
        return Findings(self._scrubbed(observations), changed, skipped)

    def _look(self, request: Request, kinds: list[str]) -> Findings:
        # Renewed caches are what the other probes are to see.
        first = [kind for kind in kinds if kind == "warm"]
        rest = [kind for kind in kinds if kind != "warm" and not (kind == "caches" and first)]
        self._known = {}
        self._site.look_again()
        with self._site.at_rest(), ThreadPoolExecutor(len(KINDS)) as pool:
            found = [self._guarded(kind, request) for kind in first]
            found += pool.map(lambda kind: self._guarded(kind, request), rest)
        return Findings(
            tuple(item for findings in found for item in findings.observations),
            any(findings.changed for findings in found),
            tuple(name for findings in found for name in findings.skipped),
        )

    def _guarded(self, kind: str, request: Request) -> Findings:
        probe, look = self.BY_KIND[kind]
        try:
            return look(self, request)
        except SlipwayError as error:
            return _only([unseen(probe, kind, error, self.clock)])
        except Exception as error:  # noqa: BLE001 a probe that breaks saw nothing; the others still count
            reason = SlipwayError(f"{type(error).__name__} in the probe: {error}")
            return _only([unseen(probe, kind, reason, self.clock)])

    def _pages(self, _request: Request) -> Findings:
        pages = self.profile.pages
        with ThreadPoolExecutor(max(1, min(4, len(pages)))) as pool:
            seen = list(pool.map(lambda page: probe_page(self._session, page, self.clock), pages))
        # the login led to one of them, which has filled its cache before it was looked at
        path, seconds = self._session.landing()
        return _only(
            replace(item, value=max(item.value, seconds)) if item.value and item.subject == path else item
            for item in seen
        )

    def _health(self, request: Request) -> Findings:
        health = self.profile.health
        return _only(probe_health(self._session, health, self.clock, request.since) if health else [])

    def _flows(self, request: Request) -> Findings:
        """Go through the flows one after another: what one creates, another's cleanup would remove."""
        skipped = tuple(flow.name for flow in self.profile.flows if flow.writes and request.check_mode)
        found = [probe_flow(self._session, flow, self.clock) for flow in self.profile.flows if flow.name not in skipped]
        observations = tuple(item for seen, _left in found for item in seen)
        return Findings(observations, any(left for _seen, left in found), skipped)

    def _services(self, _request: Request) -> Findings:
        if self._expected is None:
            release = self._release()
            compose = self._site.compose if release is None else self._site.compose_of(release)
            declared = compose.config["services"]
            self._expected = {name: compose.replicas(name) for name in self.profile.services.names if name in declared}
        states = self._containers()
        observations = probe_services(states, self._expected, self.clock, self._restarts, self._replaced(states))
        missing = SlipwayError("the Compose files have no such service")
        undeclared = [name for name in self.profile.services.names if name not in self._expected]
        self.restarts = {state.id: state.restarts for state in states}
        self._restarts = {**self.restarts, **self._restarts}
        return _only([*observations, *(unseen("service", name, missing, self.clock) for name in undeclared)])

    def _release(self) -> Release | None:
        """The release that is looked at; None where nothing was deployed yet."""
        ledger = self._site.ledger
        state = ledger.state()
        version = state.candidate.version if state.candidate else state.current
        return ledger.release(version) if version else None

    def _replaced(self, states: list[Container]) -> set[str]:
        """The containers of the application's code that are not those of the release that is looked at.

        Where people changed a setting since, none is as it would be made now, and all with its image are its own.
        """
        site, release = self._site, self._release()
        if release is None:
            return set()
        code = [item for item in states if item.service in site.code_services]
        made = {item.id for name in site.code_services for item in Containers(site, release, name).own()}
        own = made or {item.id for item in code if item.image == release.images.get(item.service)}
        return {item.id for item in code if item.id not in own}

    def _once(self, what: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `ask` returns
        """What several probes of a look ask for: a command in a container costs more than all that it answers."""
        with self._asking:
            if what not in self._known:
                try:
                    self._known[what] = ask()
                except SlipwayError as error:
                    # a command that hangs is not waited for by each of them in turn
                    self._known[what] = error
            found = self._known[what]
        if isinstance(found, SlipwayError):
            raise found
        return found

    def _containers(self) -> list[Container]:
        found: list[Container] = self._once("containers", self._site.all_containers)
        return found

    def _sidekiq(self, request: Request) -> tuple[list[SidekiqProcess], Jobs | None]:
        """Sidekiq's processes, and its jobs where they are looked at."""

        def ask() -> tuple[list[SidekiqProcess], Jobs | None]:
            cache = self.profile.sidekiq_in
            if cache is None:
                raise SlipwayError("the profile names no cache service, which holds Sidekiq's records")
            redis = RedisServer.find(self.runner, self._containers(), cache, self.profile.redis.worker_database)
            if "jobs" not in request.kinds:
                return redis.processes(), None
            return redis.processes_and_jobs(float(self.before().get("at", 0.0)))

        found: tuple[list[SidekiqProcess], Jobs | None] = self._once("sidekiq", ask)
        return found

    def _workers(self, request: Request) -> Findings:
        worker = self.profile.services.worker
        # without a Redis there is no Sidekiq: the containers are counted as those of any service
        if worker is None or self.profile.sidekiq_in is None:
            return _only([])
        try:
            processes, _ = self._sidekiq(request)
            states = self._containers()
        except SlipwayError as error:
            return _only([unseen("worker", worker, error, self.clock)])
        return _only([probe_workers(worker, processes, states, self.clock)])

    def _jobs(self, request: Request) -> Findings:
        if self.profile.services.worker is None or not self.profile.jobs.sidekiq:
            return _only([])
        _, jobs = self._sidekiq(request)
        if jobs is None:
            raise RedisError("redis-cli: the jobs cannot be read")
        last, longest_wait = self.counted.get("jobs"), self.profile.jobs.longest_wait
        self.counted["jobs"] = counted(jobs)
        return _only(probe_jobs(jobs, last, longest_wait, self.clock, released="at" in self.before()))

    def _queries(self, _request: Request) -> Findings:
        before, database, container = self.before(), self._database(), self._database_container()
        last = Seen.from_dict(self.counted.get("queries") or {})
        since = last.at if last is not None else float(before.get("at", 0.0))
        now = read(database, self._site.docker, container, since)
        self.counted["queries"] = now.noted()
        known = Seen.from_dict(before.get("queries") or {})
        return _only(probe_queries(now, last, known, lambda names: texts_of(database, names), self.clock))

    def _figures(self, _request: Request) -> Findings:
        if not self.profile.figures:
            return _only([])
        return _only(
            probe_figures(self._database(), self.profile.figures, self.before().get("figures", {}), self.clock)
        )

    def _database_container(self) -> str:
        service = self.profile.services.database
        running = [item for item in self._containers() if item.running and item.service == service]
        if not running:
            raise SlipwayError(f"no container of {service} is running")
        return running[0].id

    def _database(self) -> Database:
        return Database(self.runner, self.profile, self._database_container())

    def before(self) -> Mapping[str, Any]:
        """What was noted before the release that is looked at came in; empty where nobody did."""
        found: Mapping[str, Any] = self._once("before", self._noted)
        return found

    def _noted(self) -> Mapping[str, Any]:
        ledger = self._site.ledger
        state = ledger.state()
        # what was before a release also tells how it was with the one that comes back
        about = state.run.release if state.run is not None and state.run.verb in {"deploy", "rollback"} else None
        version = about or (state.candidate.version if state.candidate else state.current)
        return ledger.baseline(version) if version else {}

    def _data(self, _request: Request) -> Findings:
        site, state = self._site, self._site.ledger.state()
        # a deploy noted how the data was just before it, which also holds when its release was taken back
        deploying = state.run.release if state.run is not None and state.run.verb == "deploy" else None
        version = deploying or (state.candidate.version if state.candidate else state.current)
        return _only(integrity.look(site, site.ledger.baseline(version) if version else {}))

    def _exposure(self, _request: Request) -> Findings:
        return _only(probe_exposure(self._site, self.before().get("exposure", {}), self.clock))

    def _vulnerabilities(self, request: Request) -> Findings:
        if request.reports is not None:
            last = self.counted.get("reports")
            told, self.counted["reports"] = probe_reports(self._site, request.reports, last, self.clock.now())
            return _only(told)
        if request.security is None:
            reason = SlipwayError("no report was given, and no scanner: security_reports, security_scanner")
            return _only([unseen("vulnerability", NEW, reason, self.clock)])
        found = probe_vulnerabilities(self._site, request.security, self.clock.now())
        return _only(found.observations() if found else [])

    def _logs(self, request: Request) -> Findings:
        lately = self.clock.now().timestamp() - LATELY
        since = self.counted.get("logs") or (request.since.timestamp() if request.since else lately)
        observations, self.counted["logs"] = probe_logs(self._site, since, self.before(), self.clock)
        return _only(observations)

    def _warm(self, request: Request) -> Findings:
        return self._caches(request, refresh=not request.check_mode)

    def _caches(self, _request: Request, *, refresh: bool = False) -> Findings:
        cache = self.profile.services.cache
        if cache is None or not self.profile.caches:
            return _only([])
        try:
            redis = RedisServer.find(self.runner, self._containers(), cache, self.profile.redis.cache_database)
            observations, changed = probe_caches(self._session, redis, self.profile.caches, self.clock, refresh=refresh)
        except SlipwayError as error:
            return _only(unseen("cache", entry.key, error, self.clock) for entry in self.profile.caches)
        return Findings(tuple(observations), changed, ())

    def _scrubbed(self, observations: Sequence[Observation]) -> tuple[Observation, ...]:
        details = self._site.hidden([scrubbed(item.detail, self.secrets) for item in observations])
        return tuple(replace(item, detail=detail) for item, detail in zip(observations, details))

    # By kind: what its observations are called, and who makes them.
    BY_KIND: ClassVar[dict[str, tuple[str, Callable[[Prober, Request], Findings]]]] = {
        "pages": ("page", _pages),
        "health": ("health", _health),
        "flows": ("flow", _flows),
        "services": ("service", _services),
        "workers": ("worker", _workers),
        "data": ("data", _data),
        "caches": ("cache", _caches),
        "warm": ("cache", _warm),
        "exposure": ("exposure", _exposure),
        "vulnerabilities": ("vulnerability", _vulnerabilities),
        "jobs": ("job", _jobs),
        "queries": ("query", _queries),
        "figures": ("figure", _figures),
        "logs": ("log", _logs),
    }


KINDS = tuple(Prober.BY_KIND)


def _only(observations: Iterable[Observation]) -> Findings:
    return Findings(tuple(observations), changed=False, skipped=())


def prober(
    profile: Profile,
    secrets: frozenset[str],
    alive: Callable[[], object] = _nothing,
    restarts: dict[str, int] | None = None,
    counted: dict[str, Any] | None = None,
) -> Prober:
    """Build a prober for the application on this host."""
    client = Client(profile.base_url, profile.host_header, verify_tls=profile.verify_tls, ca_file=profile.ca_file)
    return Prober(
        profile,
        client,
        HostRunner(),
        secrets=secrets,
        alive=alive,
        restarts=restarts or {},
        counted=counted or {},
    )
