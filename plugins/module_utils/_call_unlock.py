# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module unlock does on the host."""

from __future__ import annotations

from typing import Any

from ._errors import SlipwayError
from ._host_module import Module
from ._site import Site
from ._status import facts


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    ended = None if site.ledger.state().run is None else site.ledger.describe_run()
    if site.ledger.busy():
        raise SlipwayError(f"a process of this run still works on the site: {site.ledger.describe_run()}: let it end")
    if ended is not None and not module.check_mode:
        with site.ledger.locked():
            site.ledger.end_run(module.params["owner"])
    return {"changed": ended is not None, "ended": ended, "status": facts(site)}
