# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a site's customer of a release, from the controller."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.slipway.release.plugins.plugin_utils._announce import announce, read
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction


class ActionModule(ControllerAction):
    """Connects to nothing; check mode is a preview."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what came of it, by channel; where nothing could be sent at all, why."""
        try:
            result = super().run(tmp, task_vars)
        except AnsibleError as error:
            # such as arguments of another type: a deploy tells of that too, and goes on
            result = {"failed": True, "msg": str(error)}
        if result.get("failed"):
            message = " ".join(result["msg"].split())
            named = {name: str(self._task.args.get(name)) for name in ("event", "release")}
            item = {**named, "channel": "", "state": "failed", "detail": message}
            result.update(msg=message, announced=[item], problems=[message])
        return result

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return what came of it, by channel."""
        wanted = {name: value for name, value in given.items() if value}
        told = announce(read({**wanted, "preview": given["preview"] or self.check_mode}))
        return {"changed": told.changed, "announced": told.announced, "problems": told.problems}
