# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges on the controller whether the next wave of a fleet may begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._fleet import gate, parse_sizes, site_of, waves

NOT_DIVIDED = "fleet_waves did not divide this run: give it with -e; Ansible does not look for it in an inventory"

# What the run of a site leaves, as far as it came.
TOLD = (
    "fleet_release",
    "deploy_failure",
    "deploy_verdict",
    "preflight_result",
    "rollback_result",
    "verdict_result",
)


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the action has to say, with the variables of other sites at hand."""
        self._hostvars: Mapping[str, Mapping[str, Any]] = (task_vars or {}).get("hostvars", {})
        return super().run(tmp, task_vars)

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return why the wave may not begin, if it may not."""
        divided = waves(given["sites"], parse_sizes(given["waves"]))
        # a site that failed already is no longer in the batch
        number = next((index for index, wave in enumerate(divided) if set(given["batch"]) <= set(wave)), None)
        if number is None:
            return {"msg": NOT_DIVIDED, "refusal": NOT_DIVIDED, "left_out": [], "later": []}
        ledgers = {item.get("__fleet_site"): item for item in given["ledgers"] if not item.get("skipped")}
        earlier = [site_of(name, self._told(name), ledgers.get(name)) for wave in divided[:number] for name in wave]
        found = gate(earlier, [name for wave in divided[number + 1 :] for name in wave], given["unreachable"])
        out = f"; left out, for they could not be reached: {', '.join(found.left_out)}" if found.left_out else ""
        return {
            "msg": found.refusal or f"wave {number + 1} of {len(divided)} may begin{out}",
            "refusal": found.refusal,
            "left_out": found.left_out,
            "later": found.later,
        }

    def _told(self, name: str) -> dict[str, Any]:
        site = self._hostvars[name]
        return {key: site[key] for key in TOLD if key in site}
