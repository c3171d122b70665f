# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one of the engine's modules on its host, and turns a lost host into a failure.

Neither `rescue` nor `always` runs for a host that became UNREACHABLE. A deploy must be taken back then too, so a host
that is lost during one of our calls fails that call instead.

plugins/action/ holds a link to this file for each of the modules.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module that has the task's own name."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result; a lost connection becomes `failed` with `lost_host`."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._execute_module(module_name=self._task.action, task_vars=task_vars))
            # the arguments hold the environment, whose short values no_log does not cover
            result.pop("invocation", None)
        except AnsibleConnectionFailure as error:
            host = (task_vars or {}).get("inventory_hostname", "the host")
            reason = " ".join(str(error).split())
            result.update(
                failed=True,
                lost_host=True,
                msg=f"{host} cannot be reached ({reason}): check its power, network and SSH access",
            )
        return result
