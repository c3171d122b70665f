# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module support does on the host."""

from __future__ import annotations

import base64
from typing import Any

from ._call_assess import assess
from ._host_module import Module
from ._prune import Policy
from ._site import Site
from ._support import Collector, collect, redactor


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the archive and what is in it."""
    parameters = module.params
    policy = Policy(parameters["keep"], parameters["keep_days"])
    with site.at_rest():
        redact = redactor(site, module.secrets, parameters["application"])
        support = collect(site, parameters["site"], Collector(redact), lambda version: assess(site, version, policy))
    return {
        "changed": False,
        "archive": base64.b64encode(support.packed()).decode(),
        "files": list(support.files),
        "left_out": dict(support.left_out),
    }
