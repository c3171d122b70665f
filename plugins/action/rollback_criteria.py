# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges evidence by the rollback criteria, on the controller, between two tasks."""

from __future__ import annotations

from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._criteria import ROLLBACK, State, judge, parse
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the verdict; what was judged on evidence is kept for AWX, which has nothing else of a job."""
        result = super().run(tmp, task_vars)
        if result.get("judged"):
            told = {(task_vars or {}).get("inventory_hostname"): {"verdict": result["verdict"]["overall"]}}
            # as ansible.builtin.set_stats returns it
            result["ansible_stats"] = {"data": {"slipway": told}, "per_host": False, "aggregate": True}
        return result

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict and the judge's state; fail with the reasons when it is to go back."""
        criteria = parse(given["criteria"])
        observations = [Observation.from_dict(item) for item in given["observations"]]
        before = State.from_dict(given["state"])
        asked = {"baseline": given["baseline"], "deadline": given["deadline"]}
        state, verdict = judge(criteria, before, observations, **asked)
        return {
            "failed": given["fail"] and verdict.overall == ROLLBACK,
            "msg": verdict.message or verdict.overall,
            "judged": len(observations),
            "state": state.to_dict(),
            "verdict": verdict.to_dict(),
        }
