# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action has in common that runs on the controller and connects to no host."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError


class ControllerAction(ActionBase):
    """Connects to nothing. What goes wrong is one line; what `answer` returns is no change unless it says so."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the action has to say."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            return {**result, "changed": False, **self.answer()}
        except SlipwayError as error:
            return {**result, "failed": True, "msg": str(error)}

    @abstractmethod
    def answer(self) -> dict[str, Any]:
        """Return the result; SlipwayError says what is wrong, where, and how to mend it."""

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be written."""
        return bool(self._task.check_mode)

    @property
    def plain(self) -> dict[str, Any]:
        """The arguments as plain data: a day that YAML made a date of is text again."""
        given: dict[str, Any] = json.loads(json.dumps(dict(self._task.args), default=str))
        return given

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check the arguments as Ansible does a module's; returns them with their defaults."""
        _, given = self.validate_argument_spec(arguments)  # type: ignore[no-untyped-call]  # ansible-core is published without types
        return dict(given)
