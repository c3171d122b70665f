"""The tables: faults that have to be found, and healthy noise that has to be left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab._common import LabError
from tests.faults.arena import BASE, EVERY, GOOD, SLOW, STATE, Arena

FOUND_WITHIN, LEFT_ALONE_FOR = 300.0, 90.0  # seconds
# What is done to a host.
Act = Callable[[Arena], object]
AHEAD = 1200  # seconds
TAKEN_BACK, WARNED, REFUSED, ALONE = "taken back", "warned of", "refused", "left alone"
WEB = "docker ps --quiet --filter label=com.docker.compose.service=web"
DATABASE = "docker ps --quiet --filter label=com.docker.compose.service=postgres"
WORKER = "docker ps --quiet --filter label=com.docker.compose.service=worker"
REDIS = "docker exec $(docker ps --quiet --filter label=com.docker.compose.service=redis) redis-cli"
# The files that people on the host name to docker compose.
COMPOSE = "cd /opt/swarm; export COMPOSE_FILE=$(sed -n 's/^COMPOSE_FILE=//p' .env);"
REDIS_ANEW = "docker compose up --detach --no-deps --wait redis 2>/dev/null"
# As the kernel does it, and the release alone; where there is none to kill, nothing happens.
KILL = (
    "docker inspect --format '{{{{.State.Pid}}}}' $({} --filter ancestor=swarm:{}) | grep -vx 0 | "
    "xargs --no-run-if-empty kill -9"
)
# Docker waits ever longer before it starts one again that has not lived for 10 s.
LIVED = 15
# Lines as Rails logs an exception.
ERRORS = (
    "for number in $(seq 20); do for web in $(" + WEB + "); do docker exec $web sh -c "
    "'echo \"[$0] NoMethodError (undefined method total for nil):\" >/proc/1/fd/1' $number; done; done"
)
# A new critical one, and the report on it in the format of Trivy.
CVE = "CVE-2026-99999"
VULNERABILITY = {
    "SchemaVersion": 2,
    "ArtifactName": f"swarm:{GOOD}",
    "ArtifactType": "container_image",
    "CreatedAt": "{now}",
    "Results": [
        {
            "Target": "Gemfile.lock",
            "Class": "lang-pkgs",
            "Type": "bundler",
            "Vulnerabilities": [
                {
                    "VulnerabilityID": CVE,
                    "PkgName": "rack",
                    "InstalledVersion": "3.1.0",
                    "FixedVersion": "3.1.1",
                    "Severity": "CRITICAL",
                    "Title": "remote code execution",
                }
            ],
        }
    ],
}


def _nothing(_arena: Arena) -> None:
    """Nothing to do."""


@dataclass(frozen=True)
class Cell:
    """One thing that happens, and what has to come of it.

    :param criterion: which has to find it; empty where none may.
    :param expected: what has to come of it.
    :param happen: makes it happen: before a deploy, or under the watch.
    :param over: ends it.
    :param version: of the release that is deployed; empty for what happens under the watch of GOOD.
    :param sign: by what it is known that this was found: how the observation of a warning of the watch begins, its kind
        and its subject; of a refusal, what it names.
    """

    name: str
    criterion: str
    expected: str
    happen: Act = _nothing
    over: Act = _nothing
    version: str = ""
    sign: str = ""
    given: Callable[[Arena], dict[str, object]] = field(default=lambda _arena: {})


def on(name: str, value: str) -> Act:
    """What switches a fault of the release on."""
    return lambda arena: arena.switch(name, value)


def off(name: str) -> Act:
    """What switches it off."""
    return lambda arena: arena.switch(name, "")


def both(first: Act, second: Act) -> Act:
    """One, then the other."""

    def each(arena: Arena) -> None:
        first(arena)
        second(arena)

    return each


def under_load(happen: Act) -> Act:
    """The same while clients read pages."""
    return both(lambda arena: arena.load(180), happen)


def every(pause: float, script: str) -> Act:
    """What does something again and again."""
    return lambda arena: arena.keep_doing(script, pause)


def stop(arena: Arena) -> None:
    """End what is done again and again."""
    arena.stop_doing()


def agents_leave(arena: Arena) -> None:
    """Let agents go offline one by one."""
    arena.query("CREATE TABLE IF NOT EXISTS agents_before AS SELECT id, status FROM agents")
    leave = "UPDATE agents SET status = 'offline' WHERE id = (SELECT min(id) FROM agents WHERE status = 'online')"
    database = "docker exec $(docker ps --quiet --filter label=com.docker.compose.service=postgres)"
    arena.keep_doing(f'{database} psql -Xq --username swarm_owner swarm_production --command "{leave}"', 0.2)


def agents_return(arena: Arena) -> None:
    """Let them come back."""
    arena.stop_doing()
    arena.query(
        "UPDATE agents SET status = b.status FROM agents_before b WHERE b.id = agents.id; DROP TABLE agents_before"
    )


def rows_gone(arena: Arena) -> None:
    """Delete ten campaigns behind the application's back, with what refers to them left over."""
    arena.query(
        "SET session_replication_role = replica; "
        "CREATE TABLE campaigns_before AS SELECT * FROM campaigns WHERE id IN "
        "(SELECT campaign_id FROM tasks GROUP BY campaign_id ORDER BY campaign_id LIMIT 10); "
        "DELETE FROM campaigns WHERE id IN (SELECT id FROM campaigns_before)"
    )
    arena.due("data")


def rows_return(arena: Arena) -> None:
    """Put them back."""
    arena.query("INSERT INTO campaigns SELECT * FROM campaigns_before; DROP TABLE campaigns_before")


def publish_redis(arena: Arena) -> None:
    """Make Redis anew, with its port published on all addresses."""
    ports = "printf 'services:\\n  redis:\\n    ports: [\"6379:6379\"]\\n' >/tmp/published.yml; "
    arena.sh(f'{ports}{COMPOSE} COMPOSE_FILE="$COMPOSE_FILE:/tmp/published.yml" {REDIS_ANEW}')
    arena.due("exposure")


def hide_redis(arena: Arena) -> None:
    """Make it anew as it was."""
    arena.sh(f"{COMPOSE} {REDIS_ANEW}")


def silence(arena: Arena) -> None:
    """Let no broadcast arrive any more, and the watch go through the flows three times."""
    arena.switch("silent", "1")
    since = arena.now()
    for number in range(1, 4):
        arena.due("flows")
        while arena.state()["watch"] and arena.now() < since + FOUND_WITHIN:
            # looks are told apart by their seconds, so that none counts for the next one as well
            if len({at for at, detail in arena.looked(since).warned if detail.startswith("flow ")}) >= number:
                break
            time.sleep(1)


def many_rows(arena: Arena) -> None:
    """Let there be so many tasks that an index matters, clients who look at them, and PostgreSQL count it."""
    arena.query("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    arena.sh(f"docker restart $({DATABASE}) >/dev/null; until docker exec $({DATABASE}) pg_isready; do sleep 0.2; done")
    arena.query("CREATE EXTENSION pg_stat_statements")
    arena.query(
        "INSERT INTO tasks (campaign_id, agent_id, status, created_at, updated_at) "
        "SELECT c.id, a.id, 'done', timestamp '2020-01-01', now() FROM campaigns c, agents a, generate_series(1, 20); "
        "ANALYZE tasks"
    )
    arena.load(90, 1)
    time.sleep(20)


def few_rows(arena: Arena) -> None:
    """Take all that away."""
    arena.go_back()
    arena.query("DELETE FROM tasks WHERE created_at = timestamp '2020-01-01'")
    arena.query("DROP EXTENSION pg_stat_statements")


def clock_jumps(arena: Arena) -> None:
    """Let the clock jump ahead, and back some looks later."""
    arena.shift_clock(AHEAD)
    time.sleep(4 * EVERY)
    ahead = arena.looked(arena.now() + AHEAD / 2).looks
    arena.shift_clock(0)
    if not ahead:
        raise LabError("no look of the watch was ahead of its time")


def report_of(version: str) -> str:
    """What a scanner says of a release: GOOD has a critical vulnerability that the one before has not."""
    report = json.loads(json.dumps(VULNERABILITY))
    report["ArtifactName"], report["CreatedAt"] = (
        f"swarm:{version}",
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    if version != GOOD:
        report["Results"][0]["Vulnerabilities"] = []
    return json.dumps(report)


def reports(arena: Arena) -> dict[str, object]:
    """Reports of a scanner on the controller."""
    found = []
    for version in (BASE, GOOD):
        path = arena.directory / f"trivy-{version}.json"
        path.write_text(report_of(version))
        found.append({"path": str(path), "for": version, "format": "trivy"})
    return {"security_reports": found}


def becomes_known(arena: Arena) -> None:
    """Let the host's own scanner look at both releases with a newer database."""
    for version in (BASE, GOOD):
        place = f"{STATE}/reports/{version}"
        arena.sh(
            f"mkdir -p {place}; cat >{place}/.new <<'END'\n{report_of(version)}\nEND\nmv {place}/.new {place}/web.json"
        )


def is_forgotten(arena: Arena) -> None:
    """Take its reports away."""
    arena.sh(f"rm -rf {STATE}/reports")


FAULTS = (
    Cell("a migration fails", "R1", TAKEN_BACK, version="1.3.0"),
    Cell("the campaign page is broken", "R2", TAKEN_BACK, version="1.2.0"),
    Cell("a page takes over 5 s", "R3", TAKEN_BACK, version="1.4.0"),
    Cell("rows are deleted", "R4", TAKEN_BACK, version="1.5.0"),
    Cell("a column is truncated", "R4", TAKEN_BACK, version="1.6.0"),
    Cell("Redis is published, and Sidekiq's pages need no login", "R5", TAKEN_BACK, version="1.9.0"),
    Cell("a scanner knows a new critical vulnerability", "R5", REFUSED, version=GOOD, sign=CVE, given=reports),
    Cell("broadcasts never arrive", "R2", TAKEN_BACK, on("silent", "1"), off("silent"), GOOD),
    Cell("the health page lies", "R2", TAKEN_BACK, on("lie", "1"), off("lie"), GOOD),
    Cell(
        "a page takes over 5 s after its key was deleted",
        "R3",
        TAKEN_BACK,
        on("slow_to_fill", "6"),
        off("slow_to_fill"),
        GOOD,
    ),
    Cell("an index is gone", "P4", WARNED, many_rows, few_rows, SLOW),
    Cell("2 % of requests fail", "P1", WARNED, under_load(on("errors", "0.02")), off("errors"), sign="log web"),
    Cell("a job fails one time in three", "P1", WARNED, on("job", "0.34"), off("job"), sign="log worker"),
    Cell("agents leave one by one", "R2", TAKEN_BACK, agents_leave, agents_return),
    Cell(
        "the worker is killed again and again, as for its memory",
        "R2",
        TAKEN_BACK,
        every(LIVED, KILL.format(WORKER, GOOD)),
        stop,
    ),
    Cell("the worker is gone", "R2", TAKEN_BACK, lambda arena: arena.sh(f"docker stop $({WORKER}) >/dev/null")),
    Cell("every page takes over 5 s", "R3", TAKEN_BACK, on("slow", "6"), off("slow")),
    Cell("the health page begins to lie", "R2", TAKEN_BACK, on("lie", "1"), off("lie")),
    Cell(
        "a page takes over 5 s after each of two deletions of its key",
        "R3",
        TAKEN_BACK,
        both(on("slow_to_fill", "6"), every(15, f"{REDIS} DEL agents/metrics")),
        both(stop, off("slow_to_fill")),
    ),
    Cell(
        "web containers die again and again",
        "R2",
        TAKEN_BACK,
        every(LIVED, KILL.format(WEB, GOOD)),
        stop,
    ),
    Cell("broadcasts stop arriving", "R2", TAKEN_BACK, silence, off("silent")),
    Cell("rows are deleted behind the application's back", "R4", TAKEN_BACK, rows_gone, rows_return),
    Cell("Redis comes to be published", "R5", TAKEN_BACK, publish_redis, hide_redis),
    Cell("a new critical CVE becomes known", "R5", TAKEN_BACK, becomes_known, is_forgotten),
)
NOISE = (
    Cell("errors from before the release", "", ALONE, lambda arena: arena.sh(ERRORS), version=GOOD),
    Cell("the first page after boot takes 6 s", "", ALONE, on("slow_once", "6"), off("slow_once"), GOOD),
    Cell("an empty night", "", ALONE),
    Cell(
        "a web container is restarted",
        "",
        ALONE,
        lambda arena: arena.sh(f"docker restart $({WEB} | head -1) >/dev/null"),
    ),
    Cell("40 requests a second come", "", ALONE, lambda arena: arena.load(60)),
    Cell(
        "somebody scans for pages that are not there",
        "",
        ALONE,
        every(
            0.1, "curl --silent --output /dev/null --header 'Host: swarm.example.test' http://127.0.0.1/wp-[1-20].php"
        ),
        stop,
    ),
    Cell("one page takes 6 s, once", "", ALONE, on("slow_once", "6"), off("slow_once")),
    Cell("the clock jumps 20 min ahead, and back 40 s later", "", ALONE, clock_jumps),
)


@dataclass(frozen=True)
class Result:
    """What came of a cell.

    :param seconds: until it was found; None where it was not.
    :param healthy: until the release before was well again, where the host went back by itself.
    :param detail: what was seen.
    """

    ok: bool
    outcome: str
    seconds: float | None
    healthy: float | None
    detail: str


def play(arena: Arena, cell: Cell) -> Result:
    """Let it happen, and see what comes of it."""
    return _deployed(arena, cell) if cell.version else _watched(arena, cell)


def _deployed(arena: Arena, cell: Cell) -> Result:
    arena.go_back()
    cell.happen(arena)
    begun = time.monotonic()
    try:
        code, record, printed = arena.deploy(cell.version, **cell.given(arena))
    finally:
        cell.over(arena)
    seconds = time.monotonic() - begun
    criteria = {item["id"]: item for item in (record.get("verdict") or {}).get("criteria", [])}
    asked = [name for name, item in criteria.items() if item["verdict"] == "rollback"]
    if cell.expected == ALONE:
        return Result(not code, ALONE if not code else TAKEN_BACK, None, None, ", ".join(asked) or "nothing")
    found = criteria.get(cell.criterion, {})
    if code and not record.get("run"):
        own = cell.expected == REFUSED and cell.sign in printed
        return Result(own, REFUSED, seconds, None, _reason(printed, cell.sign or cell.criterion))
    outcome = TAKEN_BACK if code else WARNED if asked else ALONE
    detail = str(found.get("reason", "no verdict"))
    return Result(outcome == cell.expected and cell.criterion in asked, outcome, seconds, None, detail)


def _reason(printed: str, words: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if "refused" in line or words in line]
    return lines[-1] if lines else printed[-200:]


def _watched(arena: Arena, cell: Cell) -> Result:
    arena.watch_good()
    since = arena.now()
    cell.happen(arena)
    try:
        if cell.expected == ALONE:
            return _left_alone(arena, since)
        while arena.now() < since + FOUND_WITHIN:
            seen = arena.looked(since)
            signs = [item for item in seen.warned if cell.sign and item[1].startswith(cell.sign)]
            if cell.expected == WARNED and signs:
                at, detail = signs[0]
                return Result(True, WARNED, at - since, None, detail)
            if seen.breach and seen.back:
                at, detail = seen.breach
                own = cell.expected == TAKEN_BACK and detail.startswith(cell.criterion)
                return Result(own, TAKEN_BACK, at - since, seen.back - since, detail)
            time.sleep(1)
        told = "; ".join(dict.fromkeys(detail for _, detail in arena.looked(since).warned))
        return Result(False, ALONE, None, None, told or "nothing was seen")
    finally:
        cell.over(arena)
        _settle(arena)


def _left_alone(arena: Arena, since: float) -> Result:
    while arena.now() < since + LEFT_ALONE_FOR:
        time.sleep(1)
    seen = arena.looked(since)
    told = "; ".join(dict.fromkeys(detail for _, detail in seen.warned)) or "nothing"
    enough = seen.looks >= LEFT_ALONE_FOR / EVERY / 3
    if seen.breach:
        return Result(False, TAKEN_BACK, None, None, seen.breach[1])
    return Result(enough and arena.state()["current"] == GOOD, ALONE, None, None, f"{seen.looks} looks, seen: {told}")


def _settle(arena: Arena) -> None:
    """Return when nobody goes back any more, and the watch has seen the end of what happened."""
    since = arena.now()
    for _ in range(180):
        state = arena.state()
        rests = not state.get("run") and not state.get("candidate")
        if rests and (not state["watch"] or arena.looked(since + 1).looks > 1):
            return
        time.sleep(1)
    raise LabError("the host does not come to rest: see the ledger on it")
