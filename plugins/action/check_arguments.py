# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the arguments of all roles at once, on the controller, as Ansible checks those of one."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.slipway.release.plugins.lookup.role_arguments import role_arguments
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return nothing to tell, or fail with one line."""
        self._variables = task_vars or {}
        return super().run(tmp, task_vars)

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Fail with what is missing, else with all that is of a wrong type."""
        missing = [name for name in given["required"] if name not in self._variables]
        if missing:
            raise SlipwayError(f"missing required arguments: {', '.join(missing)}")
        known = role_arguments()
        values = self._templar.template({name: self._variables[name] for name in known if name in self._variables})
        wrong = ArgumentSpecValidator(known).validate(values).error_messages
        if wrong:
            raise SlipwayError("; ".join(wrong))
        return {}
