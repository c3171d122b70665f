# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of one release, out of the ledger, as plain data of a bounded size: what its report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ._bounded import bounded
from ._criteria import HOLD, INCONCLUSIVE, ROLLBACK
from ._errors import SlipwayError
from ._files import entries
from ._issues import STOPPED, TAKEN_BACK, runs_of, why
from ._ledger import WATCHED
from ._manifest import manifest_of
from ._plan_adopt import VERSION
from ._prune import Policy, listing
from ._verify import RESTORED_UP_TO
from ._watch import UNPROVEN

if TYPE_CHECKING:
    from ._ledger import Ledger
    from ._site import Site

FORMAT = 1
_LONGEST_TEXT = 400
_MOST_RUNS, _MOST_OBSERVATIONS, _MOST_BEHIND, _MOST_STEPS = 6, 300, 12, 400
_MOST_POINTS, _MOST_SUBJECTS, _MOST_BAD = 240, 60, 3
_MOST_ALERTS, _MOST_EVENTS, _MOST_BACKUPS = 60, 60, 20
_JOURNAL_KEYS = ("at", "plan", "step", "event", "reason", "pushed_back", "at_work")
_RUN_KEYS = ("id", "verb", "owner", "release", "started", "ended", "verdict", "failure", "interrupted")
_ALERT_KEYS = ("at", "event", "reason", "next", "not_told")
_WORST_FIRST = (ROLLBACK, INCONCLUSIVE, HOLD)


def gather(site: Site, asked: str | None, policy: Policy) -> dict[str, Any]:
    """Return what the ledger knows of a release.

    :param asked: its version; else the one that stands, or is on its way in.
    :param policy: by which backups are kept, to tell why one is.
    """
    ledger = site.ledger
    state = ledger.state()
    candidate = state.candidate
    version = asked or state.current or (candidate.version if candidate is not None else None)
    if version is None:
        raise SlipwayError("no release stands here, and none was named: there is nothing to report")
    if not VERSION.fullmatch(version):
        raise SlipwayError(f"{version!r} is no release version: letters, digits, . _ - only")
    release, events = ledger.release(version), [item for item in state.history if item["release"] == version]
    runs = [_run(item) for item in islice(runs_of(ledger, version), _MOST_RUNS)]
    if release is None and not events and not runs:
        known = ", ".join(sorted(path.name for path in (ledger.root / "releases").glob("*"))) or "none"
        raise SlipwayError(f"release {version} was never here; releases of this site: {known}")
    own = candidate if candidate is not None and candidate.version == version else None
    before = own.before if own is not None else ledger.before(version)
    known_before = set(before.migrations) if before is not None else set()
    alerts = _alerts(ledger, version)
    found = {
        "format": FORMAT,
        "application": site.profile.name,
        "version": version,
        "current": state.current,
        "phase": own.phase if own is not None else None,
        "commit": release.commit if release is not None else None,
        "adopted": release is not None and release.adopted,
        "replaced": None if before is None else before.version,
        "migrations": sorted(set(release.migrations) - known_before) if release is not None and before else [],
        "gone": _gone(ledger, events),
        "runs": runs,
        "journal": _journal(ledger, version),
        "watch": _watch(site, version, events, alerts),
        "alerts": _picked(alerts[-_MOST_ALERTS:], _ALERT_KEYS),
        "told": _told(site),
        "certificate": None,
        "plan": [],
        "backups": _backups(site, policy, version),
        "history": state.history[-_MOST_EVENTS:],
    }
    certificate = ledger.certificate(version)
    if certificate is not None:
        found["certificate"] = {**certificate.to_dict(), "good": certificate.good, "road": certificate.road}
        found["plan"] = certificate.plan(before.version or "nothing") if before is not None else []
    result: dict[str, Any] = bounded(found, _LONGEST_TEXT)
    return result


def _picked(items: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: item[name] for name in keys if name in item} for item in items]


def _run(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a run."""
    verdict = dict(record.get("verdict") or {})
    if verdict:
        verdict["criteria"] = [
            {**item, "observations": list(item.get("observations") or ())[-_MOST_BEHIND:]}
            for item in verdict["criteria"]
        ]
    kept = {name: record.get(name) for name in _RUN_KEYS}
    return {**kept, "verdict": verdict, "observations": _telling(record.get("observations") or ())}


def _telling(observations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of many observations those that tell something: what was not well, each page, else the last of each subject."""
    last = {(item["probe"], item["subject"]): number for number, item in enumerate(observations)}
    telling = [
        item
        for number, item in enumerate(observations)
        if item["ok"] is not True or item["probe"] == "page" or last[item["probe"], item["subject"]] == number
    ]
    # where it is too much, what was not well comes first
    kept = sorted(range(len(telling)), key=lambda number: telling[number]["ok"] is True)[:_MOST_OBSERVATIONS]
    return [telling[number] for number in sorted(kept)]


def _gone(ledger: Ledger, events: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the release was taken back; None when it was not, or came in again."""
    decisive = [item for item in events if item["event"] in {"deployed", TAKEN_BACK, STOPPED}]
    if not decisive or decisive[-1]["event"] == "deployed":
        return None
    by_the_watch = [item for item in events if item["event"] == WATCHED and item.get("outcome") == TAKEN_BACK]
    told = next((item["reason"] for item in by_the_watch if item["at"] >= decisive[-1]["at"]), None)
    return f"{decisive[-1]['event']}: {told or why(ledger, decisive[-1])}"


def _journal(ledger: Ledger, version: str) -> list[dict[str, Any]]:
    steps = [item for item in entries(ledger.root / "journal.jsonl") if item.get("release") == version]
    return _picked(steps[-_MOST_STEPS:], _JOURNAL_KEYS)


def _alerts(ledger: Ledger, version: str) -> list[dict[str, Any]]:
    """What people were told of the release, and whom nobody reached: that stands after what was to be told."""
    found, own = [], False
    for item in entries(ledger.root / "watch" / "alerts.jsonl"):
        own = item["release"] == version if "release" in item else own
        found += [item] if own else []
    return found


def _told(site: Site) -> list[str]:
    """Who hears of alerts; a webhook's address is a secret."""
    alert = site.profile.watch.alert
    told = ["the file watch/alerts.jsonl on the host"]
    told += ["a webhook"] if alert.webhook is not None else []
    return told + ([f"mail to {', '.join(alert.mail.to)}"] if alert.mail is not None else [])


def _backups(site: Site, policy: Policy, version: str) -> list[dict[str, Any]]:
    """The backups that this release is about, each with how it was proven."""
    before, certificate = site.ledger.before(version), site.ledger.certificate(version)
    own = before.backup if before is not None else None
    found = []
    for item in listing(site, policy):
        if item.id != own and item.release != version and not str(item.reason).startswith(f"before {version}"):
            continue
        proof = "size and SHA-256 of each file"
        if certificate is not None and certificate.proven and certificate.backup == item.id:
            manifest = manifest_of(site, item.id) or {"database": {"bytes": 0}}
            small = manifest["database"]["bytes"] <= RESTORED_UP_TO
            proof = "restored into a PostgreSQL of its own and compared" if small else "read back whole"
        found.append({**item.to_dict(), "proof": proof})
    return found[:_MOST_BACKUPS]


def _watch(
    site: Site, version: str, events: Sequence[Mapping[str, Any]], alerts: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """What the host saw while it looked after the release; None when it did not."""
    ledger = site.ledger
    begun = next((item["at"] for item in reversed(events) if item["event"] == "deployed"), None)
    ended = next((item for item in events if begun and item["event"] == WATCHED and item["at"] >= begun), None)
    running = ledger.state().watch
    running = running if running is not None and running.release == version else None
    if begun is None or (ended is None and running is None):
        return None
    until = ended["at"] if ended is not None else ledger.now()
    files = [ledger.root / "watch" / name for name in ("looks.1.jsonl", "looks.jsonl")]
    looks = [item for path in files for item in entries(path) if begun <= str(item.get("at")) <= until]
    breaches = [str(item["reason"]) for item in alerts if item.get("event") == "breach" and item["at"] >= begun]
    outcome = ended["outcome"] if ended is not None else None
    reason = ended["reason"] if ended is not None else None
    return {
        "begun": begun,
        "ended": until if ended is not None else None,
        "until": None if running is None else ledger.moment(running.until),
        "outcome": outcome,
        "reason": reason,
        "breach": breaches[-1] if breaches else reason if outcome == TAKEN_BACK else None,
        "short": reason if outcome == UNPROVEN and not breaches else None,
        "looks": len(looks),
        "first": looks[0]["at"] if looks else None,
        "last": looks[-1]["at"] if looks else None,
        "kinds": _kinds(looks),
        "subjects": _subjects(looks),
        "sockets": _sockets(looks),
        "points": _points(looks),
    }


def _kinds(looks: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each kind of observation: the looks that saw it, those that saw it not well, and how it is now."""
    seen = Counter(kind for look in looks for kind in look.get("seen", ()))
    bad = Counter(kind for look in looks for kind in {item["probe"] for item in look["not_ok"] if item["ok"] is False})
    found = {}
    for kind in sorted({*seen, *(item["probe"] for look in looks for item in look["not_ok"])}):
        texts = [
            _words(item) for look in looks for item in look["not_ok"] if item["probe"] == kind and item["ok"] is False
        ]
        now = looks[-1]
        ill = [_words(item) for item in now["not_ok"] if item["probe"] == kind and item["ok"] is False]
        found[kind] = {
            "seen": seen[kind],
            "bad": bad[kind],
            "worst": Counter(texts).most_common(1)[0][0] if texts else None,
            # one that was well again when it was looked at anew is no illness
            "ill": ill[-1] if ill and now["verdict"] != HOLD else None,
        }
    return found


def _words(item: Mapping[str, Any]) -> str:
    return f"{item['subject']}: {item['detail']}"


def _sockets(looks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The errors of WebSockets in the logs; None where there were none."""
    found = [look["sockets"] for look in looks if look.get("sockets")]
    return {"looks": len(found), "last": _words(found[-1][-1])} if found else None


def _subjects(looks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was not well, or could not be seen, by subject; the most frequent first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for look in looks:
        for item in look["not_ok"]:
            new = {"probe": item["probe"], "subject": item["subject"], "bad": 0, "unseen": 0, "first": item["at"]}
            known = found.setdefault((item["probe"], item["subject"]), new)
            known["bad" if item["ok"] is False else "unseen"] += 1
            known.update(last=item["at"], detail=item["detail"], value=item["value"], unit=item["unit"])
    return sorted(found.values(), key=lambda item: -item["bad"] - item["unseen"])[:_MOST_SUBJECTS]


def _points(looks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The looks, so many of them together that a few are left: of each group the worst, so that nothing is hidden."""
    together = -(-len(looks) // _MOST_POINTS) or 1
    groups = [looks[start : start + together] for start in range(0, len(looks), together)]
    return [_point(group) for group in groups]


def _point(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pages: dict[str, float] = {}
    for look in group:
        for page, value in look["pages"].items():
            if value is not None:
                pages[page] = max(value, pages.get(page, 0.0))
    verdicts = [look["verdict"] for look in group]
    bad = [_words(item) for look in group for item in look["not_ok"] if item["ok"] is False]
    return {
        "at": group[0]["at"],
        "looks": len(group),
        "verdict": min(verdicts, key=lambda name: _WORST_FIRST.index(name) if name in _WORST_FIRST else 0),
        "pages": pages,
        "bad": list(dict.fromkeys(bad))[:_MOST_BAD],
    }
