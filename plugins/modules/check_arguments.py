#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the roles of a whole playbook are given. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_arguments
short_description: Check what the roles of a whole playbook are given
version_added: 0.1.0
description:
  - Checks the host's variables by the arguments of all roles of this collection, before the first of them is played.
  - So one of a wrong type is no reason for a role of a late phase to fail when something has changed already.
  - Lists and dictionaries are left to the modules that take them apart.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  required:
    description: Arguments without which the playbook cannot begin.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: The same in check mode.
  diff_mode:
    support: none
    description: Nothing changes.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""

EXAMPLES = r"""
- name: Check the arguments of all roles
  slipway.release.check_arguments:
    required: [application, release_version]
"""

RETURN = r"""
msg:
  description: What is missing, else all that is of a wrong type.
  returned: failure
  type: str
"""

ARGUMENTS = {"required": {"type": "list", "elements": "str", "default": []}}
