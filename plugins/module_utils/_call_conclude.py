# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module conclude does on the host."""

from __future__ import annotations

from typing import Any

from ._engine import Plan, carry_out
from ._errors import SlipwayError
from ._guard import ARMED, Guard
from ._host_module import PATIENT, Module
from ._plan_switch import let_replaced_go
from ._prune import Policy, prune
from ._site import Site
from ._watch import begin


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    if module.check_mode:
        told: dict[str, Any] = {"pruned": [], "not_pruned": None, "not_stopped": None, "not_watched": None}
        return {"changed": False, "current": site.ledger.state().current, **told}
    parameters = module.params
    with site.ledger.locked(PATIENT):
        run = site.ledger.check_run(int(parameters["run"].get("token", 0)))
        not_stopped = _let_replaced_go(site) if parameters["promote"] else None
        not_watched = _begin_watch(module, site) if parameters["promote"] else None
        evidence = {"verdict": parameters["verdict"], "observations": parameters["observations"]}
        state = site.ledger.close_run(run, evidence, promote=parameters["promote"])
        if run.verb in {"deploy", "rollback"}:
            site.ledger.update(armed=None)
            Guard(site).end(ARMED)
        pruned, not_pruned = [], None
        if parameters["promote"]:
            try:
                pruned = carry_out(site, prune(site, Policy(parameters["keep"], parameters["keep_days"]))).changed
            except SlipwayError as error:
                # the release stands already: an old backup that stays is no reason to take it back
                not_pruned = str(error)
    told = {"pruned": pruned, "not_pruned": not_pruned, "not_stopped": not_stopped, "not_watched": not_watched}
    return {"changed": bool(pruned), "current": state.current, **told}


def _let_replaced_go(site: Site) -> str | None:
    """Stop the containers that the release took the place of; returns why they still run, if so."""
    candidate = site.ledger.state().candidate
    if candidate is None:
        return None
    release = site.ledger.known_release(candidate.version)
    try:
        carry_out(site, Plan("conclude", release.version, "switch", [let_replaced_go(site, release)]))
    except SlipwayError as error:
        # the release is good: what runs idle beside it is no reason to take it back
        return str(error)
    return None


def _begin_watch(module: Module, site: Site) -> str | None:
    """Let the host look after the release; returns why it does not, if so.

    Before the run is closed: whoever kills this leaves a run that is open, and the host waits.
    """
    candidate, parameters = site.ledger.state().candidate, module.params
    if candidate is None:
        return None
    try:
        return begin(
            site,
            candidate.version,
            application=parameters["application"],
            criteria=parameters["criteria"],
            undo_timeout=parameters["undo_timeout"],
            security=parameters["security"],
        )
    except (SlipwayError, OSError) as error:
        # the release is good: that nobody looks after it is no reason to take it back
        return str(error)
