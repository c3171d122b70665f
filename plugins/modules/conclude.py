#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close a run, and let the release stand when the verdict says so."""

from __future__ import annotations

DOCUMENTATION = r"""
module: conclude
short_description: Close a run, and let the release stand when the verdict says so
version_added: 0.1.0
description:
  - Records the evidence and the verdict of a run, and frees the site.
  - With O(promote=true) the candidate becomes the release that stands, and backups that nothing asks for any more go.
author: Slipway contributors (@slipway)
options:
  promote:
    description: Let the candidate become the release that stands.
    type: bool
    default: false
  verdict:
    description: What M(slipway.release.rollback_criteria) returned, for the record.
    type: dict
  observations:
    description: The evidence, for the record.
    type: list
    elements: dict
    default: []
  criteria:
    description: The rollback criteria by which the host looks after the release, see C(application.watch).
    type: list
    elements: dict
    default: []
  security:
    description:
      - What counts of the reports that scanners leave on the host, which looks after the release.
      - C(security.policy) of what M(slipway.release.read_reports) returned; what is not given has its defaults.
    type: dict
    default: {}
  undo_timeout:
    description: Seconds for one command that undoes migrations, should the host take the release back.
    type: float
    default: 3600
  keep:
    description: How many of the newest backups are kept when a release is let stand.
    type: int
    default: 5
  keep_days:
    description: For how many days a backup is kept, however many there are.
    type: float
    default: 30
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
  - slipway.release.site.run
attributes:
  idempotent:
    support: none
    details: A run is concluded once.
"""

EXAMPLES = r"""
- name: Let the release stand and free the site
  slipway.release.conclude:
    application: "{{ application }}"
    run: "{{ release_run }}"
    promote: true
"""

RETURN = r"""
current:
  description: The release that stands now.
  returned: success
  type: str
pruned:
  description: The backups that were removed.
  returned: success
  type: list
  elements: str
not_pruned:
  description: Why old backups could not be removed, if so.
  returned: success
  type: str
not_watched:
  description: Why the host does not look after the release, if so.
  returned: success
  type: str
not_stopped:
  description: Why the containers that were replaced still run, if so.
  returned: success
  type: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import RETENTION_ARGUMENTS, RUN_ARGUMENTS

ARGUMENTS = {
    **RUN_ARGUMENTS,
    "promote": {"type": "bool", "default": False},
    "verdict": {"type": "dict"},
    "observations": {"type": "list", "elements": "dict", "default": []},
    "criteria": {"type": "list", "elements": "dict", "default": []},
    "security": {"type": "dict", "default": {}},
    "undo_timeout": {"type": "float", "default": 3600.0},
    **RETENTION_ARGUMENTS,
}
