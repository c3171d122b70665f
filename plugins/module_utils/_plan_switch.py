# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: the project directory, the env file, the image names and the containers become a release's own."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ._containers import Containers
from ._engine import Plan, Step
from ._errors import CommandError, OutOfOrderError, SlipwayError
from ._files import write_file
from ._maintenance import hide_page, show_page
from ._observation import Observation
from ._parked_jobs import parked, replay
from ._plan_stage import point_references, references_point_to
from ._profile import NGINX_RELOAD, NONE
from ._traffic import Traffic, stop_one_by_one, traffic_of
from ._verify import prove_backup
from ._warm import await_answers, warm
from ._workers import are_live, await_live, quiet, quieted, sidekiq_timeout, stop_workers

if TYPE_CHECKING:
    from ._compose import Compose, Container
    from ._ledger import Release
    from ._site import Site


def _changed_at(path: Path) -> float:
    """When a file was written or removed, in seconds since the epoch."""
    while not path.exists():
        path = path.parent
    return path.stat().st_mtime


def _stale(site: Site, config: dict[str, Any], old: str, new: str) -> list[str]:
    """Services that mount a tracked file which differs, and were started before it did: they hold the old one."""
    changed = [site.directory / name for name in site.checkout.differing(old, new)]
    services = []
    for name, service in config["services"].items():
        sources = {Path(mount["source"]) for mount in service.get("volumes", []) if mount.get("type") == "bind"}
        # a directory shows what is new in it, and nginx reads it anew with each switch
        rereads = name == site.profile.services.proxy and site.profile.proxy.drain == NGINX_RELOAD
        mounted = [path for path in changed if sources & ({path} if rereads else {path, *path.parents})]
        since = max(map(_changed_at, mounted), default=0.0)
        if any(item.started < since for item in site.containers(name)):
            services.append(name)
    return services


def assign_environment(site: Site, version: str) -> Step:
    """The step that writes a release's version, and what the inventory gives, into the env file."""
    assignments = {**site.environment, site.profile.version_variable: version}

    def assigned() -> bool:
        values = site.env_file.values()
        return all(values.get(key) == value for key, value in assignments.items())

    return Step("write the env file", assigned, lambda: site.env_file.assign(assignments, site.checkout.owner))


def name_images(site: Site, release: Release) -> Step:
    """The step that lets the names that Compose uses mean a release's images."""
    return Step("name the images", lambda: references_point_to(site, release), lambda: point_references(site, release))


def start_services(site: Site, release: Release, replaced: Release | None, name: str, services: list[str]) -> Step:
    """The step that starts or replaces `services`, none of which runs the application's code, where they differ."""

    def stale(compose: Compose) -> list[str]:
        held = _stale(site, compose.config, replaced.commit, release.commit) if replaced else []
        return [service for service in held if service in services]

    def differing(compose: Compose) -> list[str]:
        """Services without enough good containers of what the release has; one that does its work and ends is good."""
        return [
            service
            for service in services
            # an old record does not say of which Compose files and profiles the release was made
            if service in compose.config_hashes
            and sum(
                item.service == service
                and (item.good or (item.finished and service not in site.profile.services.names))
                and item.config_hash == compose.config_hashes[service]
                and item.image == release.images.get(service, item.image)
                for item in site.all_containers()
            )
            < compose.replicas(service)
        ]

    def started() -> bool:
        if site.docker.half_made(site.all_containers()):
            return False
        compose = site.compose_of(release)
        return not differing(compose) and not stale(compose)

    def start() -> None:
        compose = site.compose_of(release)
        try:
            site.docker.settle(site.profile.name)
            different = differing(compose)
            if different:
                compose.start_differing(*different)
            old = stale(compose)
            if old:
                compose.recreate(*old)
        except CommandError as error:
            log = site.log(release.version, "up", error.output)
            raise SlipwayError(f"{error} (all of it: {log})") from error

    return Step(name, started, start)


def web_of(site: Site, release: Release) -> Containers:
    """The web containers as they are now; whose they are depends on the files in place, so they are looked at anew."""
    return Containers(site, release, site.profile.services.web)


def start_web(site: Site, release: Release) -> Step:
    """The step that starts the release's web containers beside what answers now, as many at once as memory allows."""

    def started() -> bool:
        web = web_of(site, release)
        return len(web.good()) >= web.count

    def start() -> dict[str, Any]:
        web, traffic = web_of(site, release), traffic_of(site)
        web.create()
        with site.at_rest():
            waiting = web.waiting()
            at_once = max(1, min(len(waiting), web.room()))
            in_parts = at_once < len(waiting) and bool(web.others())
        for first in range(0, len(waiting), at_once):
            batch = waiting[first : first + at_once]
            started, others = web.start(batch), web.others()
            await_answers(site, release, started)
            if in_parts:
                warm(site, started)
                staying = [*web.good(), *(item for item in others[at_once:] if item.running)]
                _send_away(site, traffic, staying, others[:at_once])
        return {"at_once": at_once}

    return Step("start the web containers", started, start)


def _send_away(site: Site, traffic: Traffic, staying: list[Container], leaving: list[Container]) -> None:
    """Send requests to those that stay, and stop the others."""
    if traffic.targets() != {item.name for item in staying}:
        traffic.move(staying)
    traffic.let_go(leaving)
    stop_one_by_one(site, leaving)


def _newcomers(web: Containers) -> list[Container]:
    """Those that have not answered anybody yet, while others do; a first page that takes longer is better than none."""
    replaced = max((item.started for item in web.others() if item.running), default=math.inf)
    return [item for item in web.good() if item.started > replaced]


def move_traffic(site: Site, release: Release) -> Step:
    """The step that sends requests to the release's web containers, once all of them are good, and warm.

    A proxy that is told where to send them leaves the others without work, and they stay for the way back until the
    release stands; one that finds them by itself is left none but these.
    """
    traffic = traffic_of(site)

    def moved() -> bool:
        web, targets = web_of(site, release), traffic.targets()
        return not web.others() if targets is None else targets == {item.name for item in web.good()}

    def move() -> None:
        web = web_of(site, release)
        warm(site, _newcomers(web))
        if traffic.targets() is None:
            _send_away(site, traffic, web.good(), web.others())
        else:
            traffic.move(web.good())

    return Step("send requests to the release", moved, move)


def workers_of(site: Site, release: Release) -> Containers | None:
    """The worker containers as they are now; None where the application has no workers."""
    service = site.profile.services.worker
    return Containers(site, release, service) if service else None


def start_workers(site: Site, release: Release) -> Step:
    """The step that starts the release's workers beside the others, so that they have booted when those end."""

    def started() -> bool:
        workers = workers_of(site, release)
        return workers is None or len(workers.good()) >= workers.count or workers.room() < workers.count

    def start() -> None:
        workers = workers_of(site, release)
        if workers is not None:
            workers.create()
            waiting = workers.waiting()
            site.docker.start([item.id for item in waiting if not item.running])
            # not before others boot; one that waits for a job notices after up to two seconds that it is to take none
            quiet(site, workers.others())
            workers.start(workers.waiting())

    return Step("start the workers", started, start)


def end_quiet_workers(site: Site, release: Release) -> Step:
    """The step that stops the release's own workers which were to end for another that did not come to stay."""

    def own() -> list[Container]:
        workers = workers_of(site, release)
        return [] if workers is None else quieted(site, workers.own())

    return Step("stop workers that take no more jobs", lambda: not own(), lambda: end_workers(site, release, own()))


def replace_workers(site: Site, release: Release) -> Step:
    """The step that lets the release's workers take over: the others finish what they have begun."""

    def replaced() -> bool:
        workers = workers_of(site, release)
        return workers is None or (len(workers.good()) >= workers.count and not workers.others())

    def replace() -> dict[str, Any]:
        workers = workers_of(site, release)
        if workers is None:
            return {}
        with site.at_rest():
            others, good = workers.others(), workers.good()
        if len(good) >= workers.count:
            # they take no more jobs from here on, so that they may as well finish while the others boot
            with ThreadPoolExecutor(1) as beside:
                ended = beside.submit(end_workers, site, release, others)
                await_live(site, good)
            return ended.result()
        # without room for both sets, the others end first
        facts = end_workers(site, release, others)
        workers.create()
        await_live(site, workers.start(workers.waiting()))
        return facts

    return Step("let the workers take over", replaced, replace)


def await_workers(site: Site, release: Release) -> Step:
    """The step that waits until the release's workers are ready for jobs, where no other step had to."""

    def own() -> list[Container]:
        workers = workers_of(site, release)
        return [] if workers is None else workers.good()

    return Step("wait for the workers", lambda: are_live(site, own()), lambda: await_live(site, own()))


def end_workers(site: Site, release: Release, workers: list[Container]) -> dict[str, Any]:
    """Stop workers when they have finished, or `worker_drain` seconds have passed; SlipwayError as Docker says."""
    service = site.compose_of(release).config["services"].get(site.profile.services.worker or "", {})
    own = sidekiq_timeout(service, site.directory)
    return stop_workers(site, workers, max(0.0, site.profile.worker_drain - own))


def must_be_alone(site: Site, version: str) -> bool:
    """Whether the release that runs has to end before `version` begins.

    That is so where the proxy cannot tell them apart, and where they must be apart because of the schema.
    """
    return site.profile.proxy.drain == NONE or must_be_apart(site, version)


def must_be_apart(site: Site, version: str) -> bool:
    """Whether the rehearsal showed that the release that runs does not run on the schema of `version`."""
    certificate = site.ledger.certificate(version)
    return certificate is not None and bool(certificate.side_by_side_wrong)


def make_room(site: Site, old: Release | None, new: Release, alone: Callable[[], bool]) -> list[Step]:
    """The steps that stop the code of `old`, behind the maintenance page, where `new` must be `alone`."""
    if old is None:
        return []

    def begun() -> bool:
        if not alone():
            return True
        web = web_of(site, new)
        return len(web.good()) >= web.count

    def replaced(services: list[str]) -> list[Container]:
        fresh = {item.id for name in services for item in Containers(site, new, name).own()}
        return [item for item in site.code() if item.service in services and item.id not in fresh]

    def stop(name: str, *services: str) -> Step:
        names = list(services)
        return Step(name, lambda: begun() or not replaced(names), lambda: stop_code(site, old, replaced(names)))

    services = site.profile.services
    workers = [stop("stop the workers", services.worker)] if services.worker else []
    return [*workers, show_page(site, old, lambda: not begun()), stop("stop the web containers", services.web)]


def stop_code(site: Site, release: Release, containers: list[Container]) -> dict[str, Any]:
    """Stop containers of the application's code and keep them; workers finish their jobs meanwhile."""
    workers = [item for item in containers if item.service == site.profile.services.worker]
    others = [item for item in containers if item.service != site.profile.services.worker]
    with ThreadPoolExecutor(1) as beside:
        stopped = beside.submit(site.docker.stop, others) if others else None
        facts = end_workers(site, release, workers)
        if stopped is not None:
            stopped.result()
    return {**facts, "stopped": [item.name for item in containers]}


def let_replaced_go(site: Site, release: Release) -> Step:
    """The step that stops the web containers which `release` took the place of; they are kept for the way back."""
    traffic = traffic_of(site)

    def gone() -> bool:
        return not web_of(site, release).others() and traffic.settled()

    def let_go() -> dict[str, Any]:
        with site.at_rest():
            web = web_of(site, release)
            leaving, staying = web.others(), web.good()
        _send_away(site, traffic, staying, leaving)
        traffic.settle()
        return {"stopped": [item.name for item in leaving]}

    return Step("let the replaced containers go", gone, let_go)


def renew_web(site: Site, release: Release, since: float) -> Step:
    """The step that puts others in the place of web containers that a service was replaced under, after `since`.

    Requests are answered all the same, so that nobody notices what is broken: Action Cable's listener tries once to
    reach Redis again, then ends, and that process tells no page anything from then on.
    """

    def disturbed() -> list[Container]:
        with site.at_rest():
            apart = (*site.code_services, site.profile.services.proxy)
            replaced = max((item.started for item in site.containers() if item.service not in apart), default=0.0)
            return [item for item in web_of(site, release).good() if item.started < replaced > since]

    def renew() -> dict[str, Any]:
        traffic, leaving = traffic_of(site), disturbed()
        for item in leaving:
            staying = web_of(site, release).renew(item)
            await_answers(site, release, staying)
            _send_away(site, traffic, staying, [item])
            site.docker.remove([item.id])
        return {"renewed": [item.name for item in leaving]}

    return Step("renew web containers whose services were replaced", lambda: not disturbed(), renew)


def forget_replaced(site: Site, release: Release) -> Step:
    """The step that removes the stopped containers which `release` took the place of: nobody goes back to them."""

    def kept() -> list[str]:
        own = {item.id for name in site.code_services for item in Containers(site, release, name).own()}
        code = [item for item in site.all_containers() if item.service in site.code_services]
        return [item.id for item in code if not item.running and item.id not in own]

    return Step("remove the replaced containers", lambda: not kept(), lambda: site.docker.remove(kept()))


def answer_again(
    site: Site, release: Release, *beside: Step, proxy: Step | None = None
) -> list[Step | tuple[Step, ...]]:
    """The steps after which a release answers whose files and other services are in place.

    :param beside: what else has to be done before requests go to it, while its web containers start.
    :param proxy: starts the proxy, where that may be another one.
    """
    return [
        # first of all, and with the host's processors to themselves: visitors wait for them
        (start_web(site, release), end_quiet_workers(site, release), *beside),
        # not before the web containers are good: a release that does not boot does no jobs either
        (move_traffic(site, release), start_workers(site, release)),
        # it may not start before it knows whom to send requests to
        *([proxy] if proxy is not None else []),
        replace_workers(site, release),
        hide_page(site),
        await_workers(site, release),
    ]


def steps_to_run(
    site: Site, release: Release, replaced: Release | None, environment: Step, *beside: Step
) -> list[Step | tuple[Step, ...]]:
    """The steps after which `release` answers, whatever ran before. A switch and a way back are the same steps.

    :param environment: the step that makes the env file the release's own.
    :param beside: what else has to be done before requests go to it, while its web containers start.
    """
    proxy = [site.profile.services.proxy] if site.profile.services.proxy else []
    others = [name for name in release.images if name not in (*site.code_services, *proxy)]
    return [
        Step(
            "check out the source",
            lambda: site.checkout.is_at(release.commit),
            lambda: site.checkout.check_out(release.commit),
        ),
        environment,
        name_images(site, release),
        start_services(site, release, replaced, "start what else differs", others),
        *answer_again(site, release, *beside, proxy=start_services(site, release, replaced, "start the proxy", proxy)),
    ]


def switch(site: Site, version: str) -> Plan:
    """The plan that lets the migrated candidate `version` take the place of what runs."""
    candidate = site.ledger.state().candidate
    if candidate is None or candidate.version != version or not candidate.reached("migrated"):
        raise OutOfOrderError(
            f"release {version} may not be switched to: it was not migrated, start deploy.yml from its beginning"
        )
    release = site.ledger.known_release(version)
    replaced = None if candidate.before.version is None else site.ledger.known_release(candidate.before.version)
    kept = site.replaced_env_file(version)
    alone, prove = must_be_alone(site, version), prove_backup(site, version)

    def begin() -> None:
        # byte for byte: what the inventory gives may change more than the version
        write_file(kept, site.env_file.path.read_bytes())
        site.ledger.enter("switching")

    def verify() -> list[str]:
        wrong = site.runs(release, beside=True)
        if not wrong:
            site.ledger.enter("switched")
        return wrong

    def evidence() -> list[Observation]:
        backup, now = candidate.before.backup, site.ledger.now()
        return [Observation("backup", backup, now, None, None, ok=True, detail="proven")] if backup else []

    return Plan(
        "switch",
        version,
        "switch",
        [
            Step("begin the switch", lambda: candidate.reached("switching"), begin),
            # nobody waits behind a page for it
            *([prove] if alone else []),
            *make_room(site, replaced, release, lambda: alone),
            *steps_to_run(site, release, replaced, assign_environment(site, version), prove),
            Step(
                "put parked jobs back",
                lambda: parked(site) == 0,
                lambda: {"replayed_jobs": replay(site, release.commit)},
            ),
        ],
        verify,
        evidence,
    )
