# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module assess does on the host."""

from __future__ import annotations

import json
from typing import Any

from ._errors import SlipwayError
from ._history import gather
from ._host_module import Module
from ._issues import met_before
from ._prune import Policy
from ._scorecard import Feedback, score
from ._site import Site

_MOST_ISSUES = 30


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Tell the history of a release and how it did, and keep that where people wrote something down."""
    parameters, ledger = module.params, site.ledger
    given = Feedback.parse(parameters["feedback"]) if parameters["feedback"] else None
    policy = Policy(parameters["keep"], parameters["keep_days"])
    if given is None:
        return {"changed": False, **assess(site, parameters["version"], policy)}
    history = gather(site, parameters["version"], policy)
    version = history["version"]
    if given.release != version:
        raise SlipwayError(
            f"the feedback is about release {given.release} and the report about {version}: give the feedback on "
            f"{version}, or -e report_release={given.release}"
        )
    card, known = _card(history, given), ledger.assessment(version) or {}
    changed = card != {name: known.get(name) for name in card}
    if changed:
        ledger.known_release(version)
        known = {"at": ledger.now(), "by": parameters["owner"], **card}
        if not module.check_mode:
            with ledger.locked():
                ledger.save_assessment(version, known)
    return {"changed": changed, **_told(site, history, card, known)}


def assess(site: Site, version: str | None, policy: Policy) -> dict[str, Any]:
    """Tell the history of a release and how it did, by what was kept of it."""
    history = gather(site, version, policy)
    known = site.ledger.assessment(history["version"]) or {}
    feedback = Feedback.parse(known["feedback"]) if known.get("feedback") else None
    return _told(site, history, _card(history, feedback), known)


def _card(history: dict[str, Any], feedback: Feedback | None) -> dict[str, Any]:
    """How the release did, as JSON has it: it is compared with what was kept."""
    told = feedback.to_dict() if feedback is not None else None
    card: dict[str, Any] = json.loads(json.dumps({**score(history, feedback).to_dict(), "feedback": told}))
    return card


def _told(site: Site, history: dict[str, Any], card: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    # what was kept just now is among them
    history["met_before"] = met_before(site.ledger, _MOST_ISSUES)
    assessed = {name: known[name] for name in ("at", "by")} if known else None
    return {"history": history, "scorecard": card, "assessed": assessed}
