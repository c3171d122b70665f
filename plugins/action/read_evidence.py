# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the evidence for a release on the controller."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._evidence_files import parse, read_evidence


class ActionModule(ActionBase):
    """Connects to nothing: the same in check mode."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a claim for each gate; fail with one line where the variables make no sense."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # a day that YAML made a date of is text again
        given = json.loads(json.dumps(dict(self._task.args), default=str))
        version = str(given.pop("version", ""))
        try:
            evidence = read_evidence(parse(given), version, Clock().now())
        except SlipwayError as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": False, "evidence": evidence.to_dict()}
