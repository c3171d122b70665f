# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module copy_bundle does on the host: it says what is there, then takes piece after piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._bundle_receive import receive, survey, wanted_of
from ._host_module import Module
from ._site import Site


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    del site
    parameters = module.params
    directory = Path(parameters["dest"]).parent
    piece = parameters.get("piece")
    if piece is None:
        wanted = [wanted_of(item) for item in parameters["files"]]
        return {"changed": False, "there": survey(directory, wanted, parameters["most"])}
    return {"changed": True, "at": receive(directory, wanted_of(piece), piece["offset"], Path(piece["path"]))}
