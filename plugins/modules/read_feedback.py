#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what people wrote down about a release. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: read_feedback
short_description: Read what people wrote down about a release
version_added: 0.1.0
description:
  - Reads a YAML file on the controller - bugs, what customers said, support tickets, issues met.
  - Every problem in it is reported at once, on one line. What the keys mean stands in docs/report.md.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  path:
    description: The file.
    type: path
    required: true
extends_documentation_fragment: slipway.release.reading
"""

EXAMPLES = r"""
- name: Read what people wrote down
  slipway.release.read_feedback:
    path: feedback.yml
"""

RETURN = r"""
feedback:
  description: What they wrote, each text on one line, for M(slipway.release.assess).
  returned: success
  type: dict
"""

ARGUMENTS = {"path": {"type": "path", "required": True}}
