#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a release. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_report
short_description: Write the report of a release
version_added: 0.1.0
description:
  - Writes what M(slipway.release.assess) returned as one HTML page that refers to nothing outside itself, and as JSON.
  - Whatever a log or a customer wrote is shown as text.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  src:
    description: The page's Jinja2 template, in the role's C(templates).
    type: str
    required: true
  directory:
    description: Where the files go, C(SITE-RELEASE.html) and C(SITE-RELEASE.json); made with mode 0700 if need be.
    type: path
    required: true
  site:
    description: What the site is called.
    type: str
    required: true
  history:
    description: As M(slipway.release.assess) returned it.
    type: dict
    required: true
  scorecard:
    description: As M(slipway.release.assess) returned it.
    type: dict
    required: true
  assessed:
    description: As M(slipway.release.assess) returned it.
    type: dict
  host:
    description: As M(slipway.release.read_support) returned it, where the report is made from a support archive.
    type: dict
  outbox:
    description:
      - The outbox of M(slipway.release.announce), out of which the page tells what customers were told of the release.
        It is only read. Without it the page says nothing about that.
    type: path
attributes:
  check_mode:
    support: full
    description: In check mode nothing is written, and the result says whether it would be.
  diff_mode:
    support: none
    description: The page is for people to look at.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""

EXAMPLES = r"""
- name: Write the report
  slipway.release.write_report:
    src: report.html.j2
    directory: build/reports
    site: "{{ inventory_hostname }}"
    history: "{{ assessment.history }}"
    scorecard: "{{ assessment.scorecard }}"
    assessed: "{{ assessment.assessed | default(omit, true) }}"
    outbox: build/announce
"""

RETURN = r"""
path:
  description: The page.
  returned: success
  type: str
data:
  description: The same as JSON.
  returned: success
  type: str
summary:
  description: What happened, in one sentence.
  returned: success
  type: str
outcome:
  description: The outcome of the scorecard, with its reasons.
  returned: success
  type: str
"""

ARGUMENTS = {
    "src": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "site": {"type": "str", "required": True},
    "history": {"type": "dict", "required": True},
    "scorecard": {"type": "dict", "required": True},
    "assessed": {"type": "dict"},
    "host": {"type": "dict"},
    "outbox": {"type": "path"},
}
