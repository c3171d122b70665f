# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges evidence by the rollback criteria, on the controller, between two tasks."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.module_utils._criteria import ROLLBACK, State, judge, parse
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation


class ActionModule(ActionBase):
    """Connects to nothing: the same in check mode."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the verdict and the judge's state; fail with the reasons when it is to go back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(  # type: ignore[no-untyped-call]  # ansible-core is published without types
            {
                "criteria": {"type": "list", "elements": "dict", "required": True},
                "observations": {"type": "list", "elements": "dict", "required": True},
                "state": {"type": "dict", "default": {}},
                "baseline": {"type": "dict", "default": {}},
                "deadline": {"type": "bool", "default": False},
                "fail": {"type": "bool", "default": True},
            }
        )
        try:
            criteria = parse(given["criteria"])
            observations = [Observation.from_dict(item) for item in given["observations"]]
            before = State.from_dict(given["state"])
            asked = {"baseline": given["baseline"], "deadline": given["deadline"]}
            state, verdict = judge(criteria, before, observations, **asked)
        except SlipwayError as error:
            return {**result, "failed": True, "msg": str(error)}
        failed = given["fail"] and verdict.overall == ROLLBACK
        message = verdict.message or verdict.overall
        return {
            **result,
            "changed": False,
            "failed": failed,
            "msg": message,
            "judged": len(observations),
            "state": state.to_dict(),
            "verdict": verdict.to_dict(),
        }
