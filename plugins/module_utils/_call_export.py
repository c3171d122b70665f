# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module export does on the host."""

from __future__ import annotations

import os
from typing import Any

from ._export import export, export_path, withdraw
from ._host_module import Module, carry, result_of
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    backup, recipients = module.params["backup"], module.params["recipients"]
    # whoever became root by sudo fetches the file as that user
    owner = int(os.environ.get("SUDO_UID", os.geteuid()))
    if module.params["state"] == "absent":
        outcome = carry(module, site, lambda: withdraw(site, backup))
    else:
        outcome = carry(module, site, lambda: export(site, backup, recipients, owner))
    current = site.ledger.state().current
    return {**result_of(site, outcome, current, current), "path": str(export_path(site, backup))}
