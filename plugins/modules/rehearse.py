#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore the backup where nobody is, and try a release's migrations on the copy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearse
short_description: Try a release's migrations on a copy of the data
version_added: 0.1.0
description:
  - Restores the release's backup into a throwaway PostgreSQL on a network that leads nowhere, and compares the two.
  - There the new image migrates the copy and takes it down again; the release before tries its flows on the new schema.
  - What came of it is the certificate, which decides the way back; values changed or lost are evidence for R4.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release.
    type: str
    required: true

  policy:
    description: Rehearse here, accept O(certificate) from staging instead, or waive it, which is recorded.
    type: str
    choices: [required, staging, waived]
    default: required
  certificate:
    description: What this module returned on staging for the same commit; with O(policy=staging).
    type: dict
  limit:
    description: Bytes of a database above which nothing is restored for a trial.
    type: float
    default: 50000000000
  expected:
    description: Tables (C(tasks)) and columns (C(tasks.result)) whose values the release is meant to change or to drop.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that the migrations may take.
    type: float
    default: 3600
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
  - slipway.release.site.run
attributes:
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Try a release's migrations on a copy of the data
  slipway.release.rehearse:
    application: "{{ application }}"
    run: "{{ release_run }}"
    version: 1.1.0
"""

RETURN = r"""
steps:
  description: The steps that changed something, or would in check mode.
  returned: success
  type: list
  elements: str
certificate:
  description: What was tried, what came of it, and how long it took; docs/rehearse.md explains its keys.
  returned: when it was rehearsed
  type: dict
rollback_plan:
  description: How the release would be taken back, each step one line.
  returned: when it was rehearsed
  type: list
  elements: str
rehearsal_boots:
  description: How often Rails was started on the copy.
  returned: when it was rehearsed
  type: int
since:
  description: When it began, by the host's clock (ISO 8601, UTC).
  returned: success
  type: str
observations:
  description: What was seen, for the judge.
  returned: always
  type: list
  elements: dict
rails_boots:
  description: How often Rails was started in a one-off container.
  returned: always
  type: int
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import RUN_ARGUMENTS

ARGUMENTS = {
    **RUN_ARGUMENTS,
    "version": {"type": "str", "required": True},
    "policy": {"type": "str", "choices": ["required", "staging", "waived"], "default": "required"},
    "certificate": {"type": "dict"},
    "limit": {"type": "float", "default": 50e9},
    "expected": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 3600.0},
}
