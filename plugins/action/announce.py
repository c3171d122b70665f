# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a site's customer of a release, from the controller."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._announce import announce, read
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction

ARGUMENTS = {
    "event": {"type": "str", "required": True},
    "site": {"type": "str", "required": True},
    "application": {"type": "str", "required": True},
    "product": {"type": "str"},
    "release": {"type": "str", "required": True},
    "run": {"type": "str"},
    "ledger": {"type": "dict"},
    "window": {"type": "dict"},
    "changelog": {"type": "str"},
    "notes": {"type": "dict"},
    "support": {"type": "dict"},
    "channels": {"type": "dict", "required": True},
    "outbox": {"type": "str", "required": True},
    "templates": {"type": "str", "required": True},
    "preview": {"type": "bool", "default": True},
    "resend": {"type": "bool", "default": False},
}


class ActionModule(ControllerAction):
    """Connects to nothing; check mode is a preview."""

    def answer(self) -> dict[str, Any]:
        """Return what came of it, by channel; where nothing could be sent at all, why."""
        try:
            checked = self.checked(ARGUMENTS)
            # a time that YAML made a date of is text again
            given = json.loads(json.dumps({name: value for name, value in checked.items() if value}, default=str))
            given["preview"] = bool(checked["preview"] or self.check_mode)
            told = announce(read(given))
        except (SlipwayError, AnsibleError) as error:
            message = " ".join(str(error).split())
            named = {"event": str(self._task.args.get("event")), "release": str(self._task.args.get("release"))}
            item = {**named, "channel": "", "state": "failed", "detail": message}
            return {"failed": True, "msg": message, "announced": [item], "problems": [message]}
        return {"changed": told.changed, "announced": told.announced, "problems": told.problems}
