#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the backups of a site, or put one back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: List the backups of a site, or put one back
version_added: 0.1.0
description:
  - Without O(backup) it lists the backups, newest first, with the reason why each is kept.
  - With it, the database is saved as it is, the code stopped, the backup loaded beside the database and swapped in.
  - What was in its place is kept, under a name of its own. Only the release that stands is ever restored under.
author: Slipway contributors (@slipway)
options:
  backup:
    description: The id of the backup to put back.
    type: str
  uploads:
    description: Put the uploads of the profile back too; the directories in their place are kept beside them.
    type: bool
    default: false
  run:
    description: The run that M(slipway.release.preflight) opened; needed to put a backup back.
    type: dict
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.retention
  - slipway.release.site.attributes
attributes:
  idempotent:
    support: none
    details: Each time the database is put back, and the one before it kept. One that was killed is gone on with.
"""

EXAMPLES = r"""
- name: List the backups
  slipway.release.restore:
    application: "{{ application }}"

- name: Put a backup back
  slipway.release.restore:
    application: "{{ application }}"
    run: "{{ release_run }}"
    backup: 20261123T081500Z-backup
"""

RETURN = r"""
backups:
  description: The backups, newest first; those whose manifest cannot be read come last.
  returned: when no backup was named
  type: list
  elements: dict
restored:
  description: The backup that was put back.
  returned: when one was put back
  type: str
saved:
  description: The backup of the database as it was before.
  returned: when one was put back
  type: str
kept_database:
  description: The database as it was before.
  returned: when one was put back
  type: str
steps:
  description: The steps that changed something, or would in check mode.
  returned: when a backup was named
  type: list
  elements: str
since:
  description: When it began, by the host's clock (ISO 8601, UTC).
  returned: when a backup was named
  type: str
observations:
  description: What was seen, for the judge.
  returned: when a backup was named
  type: list
  elements: dict
pushed_back:
  description: How many jobs Sidekiq pushed back to their queues, because they ran longer than C(worker_drain).
  returned: when there were any
  type: int
at_work:
  description: The class and id of each job that was at work when the workers were told to end.
  returned: when jobs were pushed back
  type: list
  elements: str
rails_boots:
  description: How often Rails was started in a one-off container.
  returned: always
  type: int
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS, RETENTION_ARGUMENTS

ARGUMENTS = {
    **ENGINE_ARGUMENTS,
    "backup": {"type": "str"},
    "uploads": {"type": "bool", "default": False},
    "run": {"type": "dict"},
    **RETENTION_ARGUMENTS,
}
REQUIRED_BY = {"backup": "run"}
