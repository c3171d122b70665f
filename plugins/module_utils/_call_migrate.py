# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module migrate does on the host."""

from __future__ import annotations

from typing import Any

from ._armed import arming
from ._engine import Plan
from ._guard import cannot_arm
from ._host_module import Module, carry, result_of
from ._ledger import CONTROLLER_TIMEOUT
from ._plan_migrate import migrate
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    current = site.ledger.state().current
    version, timeout, application = (module.params[name] for name in ("version", "timeout", "application"))

    def plan() -> Plan:
        run = site.ledger.state().run
        silence = run.timeout if run is not None else CONTROLLER_TIMEOUT
        arm = arming(site, application, version, silence, module.params["undo_timeout"])
        return migrate(site, version, timeout, arm)

    outcome = carry(module, site, plan)
    warning = cannot_arm()
    if warning is not None:
        module.warnings.append(warning)
    return result_of(site, outcome, current, current)
