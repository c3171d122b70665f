# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module accept does on the host."""

from __future__ import annotations

from typing import Any

from ._engine import Plan, carry_out
from ._host_module import Module
from ._plan_switch import forget_replaced
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    ledger = site.ledger
    known = ledger.accepted()
    if known is None and module.check_mode:
        return {"changed": True, "accepted": {"release": ledger.acceptable()}}
    if known is None:
        with ledger.locked():
            known = ledger.accept(module.params["owner"])
            release = ledger.known_release(known["release"])
            carry_out(site, Plan("accept", release.version, "switch", [forget_replaced(site, release)]))
            return {"changed": True, "accepted": known}
    return {"changed": False, "accepted": known}
