# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action has in common that runs on the controller and connects to no host."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._arguments import checked


class ControllerAction(ActionBase):
    """Connects to nothing. What goes wrong is one line; what `answer` returns is no change unless it says so."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the action has to say."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            _, given = checked(self)
            return {**result, "changed": False, **self.answer(given)}
        except SlipwayError as error:
            return {**result, "failed": True, "msg": str(error)}

    @abstractmethod
    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the result; SlipwayError says what is wrong, where, and how to mend it.

        :param given: the arguments as plain data, with their defaults; None for what was left out.
        """

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be written."""
        return bool(self._task.check_mode)
