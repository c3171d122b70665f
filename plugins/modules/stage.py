#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch and build a release beside what runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Fetch and build a release beside what runs
version_added: 0.1.0
description:
  - Brings the release's source and images to the host without touching what runs, and names it the candidate.
  - Images are kept under names of Slipway's own, so that no later build destroys the way back.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release.
    type: str
    required: true

  commit:
    description: The commit that the release is.
    type: str
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
  - slipway.release.site.run
attributes:
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Fetch and build a release beside what runs
  slipway.release.stage:
    application: "{{ application }}"
    run: "{{ release_run }}"
    version: 1.1.0
    commit: "{{ release_run.commit }}"
"""

RETURN = r"""
steps:
  description: The steps that changed something, or would in check mode.
  returned: success
  type: list
  elements: str
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
    "commit": {"type": "str", "required": True},
}
