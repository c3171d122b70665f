# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module maintenance does on the host."""

from __future__ import annotations

from typing import Any

from ._engine import carry_out, preview
from ._host_module import Module
from ._plan_maintenance import maintenance
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    shown = module.params["state"] == "present"
    if module.check_mode:
        outcome = preview(site, maintenance(site, shown=shown))
    else:
        with site.ledger.locked():
            outcome = carry_out(site, maintenance(site, shown=shown))
    return {"changed": bool(outcome.changed), "steps": outcome.changed, "release": site.ledger.state().current}
