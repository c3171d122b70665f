# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module load does on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._bundle_take import take
from ._host_module import Module
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    return take(site, Path(module.params["path"]), Path(module.params["signers"]), check=module.check_mode)
