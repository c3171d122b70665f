# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the evidence for a release on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._evidence_files import parse, read_evidence


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a claim for each gate; fail with one line where the variables make no sense."""
        version = given.pop("version")
        return {"evidence": read_evidence(parse(given), version, Clock().now()).to_dict()}
