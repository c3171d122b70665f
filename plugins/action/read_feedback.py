# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what people wrote down about a release, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._scorecard import Feedback

LARGEST = 1_000_000


class ActionModule(ActionBase):
    """Connects to nothing: the same in check mode."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the feedback in plain form; fail with one line where it is none."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec({"path": {"type": "path", "required": True}})  # type: ignore[no-untyped-call]  # ansible-core is published without types
        path = Path(given["path"])
        try:
            feedback = Feedback.parse(_content(path))
        except SlipwayError as error:
            return {**result, "failed": True, "msg": f"{path}: {error}"}
        return {**result, "changed": False, "feedback": feedback.to_dict()}


def _content(path: Path) -> object:
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise SlipwayError(f"is larger than {LARGEST // 1000} kB")
        content: object = yaml.safe_load(text)
    except OSError as error:
        raise SlipwayError(error.strerror or type(error).__name__) from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise SlipwayError(f"{line}is no YAML: {error.problem}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SlipwayError(f"is no YAML: {type(error).__name__}") from error
    return content
