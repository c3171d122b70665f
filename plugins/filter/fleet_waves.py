# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks how a fleet is divided into waves before Ansible divides it."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._fleet import Size, parse_sizes

DOCUMENTATION = r"""
name: fleet_waves
short_description: Check how a fleet is divided into waves
version_added: 0.1.0
author: Slipway contributors (@slipway)
description:
  - Reads the sizes of waves, and returns them as the keyword C(serial) of a play takes them.
  - Ansible itself ends in a traceback where one is no size.
options:
  _input:
    description: A number of sites, a share such as V(25%), a list of them, or their text with commas between.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Deploy wave by wave
  hosts: all
  serial: "{{ fleet_waves | slipway.release.fleet_waves }}"  # 1,25%,100%
"""

RETURN = r"""
_value:
  description: The sizes.
  type: list
  elements: raw
"""


def fleet_waves(value: object) -> list[Size]:
    """Return the sizes of the waves."""
    try:
        return parse_sizes(value)
    except SlipwayError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by its name."""
        return {"fleet_waves": fleet_waves}
