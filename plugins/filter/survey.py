# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of roles as the questions that AWX asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: survey
author: Slipway contributors (@slipway)
short_description: A survey of AWX that asks for arguments of roles
version_added: 0.1.0
description:
  - Makes one question of each argument, with its type, choices, default and description.
positional: names, required
options:
  _input:
    description: The arguments, as P(slipway.release.role_arguments#lookup) returns them.
    type: dict
    required: true
  names:
    description: Those to ask for, in this order.
    type: list
    elements: str
    required: true
  required:
    description: Those that must be answered; without an answer any other keeps what the inventory says.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show a survey
  ansible.builtin.debug:
    msg: "{{ lookup('slipway.release.role_arguments') | slipway.release.survey(['monitor_looks']) }}"
"""

RETURN = r"""
_value:
  description: A C(survey_spec) for M(awx.awx.job_template#module).
  type: dict
"""

_TYPES = {"int": "integer", "float": "float", "str": "text", "path": "text", "bool": "multiplechoice"}


def survey(options: Mapping[str, Any], names: Iterable[str], required: Iterable[str] = ()) -> dict[str, Any]:
    """One question for each name.

    :raises AnsibleFilterError: no role has such an argument.
    """
    questions = [_question(name, options, required=name in required) for name in names]
    return {"name": "", "description": "", "spec": questions}


def _question(name: str, options: Mapping[str, Any], *, required: bool) -> dict[str, Any]:
    if name not in options:
        raise AnsibleFilterError(f"no role has a plain argument {name} that a survey could ask for")
    option = options[name]
    # AWX knows no truth values: a choice of two words, which every module takes for one
    choices = ["true", "false"] if option["type"] == "bool" else list(option.get("choices", []))
    said = " ".join(option["description"].split())
    # AWX would send a default of the survey's as an extra variable, which overrides the inventory
    default = f" Default of the role: {option['default']}" if option.get("default", "") != "" else ""
    return {
        "question_name": name,
        "question_description": said + default,
        "variable": name,
        "required": required,
        "type": "multiplechoice" if choices else _TYPES[option["type"]],
        "choices": choices,
    }


class FilterModule:
    """Offers it to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"survey": survey}
