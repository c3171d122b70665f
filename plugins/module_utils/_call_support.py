# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module support does on the host."""

from __future__ import annotations

import base64
from typing import Any

from . import _call_assess
from ._host_module import Module
from ._site import Site
from ._support import Collector, collect, redactor


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the archive and what is in it."""
    parameters = module.params
    kept = {"keep": parameters["keep"], "keep_days": parameters["keep_days"]}

    def report(version: str) -> dict[str, Any]:
        asked = Module({"version": version, "feedback": None, **kept}, check_mode=True)
        told = _call_assess.answer(asked, site)
        return {name: told[name] for name in ("history", "scorecard", "assessed")}

    with site.at_rest():
        redact = redactor(site, module.secrets, parameters["application"])
        support = collect(site, parameters["site"], Collector(redact), report)
    return {
        "changed": False,
        "archive": base64.b64encode(support.packed()).decode(),
        "files": list(support.files),
        "left_out": dict(support.left_out),
    }
