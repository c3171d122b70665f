#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back the database up and read the backup back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Back the database up and read the backup back
version_added: 0.1.0
description:
  - Dumps the database at one point in time, then copies uploads, volumes, configuration and Redis.
  - One manifest has the size and SHA-256 of each file.
  - Lets pg_restore read all of it as it lies on the host, for a backup that was only written is none.
  - Taken by itself, it removes the backups that neither the policy nor a rollback asks for, each named in RV(steps).
  - For a deploy it also notes the schema and the migrations that a rollback must return to.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release that the backup is taken for; none for a backup by itself.
    type: str
  keep:
    description: How many of the newest backups are kept; others go when one taken by itself is good.
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
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Back the database up and read the backup back
  slipway.release.backup:
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

from ansible_collections.slipway.release.plugins.module_utils.arguments import RETENTION_ARGUMENTS, RUN_ARGUMENTS

ARGUMENTS = {
    **RUN_ARGUMENTS,
    "version": {"type": "str"},
    **RETENTION_ARGUMENTS,
}
