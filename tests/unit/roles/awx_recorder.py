"""Stands for a module of awx.awx: takes what that takes, refuses all else, and writes down what it was given.

Each object is known by its name, as in AWX, and changes when it is given otherwise than the last time.

An action plugin, copied under each module's name into a collection awx.awx that only a test has.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Checks and writes down."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer as a module that compares with what AWX has, and leaves what is as it should be."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        name = self._task.action.rpartition(".")[2]
        specs = json.loads(Path(os.environ["AWX_ARGUMENT_SPECS"]).read_text())["modules"]
        checked = ArgumentSpecValidator(specs[name]).validate(self._task.args)
        if checked.error_messages:
            return {**result, "failed": True, "msg": f"awx.awx.{name}: {'; '.join(checked.error_messages)}"}
        recorded = Path(os.environ["AWX_RECORDED"])
        given = json.loads(json.dumps(self._task.args))
        before = [json.loads(line) for line in recorded.read_text().splitlines()]
        known = [args for kind, args, _ in before if (kind, args["name"]) == (name, given["name"])]
        changed = not known or known[-1] != given
        with recorded.open("a") as stream:
            stream.write(json.dumps([name, given, changed]) + "\n")
        return {**result, "changed": changed}
