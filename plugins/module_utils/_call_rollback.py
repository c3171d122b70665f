# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module rollback does on the host."""

from __future__ import annotations

from typing import Any

from ._host_module import PATIENT, Module, carry, result_of
from ._plan_rollback import leave, rollback, way_back
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    state, version = site.ledger.state(), module.params["version"]
    asked_for = version is None or (module.params["run"].get("verb") == "rollback" and version == state.current)
    if not asked_for and (state.candidate is None or state.candidate.version != version):
        outcome = carry(module, site, lambda: leave(site), wait=PATIENT)
        result = result_of(site, outcome, state.current, state.current)
        return {**result, "taken_back": None, "standing": state.current}
    taken_back, before = way_back(site, state)
    backup, timeout = f"{module.params['run']['id']}-rollback", module.params["timeout"]
    schema = module.params["schema"]
    outcome = carry(module, site, lambda: rollback(site, backup, timeout, schema=schema), wait=PATIENT)
    result = result_of(site, outcome, taken_back, before.version)
    return {**result, "taken_back": taken_back, "standing": before.version}
