# SPDX-License-Identifier: GPL-3.0-or-later
"""A release comes to a fleet in waves: how the waves are written, and whether the next one may begin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from ansible.utils.helpers import pct_to_int
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError

STOP, SKIP = "stop", "skip"

Size = Union[int, str]

_SHARE = re.compile(r"(100|[1-9][0-9]?)%")
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


def parse_sizes(value: object) -> list[Size]:
    """How many sites each wave takes, as the keyword `serial` of a play wants it; the last is repeated.

    :param value: a size or a list of them, or their text with commas between: numbers of sites, or shares (`25%`).
    """
    items = value if isinstance(value, list) else [value]
    if isinstance(value, str):
        items = value.split(",")
    sizes = [_size(item) for item in items]
    if not sizes:
        raise SlipwayError("fleet_waves: is empty: give sizes such as 1,25%,100%")
    return sizes


def _size(item: object) -> Size:
    text = "" if isinstance(item, bool) else str(item).strip()
    if _SHARE.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text):
        return int(text)
    raise SlipwayError(f"fleet_waves: {item!r} is no size of a wave: a number of sites or a share, such as 1,25%,100%")


def waves(sites: Sequence[str], sizes: Sequence[Size]) -> list[list[str]]:
    """The sites of each wave, as Ansible divides them."""
    found: list[list[str]] = []
    begun = 0
    while begun < len(sites):
        size = pct_to_int(sizes[min(len(found), len(sizes) - 1)], len(sites))
        found.append(list(sites[begun : begun + size]))
        begun += size
    return found


@dataclass(frozen=True)
class Site:
    """What became of a site of an earlier wave.

    :param problem: why the release does not stand there, or cannot be seen to; None when it stands.
    :param unreached: it could not be reached, and nothing was left half done there.
    """

    name: str
    problem: str | None
    unreached: bool = False


@dataclass(frozen=True)
class Gate:
    """Whether a wave may begin.

    :param refusal: why not, on one line; None when it may.
    :param left_out: the sites of earlier waves that could not be reached and did not stop the fleet.
    :param later: the sites of the waves after this one.
    """

    refusal: str | None
    left_out: list[str]
    later: list[str]


def gate(earlier: Sequence[Site], later: Sequence[str], unreachable: str) -> Gate:
    """Let a wave begin when the release stands on the sites of the earlier ones.

    :param unreachable: what a site means that cannot be reached: STOP or SKIP. SKIP wants one at least that stands.
    """
    left_out = [site.name for site in earlier if site.unreached and unreachable == SKIP]
    reasons = [f"{site.name}: {site.problem}" for site in earlier if site.problem and site.name not in left_out]
    if earlier and len(left_out) == len(earlier):
        reasons = [f"none of its sites was reached: {', '.join(left_out)}"]
    said = "; ".join(reasons)
    refusal = f"nothing was changed here, for an earlier wave does not hold: {said}" if reasons else None
    return Gate(refusal, left_out, list(later))


def site_of(name: str, told: Mapping[str, Any], ledger: Mapping[str, Any] | None) -> Site:
    """What became of a site.

    :param told: the variables that its run left.
    :param ledger: what the module `status` returned just now; None when it was not asked.
    """
    if "fleet_release" not in told:
        return _not_standing(name, told)
    stands = told["fleet_release"]
    if ledger is None:
        return Site(name, None)
    if ledger.get("lost_host"):
        return Site(name, f"{stands} stood there, and it cannot be reached any more", unreached=True)
    if "status" not in ledger:
        return Site(name, _text(ledger.get("msg")))
    now = _part(ledger, "status").get("current")
    if now == stands:
        return Site(name, None)
    return Site(
        name, f"{stands} stood there and was taken back since, {now or 'nothing'} runs: playbooks/status.yml says more"
    )


def _not_standing(name: str, told: Mapping[str, Any]) -> Site:
    preflight = _part(told, "preflight_result")
    if "deploy_failure" in told:
        return Site(name, f"{_way_back(told)}: {_criteria(told)}{_text(told['deploy_failure'])}")
    if preflight and "run" not in preflight:
        said = _text(preflight.get("msg")).removeprefix(f"{name} ")
        return Site(name, said, unreached=bool(preflight.get("lost_host")))
    judged = _part(told, "verdict_result")
    if _part(judged, "verdict").get("overall") == "rollback":
        return Site(name, _text(judged.get("msg")))
    return Site(name, "its deploy did not come to its end: playbooks/status.yml says where it stands")


def _way_back(told: Mapping[str, Any]) -> str:
    run, back = _part(_part(told, "preflight_result"), "run"), _part(told, "rollback_result")
    release = run.get("release")
    if "standing" not in back:
        return f"{release} could not be taken back"
    if back.get("taken_back") is None:
        return f"{release} did not come in, {back['standing'] or 'nothing'} runs as before"
    return f"{release} was taken back, {back['standing'] or 'nothing'} runs"


def _criteria(told: Mapping[str, Any]) -> str:
    """The criteria that say so, unless the reason names them already."""
    found = [item for item in _part(told, "deploy_verdict").get("criteria") or () if item.get("verdict") == "rollback"]
    names = [f"{item.get('id')} {item.get('title')}" for item in found if item.get("mode") == "enforce"]
    missing = [item for item in names if item not in str(told["deploy_failure"])]
    return "".join(f"{item}: " for item in missing)


def _part(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = given.get(key)
    return found if isinstance(found, Mapping) else {}


def _text(message: object) -> str:
    return " ".join(str(message or "no reason was given").split())
