# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module status does on the host."""

from __future__ import annotations

from typing import Any

from ._host_module import Module
from ._site import Site
from ._status import facts


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    del module
    return {"changed": False, "status": facts(site)}
