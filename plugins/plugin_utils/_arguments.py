# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module takes stands in its own file; its action has the task's arguments checked by that."""

from __future__ import annotations

import importlib
import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.modules import host_call

MODULES = host_call.__package__


def name_of(action: ActionBase) -> str:
    """The name of the module that the task asks for."""
    name: str = action._task.action.rpartition(".")[-1]  # noqa: SLF001 - Ansible gives an action its task so
    return name


def checked(action: ActionBase) -> tuple[Any, dict[str, Any]]:
    """Check the arguments as Ansible does a module's; returns what it found, and the arguments with their defaults.

    They are plain data from here on: what Ansible marks its texts with is of no use to us, and takes long to copy; a
    day that YAML made a date is text again.
    """
    module = importlib.import_module(f"{MODULES}.{name_of(action)}")
    task = action._task  # noqa: SLF001 - Ansible gives an action its task so
    task.args = json.loads(json.dumps(task.args, default=str))
    found, given = action.validate_argument_spec(module.ARGUMENTS, required_by=getattr(module, "REQUIRED_BY", None))
    return found, given
