# SPDX-License-Identifier: GPL-3.0-or-later
"""Issues met: what went wrong with earlier releases of this site, for whoever deploys the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._armed import OWNER
from ._criteria import ROLLBACK
from ._files import LONGEST_FILE, entries
from ._ledger import WATCHED
from ._watch import UNPROVEN

if TYPE_CHECKING:
    from pathlib import Path

    from ._ledger import Ledger

STOPPED, TAKEN_BACK = "stopped", "taken back"
# Alerts that no event of the history repeats.
_ALERTS = ("breach", "not taken back", "blind", "warning")
_GRAVE = ("critical", "high")
_MOST_RUNS = 200
# A run's record begins with what it is about.
_HEAD = 4096
_LONGEST_LINE = 240


def runs_of(ledger: Ledger, release: str) -> Iterator[dict[str, Any]]:
    """The records of the runs that were about a release, the newest first; one that cannot be read is left out."""
    about = f'"release": {json.dumps(release)}'
    paths = sorted((ledger.root / "runs").glob("*.json"), key=lambda path: path.name, reverse=True)
    for path in paths[:_MOST_RUNS]:
        record = _read(path, about)
        if record is not None and record.get("release") == release:
            yield record


def _read(path: Path, about: str) -> dict[str, Any] | None:
    """A record whose head says that it is `about` something: most are not, and need not be parsed."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD).decode(errors="replace")
        if about not in head or path.stat().st_size > LONGEST_FILE:
            return None
        rest = stream.read().decode(errors="replace")
    try:
        record = json.loads(head + rest)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def reason_of(run: Mapping[str, Any]) -> str | None:
    """Why a run took its release back, or failed; None when it does not tell."""
    verdict = run.get("verdict") or {}
    decisive = [
        f"{item.get('id')} {item.get('title')}: {item.get('reason')}"
        for item in verdict.get("criteria", ())
        if item.get("verdict") == ROLLBACK and item.get("mode") == "enforce"
    ]
    failed = [
        f"{item.get('subject')}: {item.get('detail')}"
        for item in run.get("observations", ())
        if item.get("ok") is False
    ]
    if run.get("verb") == "deploy" and (decisive or failed):
        return "; ".join(decisive) or failed[0]
    if run.get("failure"):
        return str(run["failure"])
    if run.get("verb") != "rollback":
        return None
    by_itself = run.get("owner") == OWNER
    return "nobody was heard of any more" if by_itself else f"asked for by {run.get('owner')}"


def why(ledger: Ledger, event: Mapping[str, Any]) -> str:
    """Why a release was taken back or stopped, by the run in which it was."""
    runs = runs_of(ledger, event["release"])
    run = next((item for item in runs if str(item.get("started")) <= event["at"]), {})
    return reason_of(run) or f"by {event.get('by') or 'nobody knows whom'}"


def met_before(ledger: Ledger, most: int) -> list[dict[str, str]]:
    """What went wrong here, the newest first: mappings with `at`, `release` and `text`."""
    found = [*_events(ledger, most), *_alerts(ledger), *_assessed(ledger)]
    # a breach is an alert, and then the reason of the event that followed: the event is enough
    told = {(item["release"], item["reason"]) for item in found if "reason" in item and "alert" not in item}
    once = {
        (item["release"], item["text"]): {name: _clean(item[name]) for name in ("at", "release", "text")}
        for item in found
        if "alert" not in item or (item["release"], item["reason"]) not in told
    }
    return sorted(once.values(), key=lambda item: item["at"], reverse=True)[:most]


def lines(found: list[dict[str, str]], most: int) -> list[str]:
    """A few lines for people, with how many more there are."""
    told = [_clean(f"met before: {item['release']}, {item['at'][:10]}: {item['text']}") for item in found[:most]]
    more = len(found) - most
    return [*told, f"met before: {more} more, playbooks/report.yml shows them"] if more > 0 else told


def _clean(text: str) -> str:
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return plain if len(plain) <= _LONGEST_LINE else f"{plain[: _LONGEST_LINE - 4]} ..."


def _issue(at: object, release: object, what: str, reason: object = "", **more: str) -> dict[str, str]:
    text = f"{what}: {reason}" if reason else what
    return {"at": str(at), "release": str(release), "text": text, "reason": str(reason), **more}


def _events(ledger: Ledger, most: int) -> Iterator[dict[str, str]]:
    """What the history has, the newest first."""
    by_the_watch = set()
    count = 0
    for event in reversed(ledger.state().history):
        release, what, outcome = event["release"], event["event"], event.get("outcome")
        if count >= most:
            return
        if what == WATCHED and outcome in {TAKEN_BACK, UNPROVEN}:
            # the engine's own event of the same comes before this one, and does not know the reason
            by_the_watch |= {release} if outcome == TAKEN_BACK else set()
            yield _issue(event["at"], release, f"{outcome} in its first hours", event.get("reason"))
        elif what in {TAKEN_BACK, STOPPED} and release in by_the_watch:
            by_the_watch.discard(release)
            continue
        elif what in {TAKEN_BACK, STOPPED}:
            yield _issue(event["at"], release, what, why(ledger, event))
        else:
            continue
        count += 1


def _alerts(ledger: Ledger) -> Iterator[dict[str, str]]:
    for item in entries(ledger.root / "watch" / "alerts.jsonl"):
        if item.get("event") in _ALERTS:
            yield _issue(item.get("at"), item.get("release"), item["event"], item.get("reason"), alert="")


def _assessed(ledger: Ledger) -> Iterator[dict[str, str]]:
    """What people wrote down, and what came of it."""
    for path in sorted((ledger.root / "releases").glob("*/assessment.json")):
        known = ledger.assessment(path.parent.name)
        if known is None:
            continue
        release, feedback = path.parent.name, known.get("feedback") or {}
        if known.get("outcome") in {"failed", "mixed"}:
            yield _issue(
                known.get("at"), release, f"assessed as {known['outcome']}", "; ".join(known.get("reasons", ()))
            )
        for issue in feedback.get("issues") or ():
            yield _issue(issue.get("date"), release, str(issue.get("text")))
        for bug in feedback.get("bugs") or ():
            if bug.get("severity") in _GRAVE:
                yield _issue(bug.get("date"), release, f"{bug['severity']} bug", bug.get("text"))
