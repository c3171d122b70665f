# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module restore does on the host."""

from __future__ import annotations

from typing import Any

from ._host_module import PATIENT, Module, carry, result_of
from ._plan_restore import restore
from ._prune import Policy, listing
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    parameters = module.params
    backup, uploads = parameters["backup"], parameters["uploads"]
    if backup is None:
        listed = listing(site, Policy(parameters["keep"], parameters["keep_days"]))
        return {"changed": False, "backups": [item.to_dict() for item in listed], "rails_boots": 0}
    saved = f"{parameters['run']['id']}-before"
    outcome = carry(module, site, lambda: restore(site, backup, saved, uploads=uploads), wait=PATIENT)
    current = site.ledger.state().current
    return result_of(site, outcome, current, current)
