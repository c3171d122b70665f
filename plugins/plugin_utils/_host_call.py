# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one of the engine's modules on its host with the library that it needs, and turns a lost host into a failure.

Neither `rescue` nor `always` runs for a host that became UNREACHABLE. A deploy must be taken back then too, so a host
that is lost during one of our calls fails that call instead.

plugins/action/ holds a link to this file for each of the modules. What a module takes is checked here; host_call.py
is what runs on the host.
"""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.modules import host_call
from ansible_collections.slipway.release.plugins.plugin_utils._arguments import checked, name_of

LIBRARY = Path(host_call.__file__).parents[1] / "module_utils"


@cache
def library_files() -> dict[str, bytes]:
    """The files of the library, by name."""
    return {path.name: path.read_bytes() for path in LIBRARY.glob("_*.py")}


def library_archive() -> str:
    """The library as it is sent, in base64."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in library_files().items():
            archive.writestr(name, text)
    return base64.b64encode(content.getvalue()).decode()


class ActionModule(ActionBase):
    """Runs the module that has the task's own name."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result; a lost connection becomes `failed` with `lost_host`."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self.answer(task_vars or {}))
        except AnsibleConnectionFailure as error:
            host = (task_vars or {}).get("inventory_hostname", "the host")
            reason = " ".join(str(error).split())
            result.update(
                failed=True,
                lost_host=True,
                msg=f"{host} cannot be reached ({reason}): check its power, network and SSH access",
            )
        return result

    def answer(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result: here of the one call that most modules are."""
        return self.ask({}, task_vars)

    def ask(self, more: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the host answers to the task's arguments and some more."""
        found, given = checked(self)
        call = {
            "name": name_of(self),
            "parameters": {**given, **more},
            "check_mode": bool(self._task.check_mode),
            "secrets": sorted(found._no_log_values),  # noqa: SLF001 - AnsibleModule takes them from there
            "library": host_call.digest_of(library_files()),
        }
        done = self._call(call, task_vars)
        if done.get("library_missing"):
            done = self._call({**call, "content": library_archive()}, task_vars)
        return done

    def _call(self, call: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        text = base64.b64encode(json.dumps({**call, "sent": time.time()}).encode()).decode()
        done: dict[str, Any] = self._execute_module(
            module_name="slipway.release.host_call", module_args={"call": text}, task_vars=task_vars
        )
        return done
