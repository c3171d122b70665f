#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the history of a release and how it did."""

from __future__ import annotations

DOCUMENTATION = r"""
module: assess
short_description: Tell the history of a release and how it did
version_added: 0.1.0
description:
  - Reads all that the ledger knows of a release, in one call and of a bounded size.
  - Scores it by five measures, from what the host saw and what people wrote down. Missing evidence is never a pass.
  - With O(feedback) the score and the feedback are kept in the ledger, for the preflight of the next deploy.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release; else the one that stands.
    type: str
  feedback:
    description: What people wrote down, as M(slipway.release.read_feedback) returns it.
    type: dict
  owner:
    description: Who assesses it.
    type: str
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.retention
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Tell how the release that stands does
  slipway.release.assess:
    application: "{{ application }}"
    owner: anna@controller
"""

RETURN = r"""
history:
  description: What the ledger knows of the release - runs, steps, looks, alerts, backups, the rehearsal, issues met.
  returned: success
  type: dict
scorecard:
  description:
    - RV(scorecard.outcome) is V(success), V(mixed), V(failed) or V(unknown), with its reasons, the five measures, and
      the feedback that they were judged from.
  returned: success
  type: dict
assessed:
  description: When and by whom the score was kept; null where nobody gave any feedback yet.
  returned: success
  type: dict
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS, RETENTION_ARGUMENTS

ARGUMENTS = {
    **ENGINE_ARGUMENTS,
    "version": {"type": "str"},
    "feedback": {"type": "dict"},
    "owner": {"type": "str", "required": True},
    **RETENTION_ARGUMENTS,
}
