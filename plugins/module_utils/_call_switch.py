# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module switch does on the host."""

from __future__ import annotations

from typing import Any

from ._host_module import Module, carry, result_of
from ._plan_switch import switch
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    current = site.ledger.state().current
    outcome = carry(module, site, lambda: switch(site, module.params["version"]))
    return result_of(site, outcome, current, module.params["version"])
