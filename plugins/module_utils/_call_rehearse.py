# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module rehearse does on the host."""

from __future__ import annotations

from typing import Any

from ._certificate import Certificate
from ._host_module import Module, carry, result_of
from ._plan_rehearse import Policy, rehearse
from ._process import come_after_visitors
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    come_after_visitors()
    given, current = module.params, site.ledger.state().current
    certificate = Certificate.from_dict(given["certificate"]) if given["certificate"] else None
    policy = Policy(
        given["policy"],
        given["limit"],
        expected=given["expected"],
        timeout=given["timeout"],
        certificate=certificate,
    )
    outcome = carry(module, site, lambda: rehearse(site, given["version"], policy))
    return result_of(site, outcome, current, current)
