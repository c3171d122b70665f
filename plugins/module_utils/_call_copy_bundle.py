# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module copy_bundle does on the host: it says what is there, refuses, or takes piece after piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._bundle_receive import receive, survey, wanted_of
from ._bundle_take import look_ahead
from ._host_module import Module
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    parameters = module.params
    dest = Path(parameters["dest"])
    if "ahead" in parameters:
        look_ahead(site, parameters["ahead"], dest.name, Path(parameters["signers"]))
        return {"changed": False, "admitted": True}
    if "piece" in parameters:
        piece = parameters["piece"]
        return {"changed": True, "at": receive(dest.parent, wanted_of(piece), piece["offset"], Path(piece["path"]))}
    wanted = [wanted_of(item) for item in parameters["files"]]
    return {"changed": False, "there": survey(dest.parent, wanted, parameters["most"])}
