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
    history = gather(site, parameters["version"], Policy(parameters["keep"], parameters["keep_days"]))
    version = history["version"]
    if given is not None and given.release != version:
        raise SlipwayError(
            f"the feedback is about release {given.release} and the report about {version}: give the feedback on "
            f"{version}, or -e report_release={given.release}"
        )
    known = ledger.assessment(version) or {}
    feedback = given or (Feedback.parse(known["feedback"]) if known.get("feedback") else None)
    told = feedback.to_dict() if feedback is not None else None
    # as JSON has it, to be compared with what was kept
    card: dict[str, Any] = json.loads(json.dumps({**score(history, feedback).to_dict(), "feedback": told}))
    changed = given is not None and card != {name: known.get(name) for name in card}
    if changed:
        ledger.known_release(version)
        known = {"at": ledger.now(), "by": parameters["owner"], **card}
        if not module.check_mode:
            with ledger.locked():
                ledger.save_assessment(version, known)
    # what was kept just now is among them
    history["met_before"] = met_before(ledger, _MOST_ISSUES)
    assessed = {name: known[name] for name in ("at", "by")} if known else None
    return {"changed": changed, "history": history, "scorecard": card, "assessed": assessed}
