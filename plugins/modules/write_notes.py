#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a release's notes for customers on the controller. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_notes
short_description: Write a release's notes for customers on the controller
version_added: 0.1.0
description:
  - Picks what concerns customers out of a release's entry in its changelog.
  - Writes it as Markdown and as plain text.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  product:
    description: What the application is called.
    type: str
    required: true
  notes:
    description: The entry, as M(slipway.release.preflight) returned it.
    type: dict
    required: true
  directory:
    description: Where the files go; made when it does not exist.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Writes nothing in check mode.
  diff_mode:
    support: none
    description: The files are for people to read; no host is changed.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""

EXAMPLES = r"""
- name: Write the release notes
  slipway.release.write_notes:
    product: swarm
    notes: "{{ seen.notes }}"
    directory: build/notes
"""

RETURN = r"""
notes:
  description: What customers are told, by kind.
  returned: success
  type: dict
  contains:
    version:
      description: The release.
      type: str
      returned: always
    date:
      description: The day in the changelog.
      type: str
      returned: always
    new:
      description: What was added or changed.
      type: list
      elements: str
      returned: always
    breaking:
      description: What no longer works as it did.
      type: list
      elements: str
      returned: always
    action_required:
      description: What the customer has to do.
      type: list
      elements: str
      returned: always
    fixed:
      description: What was mended.
      type: list
      elements: str
      returned: always
files:
  description: The Markdown and the text.
  returned: success
  type: list
  elements: str
msg:
  description: Why they cannot be written; one line.
  returned: failure
  type: str
"""

ARGUMENTS = {
    "product": {"type": "str", "required": True},
    "notes": {"type": "dict", "required": True},
    "directory": {"type": "path", "required": True},
}
