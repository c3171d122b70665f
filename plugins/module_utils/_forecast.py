# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy is about to do, how long it took last time, and how it would be undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._files import entries
from ._migration_files import version_of
from ._observation import parse_timestamp

if TYPE_CHECKING:
    from ._gates import Answer
    from ._site import Site

# What the journal tells apart, in its order.
PHASES = ("stage", "backup", "rehearse", "migrate", "switch")


def forecast(site: Site, version: str, run: Mapping[str, Any], seen: Answer) -> list[str]:
    """The plan of a deploy of `version`, a line each. It reads what is known and asks nobody.

    :param run: what preflight hands on.
    """
    if seen.already:
        return [f"{version} runs already: nothing is brought in, what runs is looked at"]
    before = run["previous"]
    release = f"release: {before or 'nothing'} -> {version} (commit {(seen.commit or '')[:12]})"
    lines = [release, _steps(site, before, seen), *_last_time(site, before), *_way_back(site, version, before, seen)]
    lines += [f"{gate} need not hold, says {by}: {why}" for gate, why, by in seen.excused]
    return lines


def _steps(site: Site, before: str | None, seen: Answer) -> str:
    count = _new_migrations(site, before, seen)
    migrations = "its migrations" if count is None else f"{count} migration{'' if count == 1 else 's'}"
    steps = ["fetch and build"]
    if before is not None:
        steps += ["backup", f"rehearsal of {migrations} on a copy"]
    steps += [migrations, f"switch ({site.profile.proxy.drain})"]
    return "steps: " + ", ".join([*steps, "cache warm", "smoke test", "watch", "verdict"])


def _new_migrations(site: Site, before: str | None, seen: Answer) -> int | None:
    """How many migrations the release brings; None where the repository or the release before does not say."""
    if seen.migrations is None:
        return None
    known = site.ledger.release(before) if before else None
    if before is not None and known is None:
        return None
    versions = {version for name in seen.migrations if (version := version_of(name))}
    return len(versions - set(known.migrations if known else ()))


def _last_time(site: Site, before: str | None) -> list[str]:
    took = site.ledger.duration(before) if before else None
    if took is None:
        return ["last time: no deploy is on record here"]
    begun, seconds = took
    return [f"last time: {before} took {seconds:.0f} s on {begun[:10]}"]


def expectation(site: Site, before: str | None) -> dict[str, Any] | None:
    """How many seconds the last deploy took, and each of its phases by the journal; None where it is unknown."""
    took = site.ledger.duration(before) if before else None
    if took is None:
        return None
    begun, seconds = took
    ended = site.ledger.moment(parse_timestamp(begun).timestamp() + seconds)
    last: dict[str, str] = {}
    first = ended
    for item in entries(site.ledger.root / "journal.jsonl"):
        if item.get("release") == before and item.get("plan") in PHASES and begun <= str(item.get("at")) <= ended:
            first = min(first, str(item["at"]))
            last[str(item["plan"])] = str(item["at"])
    phases, since = {}, parse_timestamp(first)
    # they follow one another; the dump alone is begun while the images are built
    for name in PHASES:
        if name in last and parse_timestamp(last[name]) >= since:
            until = parse_timestamp(last[name])
            phases[name] = (until - since).total_seconds()
            since = until
    return {"release": before, "seconds": seconds, "phases": phases}


def _way_back(site: Site, version: str, before: str | None, seen: Answer) -> list[str]:
    if before is None:
        return ["way back: none, it is the first here: it is stopped when it is bad"]
    back = f"way back: to {before}, by itself when the verdict is rollback, or by playbooks/rollback.yml"
    certificate = site.ledger.certificate(version)
    if certificate is None or certificate.commit != seen.commit:
        return [f"{back}; the rehearsal writes down how the database goes back, before anything is migrated"]
    return [f"{back}; as the rehearsal of {certificate.at} found:", *certificate.plan(before)]
