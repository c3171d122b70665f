# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what people wrote down about a release, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._scorecard import Feedback
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._plain_yaml import load_yaml

LARGEST = 1_000_000


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the feedback in plain form; fail with one line where it is none."""
        path = Path(given["path"])
        try:
            return {"feedback": Feedback.parse(_content(path)).to_dict()}
        except SlipwayError as error:
            raise SlipwayError(f"{path}: {error}") from error


def _content(path: Path) -> object:
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise SlipwayError(f"is larger than {LARGEST // 1000} kB")
        content = load_yaml(text, yaml.SafeLoader)
    except OSError as error:
        raise SlipwayError(error.strerror or type(error).__name__) from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise SlipwayError(f"{line}is no YAML: {error.problem}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SlipwayError(f"is no YAML: {type(error).__name__}") from error
    return content
