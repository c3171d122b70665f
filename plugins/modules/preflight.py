#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every gate of a site, and open a run when all hold."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look at every gate of a site, and open a run when all hold
version_added: 0.1.0
description:
  - Looks at all gates that belong to a verb, read-only, and reports every failure at once.
  - With O(open=true) and nothing wrong it takes the site for a run of several calls.
  - An application that was put there by hand is adopted then.
  - A run that died is taken over, its last call waited for, and what it left half done can be gone on with.
  - The calls that follow need the run's token, so that no way leads past the gates.
author: Slipway contributors (@slipway)
options:
  verb:
    description: What is about to be done; it decides which gates are looked at.
    type: str
    choices: [deploy, backup, rollback, restore]
    required: true
  run_id:
    description: A name for the run, unique on this site.
    type: str
    required: true
  owner:
    description: Who runs it, for whoever finds the site taken.
    type: str
    required: true
  open:
    description: Open the run when every gate holds.
    type: bool
    default: false
  version:
    description: The release to deploy.
    type: str
  ref:
    description: The git ref that names it; the version itself when left out.
    type: str
  backup:
    description: The id of the backup to put back.
    type: str
  uploads:
    description: Whether the uploads go back too.
    type: bool
    default: false
  controller_timeout:
    description:
      - Seconds of silence after which the run counts as dead, so that another may take it over.
      - From the migration on the host takes the release back by itself then.
    type: float
    default: 900
  security:
    description: What M(slipway.release.read_reports) returned, for a deploy.
    type: dict
  evidence:
    description:
      - What M(slipway.release.read_evidence) returned, for a deploy.
      - Without it the gates of the release do not hold.
    type: dict
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Check every gate and take the site
  slipway.release.preflight:
    application: "{{ application }}"
    verb: deploy
    version: 1.1.0
    run_id: 20261123T081500Z-deploy
    owner: anna@controller
    open: true
"""

RETURN = r"""
run:
  description: The run; its token is 0 when none was opened.
  returned: success
  type: dict
already:
  description: Whether the release asked for already runs, whole.
  returned: success
  type: bool
plan:
  description: What a deploy will do, how long it took last time, and how it would be undone; a line each.
  returned: success
  type: list
  elements: str
notes:
  description: The release's entry in its changelog, for a deploy, where it has one.
  returned: always
  type: dict
observations:
  description: One for each gate.
  returned: always
  type: list
  elements: dict
met_before:
  description: What went wrong with earlier releases of this site, a few lines, the newest first.
  returned: success
  type: list
  elements: str
expected:
  description:
    - How many C(seconds) the last deploy took, the one that brought C(release), and each of its C(phases), from its
      journal; null where no deploy is on record.
  returned: success
  type: dict
failures:
  description: One line for each gate that does not hold.
  returned: failure
  type: list
  elements: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS

ARGUMENTS = {
    **ENGINE_ARGUMENTS,
    "verb": {"type": "str", "choices": ["backup", "deploy", "restore", "rollback"], "required": True},
    "run_id": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "open": {"type": "bool", "default": False},
    "version": {"type": "str"},
    "ref": {"type": "str"},
    "backup": {"type": "str"},
    "uploads": {"type": "bool", "default": False},
    "controller_timeout": {"type": "float", "default": 900.0},
    "security": {"type": "dict"},
    "evidence": {"type": "dict"},
}
