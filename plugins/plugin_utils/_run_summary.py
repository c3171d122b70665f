# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's record in words, for the one who looks at the terminal at three in the morning."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ._run_record import ALREADY, DEPLOYED, FAILED_RUN, LOOKED_AT, NOT_BEGUN, REFUSED, TAKEN_BACK

WIDTH = 79
GOOD, BAD, UNSURE, PLAIN = "good", "bad", "unsure", "plain"

# Shorter phases are left out of the terminal; the record has them.
_WORTH_TELLING = 0.1
_INSTALLED = "ansible_collections/slipway/release/playbooks/"
_TITLE = 29
_REASON = 240
_JOBS = 5
_WELL = frozenset((DEPLOYED, ALREADY, LOOKED_AT))
_VERDICT_TONES = {"hold": GOOD, "rollback": BAD, "inconclusive": UNSURE}

Line = tuple[str, str]


def summary(name: str, host: Mapping[str, Any], record: Mapping[str, Any]) -> list[Line]:
    """The lines about one host, each with its tone; none is longer than WIDTH unless a word is."""
    lines = [_headline(name, host, record)]
    lines += _reasons(host)
    lines += _verdict(host["verdict"])
    if host["after"] is not None:
        lines.append(_plain(f"  After going back, {host['release_running'] or 'nothing'} was judged:"))
        lines += _verdict(host["after"], unseen=False)
    for item in host["announced"]:
        lines += _announced(item)
    lines += _pushed_back(host["pushed_back"])
    lines += _phases(host)
    if host["outcome"] in {DEPLOYED, TAKEN_BACK} and record["verb"] == "deploy":
        lines += _wrapped("  report  ", _command("report", name, record))
    calls = f"remote calls {host['remote_calls']}, Rails boots {host['rails_boots']}, {record['seconds']:.1f} s in all"
    lines += _wrapped("  cost    ", calls)
    for advice in _next(name, host, record):
        lines += _wrapped("  next    ", advice)
    return lines


def fleet_summary(record: Mapping[str, Any]) -> list[Line]:
    """The lines about all sites of a fleet: what became of them, wave by wave."""
    hosts, fleet = record["hosts"], record["fleet"]
    counted = Counter(host["outcome"] for host in hosts.values())
    well = set(counted) <= _WELL
    told = ", ".join(f"{number} {outcome}" for outcome, number in counted.items())
    lines = [(_clean(f"fleet: {told}"), GOOD if well else BAD)]
    for number, wave in enumerate(fleet["waves"], 1):
        alike: dict[tuple[str, str], list[str]] = {}
        for name in wave:
            alike.setdefault((hosts[name]["outcome"], _why(hosts[name])), []).append(name)
        for (outcome, why), names in alike.items():
            text = f"{outcome}: {', '.join(names)}{why}"
            lines += _wrapped(f"  wave {number}  ", text, tone=GOOD if outcome in _WELL else BAD)
    if fleet["not_begun"]:
        lines += _wrapped("  later   ", f"{NOT_BEGUN}, nothing was changed: {', '.join(fleet['not_begun'])}", tone=BAD)
    if not well:
        lines += _wrapped("  next    ", "mend the above and run again: where the release stands, it is only looked at")
    return lines


def _why(host: Mapping[str, Any]) -> str:
    """The reason for what became of a site: the criteria that say so, else what failed."""
    criteria = (host["verdict"] or {}).get("criteria", ())
    decided = [item for item in criteria if item.get("verdict") == "rollback" and item.get("mode") == "enforce"]
    if host["outcome"] in _WELL:
        return ""
    if decided:
        return ": " + ", ".join(f"{item.get('id')} {item.get('title')}" for item in decided)
    return f": {_shortened(host['failed']['msg'], _REASON)}" if host["failed"] else ""


def _headline(name: str, host: Mapping[str, Any], record: Mapping[str, Any]) -> Line:
    outcome, running = host["outcome"], host["release_running"]
    release = " ".join(filter(None, (host["application"], host["release"])))
    runs = f", {running} runs" if running else ""
    texts = {
        DEPLOYED: (f"{release} DEPLOYED", GOOD),
        ALREADY: (f"{release} already runs, nothing changed", GOOD),
        TAKEN_BACK: (f"{release} TAKEN BACK{_way_back(host)}", BAD if record["verb"] == "deploy" else GOOD),
        REFUSED: (f"{_verb(record, release)} REFUSED, nothing was changed", BAD),
        FAILED_RUN: (f"{_verb(record, release)} FAILED{runs or ', what runs is not known'}", BAD),
        LOOKED_AT: (
            f"{_verb(record, release)} tried in check mode, nothing was changed"
            if record["check_mode"]
            else f"{_verb(record, release)} done{runs}",
            GOOD,
        ),
    }
    text, tone = texts[outcome]
    if outcome == TAKEN_BACK and (host["after"] is None or _holds_no_more(host)):
        tone = BAD
    return _clean(f"{name}: {text}"), tone


def _way_back(host: Mapping[str, Any]) -> str:
    if host["release_running"] is None:
        return ", nothing stood before it"
    if host["after"] is None:
        return f", {host['release_running']} runs, UNCHECKED"
    doubt = " BUT FAILS ITS CHECKS" if _holds_no_more(host) else ""
    return f", {host['release_running']} runs{doubt}"


def _holds_no_more(host: Mapping[str, Any]) -> bool:
    return bool((host["after"] or {}).get("overall") == "rollback")


def _verb(record: Mapping[str, Any], release: str) -> str:
    return f"{record['verb']} of {release}" if release else str(record["verb"])


def _reasons(host: Mapping[str, Any]) -> list[Line]:
    gates = [item for item in host["observations"] if item["probe"] == "gate" and item["ok"] is False]
    if host["outcome"] == REFUSED and gates:
        lines = []
        for item in gates:
            lines += _wrapped(f"  {_clean(item['subject'])}: ", item["detail"], hang="    ", tone=BAD)
        return lines
    if host["failed"] is None:
        return []
    judged = (host["verdict"] or {}).get("overall") == "rollback"
    if judged and host["outcome"] == TAKEN_BACK:
        return [] if host["lost"] is False else [("  the host was lost on the way", BAD)]
    return _wrapped("  ", f"{host['failed']['task']}: {host['failed']['msg']}", hang="    ", tone=BAD)


def _verdict(verdict: Mapping[str, Any] | None, *, unseen: bool = True) -> Iterator[Line]:
    """The lines about a verdict.

    :param unseen: also those about what decides and was not seen: whoever goes back has no migrations to try, say.
    """
    for item in (verdict or {}).get("criteria", ()):
        decides = item.get("mode") == "enforce"
        mode = "" if decides else f" ({item.get('mode')})"
        word = str(item.get("verdict"))
        shown = word.upper() if word == "rollback" else word
        title = _shortened(str(item.get("title")), _TITLE)
        head = f"  {item.get('id')!s:<3} {title:<{_TITLE}} {shown + mode}  "
        tone = _VERDICT_TONES.get(word, PLAIN)
        told = decides and (unseen or item.get("observations"))
        if word == "inconclusive" and not item.get("count") and not told:
            # what decides nothing and knows nothing is no reason to read on; the record has it
            continue
        if word == "hold":
            yield (head + _shortened(str(item.get("reason")), WIDTH - len(head))).rstrip(), tone
        else:
            yield head.rstrip(), tone
            yield _shortened(f"      {_deciding(item)}", WIDTH), tone


def _deciding(item: Mapping[str, Any]) -> str:
    observations = item.get("observations") or ()
    if not observations:
        return _clean(item.get("reason"))
    last = observations[-1]
    value = last.get("value")
    figure = f"{value:.1f} {last.get('unit')}, " if item.get("threshold") and value is not None else ""
    return _clean(f"{last.get('subject')}: {figure}{last.get('detail')}")


def _announced(item: Mapping[str, Any]) -> list[Line]:
    """What became of one announcement; one that customers did not get, or perhaps, stands out."""
    good = item.get("state") in {"sent", "preview"}
    by = f" by {item.get('channel')}" if item.get("channel") else ""
    why = f": {item.get('detail')}" if item.get("detail") else ""
    told = f"{item.get('event')}{by}: {item.get('state')}{why}"
    return _wrapped("  told    ", told, tone=PLAIN if good else BAD)


def _pushed_back(told: Mapping[str, Any] | None) -> list[Line]:
    """The jobs that did not end in their time: somebody may have to know that they are done a second time."""
    if told is None:
        return []
    named = told["at_work"][:_JOBS]
    more = f" and {len(told['at_work']) - _JOBS} more" if told["at_work"][_JOBS:] else ""
    which = f"; at work were {', '.join(named)}{more}" if named else ""
    text = f"{told['jobs']} ran longer than worker_drain, pushed back to the queue to be done anew{which}"
    return _wrapped("  jobs    ", text, tone=UNSURE)


def _phases(host: Mapping[str, Any]) -> list[Line]:
    told = [item for item in host["phases"] if item["seconds"] >= _WORTH_TELLING or not item["ok"]]
    # a phase and its time stay on one line
    words = [
        f"{_clean(item['name'])} {item['seconds']:.1f}s{'' if item['ok'] else ' FAILED'}".replace(" ", "\0")
        for item in told
    ]
    lines = textwrap.wrap(", ".join(words), WIDTH, initial_indent="  phases  ", subsequent_indent=" " * 10)
    return [(line.replace("\0", " "), PLAIN) for line in lines]


def _next(name: str, host: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    outcome, advice = host["outcome"], []
    if host["logs"]:
        advice.append(f"the logs of the attempt: {host['logs']}")
    if outcome == REFUSED:
        advice.append("mend the above and run again")
    elif outcome == TAKEN_BACK and _holds_no_more(host):
        advice.append("the release before does not hold either: look at the host now")
    elif outcome == TAKEN_BACK and record["verb"] == "deploy":
        advice.append("mend the release and deploy it under a new version")
    elif outcome == FAILED_RUN:
        lost = "bring the host back, then " if host["lost"] else ""
        advice.append(f"{lost}{_command('status', name, record)} says where it stands")
    elif outcome == DEPLOYED:
        advice.append(f"to go back: {_command('rollback', name, record)}")
    return advice


def _command(verb: str, name: str, record: Mapping[str, Any]) -> str:
    """What to type next, where this run was typed."""
    place = "rollback.yml" if verb == "rollback" else f"playbooks/{verb}.yml"
    if _INSTALLED in str(record["playbook"]):
        place = f"slipway.release.{verb}"
    given = "".join(f" -i {shlex.quote(item)}" for item in record["inventory"])
    return f"ansible-playbook {place}{given} -l {shlex.quote(name)}"


def _plain(text: str) -> Line:
    return _clean(text), PLAIN


def _wrapped(head: str, text: object, hang: str | None = None, tone: str = PLAIN) -> list[Line]:
    cleaned = _clean(text)
    if not cleaned:
        return []
    later = " " * len(head) if hang is None else hang
    found = textwrap.wrap(
        cleaned, WIDTH, initial_indent=head, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return [(line, tone) for line in found]


def _shortened(text: str, width: int) -> str:
    cleaned = _clean(text)
    return cleaned if len(cleaned) <= width else f"{cleaned[: max(width - 4, 0)].rstrip()} ..."


def _clean(text: object) -> str:
    """One line that cannot move the cursor; the indent is kept."""
    raw = str(text)
    indent = " " * (len(raw) - len(raw.lstrip(" ")))
    return indent + " ".join("".join(char if char.isprintable() else " " for char in raw).split())
