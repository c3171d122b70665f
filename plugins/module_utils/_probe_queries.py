# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow statements, against what they took before the release.

They are read from pg_stat_statements where the application's database has it, else from PostgreSQL's own log where it
logs what takes long.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ._database_facts import literal
from ._errors import CommandError, SlipwayError
from ._observation import Observation, timestamp

if TYPE_CHECKING:
    from ._clock import Clock
    from ._compose import Docker
    from ._postgres import Database
    from ._site import Site

PROBE, SLOWER, NEW = "query", "slower", "new"
STATISTICS, LOG = "pg_stat_statements", "log"
# A statement counts when it ran so often; slower is by so many times, and never below so many seconds.
_CALLS, _TIMES, _SLOW = 5, 3.0, 0.1
# One that was not there before is slow from so many seconds on.
_NEW_SLOW = 0.5
# The statements that take most of the time, and of the log its last lines.
_MOST, _LINES = 500, 20_000
# What of the log from before a release is compared with, in seconds.
_BEFORE = 3600.0
_WIDTH, _WORST, _LONGEST = 100, 3, 2000

# Where the extension lies, and what it calls the time: PostgreSQL 13 gave it another name.
_EXTENSION = """
    SELECT quote_ident(n.nspname), a.attname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('total_exec_time', 'total_time')
    WHERE e.extname = 'pg_stat_statements'
"""
_SETTINGS = """
    SELECT current_setting('log_min_duration_statement'), current_setting('logging_collector'),
           current_setting('log_destination')
"""
# What visitors cause: no maintenance, no migration, and none of the questions that Slipway asks itself.
_ASKED_FOR = (
    r"query ~* '^\s*(/\*|select|insert|update|delete|merge|with)' AND query !~ ' AS (broken|figure)( LIMIT \S+)?\s*$'"
)
_LOGGED = re.compile(
    r"^(?:(?!\b(?:ERROR|FATAL|STATEMENT|DETAIL|HINT|CONTEXT|QUERY):).)*?\bLOG:\s+duration: ([0-9.]+) ms\s+"
    r"(?:statement|execute [^:]*): (.*)"
)
_LITERALS = re.compile(
    r"/\*.*?(?:\*/|$)|--.*$|[eE]?'(?:[^'\\]|\\.|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)|(?<![\w$])[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?\b"
)
_LISTS = re.compile(r"(?:\?|\$[0-9]+)(?:\s*,\s*(?:\?|\$[0-9]+))+")


@dataclass(frozen=True)
class Seen:
    """What is known of the statements at a moment, ready for JSON by `asdict`.

    :param source: STATISTICS, which count on from before, or LOG, which holds what ran since the moment before.
    :param at: seconds since the epoch.
    :param statements: for each how often it ran, and the seconds that it took together.
    :param texts: the statements themselves, of the log.
    """

    source: str
    at: float
    statements: Mapping[str, Sequence[float]]
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Seen | None:
        """Read what `noted` gave; None when it is empty."""
        return cls(mapping["source"], mapping["at"], mapping["statements"]) if mapping else None

    def noted(self) -> dict[str, Any]:
        """What has to be known later, ready for JSON: no text of a statement is kept."""
        return {**asdict(self), "texts": {}}


def baseline(site: Site) -> dict[str, Any]:
    """What statements took before a release, ready for JSON; empty where nobody can tell."""
    try:
        database = site.database
        container = site.containers(site.profile.services.database)[0].id
        seen = read(database, site.docker, container, time.time() - _BEFORE)
    except SlipwayError:
        # no reason to stop a backup
        return {}
    return seen.noted()


def read(database: Database, docker: Docker, container: str, since: float) -> Seen:
    """What is known of the statements now; SlipwayError says how to let it be known.

    :param since: of which moment on the log is read, in seconds since the epoch.
    """
    place = database.query(_EXTENSION)
    if place:
        try:
            return _statistics(database, *place[0])
        except CommandError:
            # the extension is there, and the server was started without its library
            pass
    slowest, collector, destination = database.query(_SETTINGS)[0]
    if slowest == "-1" or collector == "on" or "stderr" not in destination:
        raise SlipwayError(
            f"{database.name} tells of no statement: set shared_preload_libraries = pg_stat_statements and CREATE "
            "EXTENSION pg_stat_statements, or let PostgreSQL log to stderr with log_min_duration_statement = 250ms"
        )
    return logged(docker.logs(container, since=since, tail=_LINES).splitlines(), time.time())


def _statistics(database: Database, schema: str, column: str) -> Seen:
    sql = f"""
        SELECT queryid, sum(calls), sum({column}) / 1000 FROM {schema}.pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND {_ASKED_FOR}
        GROUP BY queryid ORDER BY 3 DESC LIMIT {_MOST}
    """  # noqa: S608 - all of it is the server's own or stands here
    rows = database.query(sql)
    return Seen(STATISTICS, time.time(), {row[0]: [float(row[1]), float(row[2])] for row in rows if row[0]})


def logged(lines: Sequence[str], at: float) -> Seen:
    """What a log says; a statement that was sent with parameters stands there with placeholders."""
    statements: dict[str, list[float]] = {}
    texts: dict[str, str] = {}
    for line in lines:
        match = _LOGGED.match(line) if "duration:" in line else None
        if match is None:
            continue
        text = masked(match[2][:_LONGEST])
        identity = hashlib.sha256(text.encode()).hexdigest()[:16]
        counted = statements.setdefault(identity, [0.0, 0.0])
        counted[0] += 1
        counted[1] += float(match[1]) / 1000
        texts[identity] = text
    most = sorted(statements, key=lambda name: -statements[name][1])[:_MOST]
    return Seen(LOG, at, {name: statements[name] for name in most}, texts)


def masked(text: str) -> str:
    """A statement without its literals and comments, which may hold what is secret; a list of them is one."""
    return _LISTS.sub("?", _LITERALS.sub("?", " ".join(text.split()))).strip()


def probe_queries(
    now: Seen, last: Seen | None, before: Seen | None, texts: Callable[[Sequence[str]], Mapping[str, str]], clock: Clock
) -> list[Observation]:
    """Tell which statements take longer than before the release, and which came with it and are slow.

    :param last: what was seen at the look before; None at the first, which looks at all since the release.
    :param before: what was seen before the release.
    :param texts: finds statements of pg_stat_statements by their ids.
    """
    at = timestamp(clock.now())
    if before is None or before.source != now.source:
        detail = f"could not be seen: nobody noted before the release what statements took, by {now.source}"
        return [Observation(PROBE, subject, at, None, None, ok=None, detail=detail) for subject in (SLOWER, NEW)]
    ran = _since(now, last if last is not None and last.source == now.source else before)
    means = {name: seconds / calls for name, (calls, seconds) in ran.items() if calls >= _CALLS}
    usual = {name: seconds / calls for name, (calls, seconds) in before.statements.items() if calls}
    slower = {
        name: mean for name, mean in means.items() if name in usual and mean > _SLOW and mean > _TIMES * usual[name]
    }
    new = {name: mean for name, mean in means.items() if name not in usual and mean > _NEW_SLOW}
    observations = []
    for subject, found in ((SLOWER, slower), (NEW, new)):
        worst = sorted(found, key=lambda name: -found[name])[:_WORST]
        known = texts(worst) if worst and now.source == STATISTICS else now.texts
        words = [
            f"{found[name]:.3f} s in {ran[name][0]:.0f} calls"
            + (f", {usual[name]:.3f} s before the release" if name in usual else ", not seen before the release")
            + f": {masked(known.get(name, f'statement {name}'))[:_WIDTH]}"
            for name in worst
        ]
        detail = "; ".join([f"{len(found)} of {len(means)} statements", *words])
        observations.append(Observation(PROBE, subject, at, len(found), "statements", ok=not found, detail=detail))
    return observations


def texts_of(database: Database, identities: Sequence[str]) -> dict[str, str]:
    """The beginnings of statements in pg_stat_statements, by their ids."""
    place = database.query(_EXTENSION)
    if not place:
        return {}
    wanted = ", ".join(literal(name) for name in identities)
    sql = f"""
        SELECT queryid, min(regexp_replace(left(query, 400), '\\s+', ' ', 'g')) FROM {place[0][0]}.pg_stat_statements
        WHERE queryid::text IN ({wanted}) GROUP BY queryid
    """  # noqa: S608 - quoted
    return {row[0]: row[1] for row in database.query(sql)}


def _since(now: Seen, then: Seen) -> dict[str, tuple[float, float]]:
    """How often each statement ran since a moment, and how long together."""
    if now.source == LOG:
        return {name: (calls, seconds) for name, (calls, seconds) in now.statements.items()}
    ran = {}
    for name, (calls, seconds) in now.statements.items():
        calls_then, seconds_then = then.statements.get(name, (0.0, 0.0))
        # fewer than then: its counters were reset meanwhile
        new = calls < calls_then
        ran[name] = (calls if new else calls - calls_then, seconds if new else max(0.0, seconds - seconds_then))
    return ran
