# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles say of their arguments, for whoever asks for one or has to check one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: role_arguments
author: Slipway contributors (@slipway)
short_description: The arguments of this collection's roles that are one plain value
version_added: 0.1.0
description:
  - Reads C(meta/argument_specs.yml) of every role and returns one dictionary of options, by name.
  - Lists, dictionaries and raw values are left out. None is required, for a role that is not played needs none.
options: {}
"""

EXAMPLES = r"""
- name: Tell what monitor_looks is
  ansible.builtin.debug:
    msg: "{{ lookup('slipway.release.role_arguments').monitor_looks.description }}"
"""

RETURN = r"""
_raw:
  description: One dictionary, from an argument's name to its option with the keys of an argument specification.
  type: list
  elements: dict
"""

ROLES = Path(__file__).resolve().parents[2] / "roles"
PLAIN = frozenset(("bool", "float", "int", "path", "str"))


def role_arguments() -> dict[str, dict[str, Any]]:
    """The plain arguments of all roles."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        for entry in yaml_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            for name, option in entry.get("options", {}).items():
                if option["type"] in PLAIN:
                    found[name] = {key: value for key, value in option.items() if key != "required"}
    return found


class LookupModule(LookupBase):
    """Hands them to a template."""

    def run(self, terms: list[Any], variables: object = None, **kwargs: object) -> list[dict[str, dict[str, Any]]]:  # noqa: ARG002, D102 - as LookupBase has it
        return [role_arguments()]
