# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the site's own data is well: invariants, PostgreSQL's own checks, uploads, and what a migration wrote."""

from __future__ import annotations

import hashlib
import heapq
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import CommandError, SlipwayError
from ._files import open_below
from ._observation import Observation
from ._stored import digest_of
from ._trace import since, writes

if TYPE_CHECKING:
    from ._certificate import Certificate
    from ._postgres import Database
    from ._profile import Invariant
    from ._site import Site

PROBE = "data"
_CHECKSUMS = "SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()"
# What other visitors may do beyond their usual rate before a migration is suspected.
_BURST, _SLACK = 3, 100
_INSERTED, _UPDATED, _DELETED = 0, 1, 2
# How many uploaded files are looked at, and the share of them that users may delete meanwhile.
_SAMPLE, _MAY_GO = 200, 0.5
_CHECK_TIMEOUT = 600


def baseline(site: Site) -> dict[str, Any]:
    """How the data was before a release touched it, ready for JSON: what was broken then is not the release's doing."""
    query = site.database.query
    # an empty database, before a first install, has not the tables that an invariant is about
    invariants = site.profile.invariants if site.database.tables() else ()
    return {
        "broken": {item.name: _known(site, item) for item in invariants},
        "checksum_failures": int(query(_CHECKSUMS)[0][0]),
        "pages": site.database.check_pages(_CHECK_TIMEOUT),
        "uploads": _sample(site),
        "writes": writes(query),
        "at": time.time(),
    }


def ask(database: Database, sql: str) -> list[list[str]]:
    """What a statement of the profile's gives; it can only read, and is ended after a while."""
    settings = "SET default_transaction_read_only = on; SET statement_timeout = '60s';"
    return database.query(f"{settings} {sql}")


def inner(sql: str) -> str:
    """A SELECT of the profile's as it stands inside another."""
    return f"({sql.rstrip().rstrip(';')})"


def why_not(error: CommandError) -> str:
    """What the database says against a statement, in one line."""
    return next((line for line in error.output.splitlines() if "ERROR" in line), str(error))


def _broken(site: Site, sql: str) -> int:
    """How many rows break an invariant."""
    return int(ask(site.database, f"SELECT count(*) FROM {inner(sql)} AS broken")[0][0])  # noqa: S608 - the statement is the profile's own


def _known(site: Site, item: Invariant) -> int:
    """How many rows break an invariant before a release comes in; SlipwayError when it cannot be asked."""
    try:
        return _broken(site, item.sql)
    except CommandError as error:
        raise SlipwayError(
            f"invariant '{item.name}' cannot be asked ({why_not(error)}): mend application.invariants"
        ) from error


def _sample(site: Site) -> dict[str, str]:
    """SHA-256 of a sample of uploaded files, by path: those whose paths have the lowest hashes, so always the same."""
    paths = (f"{name}/{place}" for name in site.profile.uploads for place in _below(site.directory / name))
    chosen = heapq.nsmallest(_SAMPLE, paths, key=lambda path: hashlib.sha256(path.encode(errors="replace")).digest())
    return {path: digest for path, digest in ((path, _digest(site, path)) for path in chosen) if digest}


def _below(directory: Path) -> Iterator[str]:
    """The plain files below a directory; the application may have put pipes, devices and links to anything there."""
    waiting = [""]
    while waiting:
        place = waiting.pop()
        # what goes away meanwhile is not there
        with suppress(OSError), os.scandir(directory / place) as found:
            for item in found:
                if item.is_dir(follow_symlinks=False):
                    waiting.append(f"{place}{item.name}/")
                elif item.is_file(follow_symlinks=False):
                    yield f"{place}{item.name}"


def _digest(site: Site, path: str) -> str | None:
    """The SHA-256 of an uploaded file; None when no such plain file is there, or it cannot be read."""
    root = max((name for name in site.profile.uploads if path.startswith(f"{name}/")), key=len, default=None)
    if root is None:
        return None
    try:
        # the directory itself may be a link of whoever runs the site
        with open_below(site.directory / root, path[len(root) + 1 :]) as stream:
            return digest_of(stream)
    except OSError:
        return None


def _uploads(site: Site, before: Mapping[str, str]) -> list[Observation]:
    """Look at the sample again: users may delete a file, but nobody changes one; where most are gone, nobody did."""
    if not before:
        return []
    now = {path: _digest(site, path) for path in before}
    gone = sum(digest is None for digest in now.values())
    changed = [path for path, digest in now.items() if digest not in {None, before[path]}]
    detail = f"{len(before)} looked at, {gone} gone"
    if changed:
        detail += f", {len(changed)} changed: {changed[0]}"
    ok = not changed and gone <= len(before) * _MAY_GO
    return [_observed(site, "uploads", len(changed), ok, detail)]


def check_pages(site: Site, before: Mapping[str, Any]) -> list[Observation]:
    """Let pg_amcheck read every table and index, where the application's database has the extension it needs."""
    found = site.database.check_pages(_CHECK_TIMEOUT)
    if found is None:
        return []
    known = found == before.get("pages")
    detail = f"{found}{', as before the release' if known else ''}" if found else "all is sound"
    return [_observed(site, "pg_amcheck", None, not found or known, detail)]


def look(site: Site, before: Mapping[str, Any]) -> list[Observation]:
    """Look at every invariant and at PostgreSQL's checksums; worse than `before` is not ok."""
    seen = []
    for item in site.profile.invariants:
        known = before.get("broken", {}).get(item.name, 0)
        try:
            count = _broken(site, item.sql)
        except CommandError as error:
            seen.append(_observed(site, item.name, None, None, f"could not be looked at: {error.reason}"))
            continue
        detail = f"{count} rows break it" if count else "holds"
        if known:
            detail += f", {known} did before the release"
        seen.append(_observed(site, item.name, count, count <= known, detail))
    failures = int(site.database.query(_CHECKSUMS)[0][0])
    new = failures - int(before.get("checksum_failures", 0))
    detail = f"{new} pages failed their checksum" if new > 0 else "no page failed"
    seen.append(_observed(site, "page checksums", failures, new <= 0, detail))
    return seen + _uploads(site, before.get("uploads", {}))


def _observed(site: Site, subject: str, count: int | None, ok: bool | None, detail: str) -> Observation:  # noqa: FBT001 - as Observation has it
    unit = None if count is None else "rows"
    return Observation(PROBE, subject, site.ledger.now(), count, unit, ok=ok, detail=detail)


def judge_writes(
    site: Site,
    before: Mapping[str, Any],
    begun: tuple[float, Mapping[str, Sequence[int]]],
    certificate: Certificate | None,
) -> list[Observation]:
    """Compare rows updated and deleted while migrating with the rehearsal's, and with the rate from before.

    How many rows there are says nothing: customers are at work. What is looked for is a migration that does far more to
    the site's data than it did to the copy. It may do to rows that came in since the copy was made what it did to those
    in it, and customers may go on as they did.

    :param before: the baseline, from which the rate up to `begun` and the rows that came in follow.
    :param begun: when the migration began (seconds since the epoch), and the counters then.
    """
    # where nobody rehearsed with this site's rows there is nothing to compare with
    if certificate is None or not certificate.writes or "writes" not in before:
        return []
    start, counters = begun
    quiet = max(start - float(before["at"]), 1.0)
    usual = since(before["writes"], counters)
    seconds = max(time.time() - start, 1.0)
    now = writes(site.database.query)
    came_in = {table: counts[_INSERTED] for table, counts in since(before["writes"], now).items()}
    beyond = []
    for table, counts in since(counters, now).items():
        more = came_in.get(table, 0) / max(certificate.rows.get(table, 0), 1)
        for index, word in ((_UPDATED, "updated"), (_DELETED, "deleted")):
            predicted = certificate.writes.get(table, [0, 0, 0])[index]
            rate = usual.get(table, [0, 0, 0])[index] / quiet
            if counts[index] > predicted * (1 + more) + _BURST * rate * seconds + _SLACK:
                beyond.append(f"{counts[index]} rows of {table} were {word}, {predicted} in the rehearsal")
    detail = "; ".join(beyond) or "rows updated and deleted are those of the rehearsal"
    return [Observation(PROBE, "migration", site.ledger.now(), None, None, ok=not beyond, detail=detail)]
