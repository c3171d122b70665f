# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module backup does on the host."""

from __future__ import annotations

from typing import Any

from ._host_module import Module, carry, result_of
from ._plan_backup import backup
from ._process import come_after_visitors
from ._prune import Policy, prune
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    come_after_visitors()
    parameters, current = module.params, site.ledger.state().current
    outcome = carry(module, site, lambda: backup(site, parameters["run"]["id"], parameters["version"]))
    if parameters["version"] is None:
        policy = Policy(parameters["keep"], parameters["keep_days"])
        outcome.changed += carry(module, site, lambda: prune(site, policy)).changed
    return result_of(site, outcome, current, current)
