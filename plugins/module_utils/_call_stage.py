# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module stage does on the host."""

from __future__ import annotations

from typing import Any

from ._host_module import Module, carry, result_of
from ._plan_backup import dump_while_staging
from ._plan_stage import stage
from ._process import come_after_visitors
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    come_after_visitors()
    current, version, commit = site.ledger.state().current, module.params["version"], module.params["commit"]
    dump = dump_while_staging(site, module.params["run"]["id"], version)
    outcome = carry(module, site, lambda: stage(site, version, commit, dump))
    return result_of(site, outcome, current, version)
