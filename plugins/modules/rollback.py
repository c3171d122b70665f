#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a site back to the release before."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Take a site back to the release before
version_added: 0.1.0
description:
  - Returns code, images, schema and, where needed, data to the state before a release, whatever phase it has reached.
  - Migrations are undone newest first by the new image, as a set difference.
  - When that fails the backup is restored, and the damaged database kept.
  - What was written since the switch is saved in a backup first.
author: Slipway contributors (@slipway)
options:
  version:
    description:
      - Take back this release only, while it is on its way in, or stands and O(run) is a rollback.
      - When it is neither, only what a killed run left is cleared away.
      - The release that stands is taken back when left out.
    type: str
  schema:
    description:
      - V(back) undoes the release's migrations, behind the maintenance page where the release stood already.
      - V(keep) leaves the new schema where the rehearsal showed that the release before runs on it, nothing lost.
      - V(auto) keeps it for a release that stood, and takes it back with one on its way in.
    type: str
    choices: [auto, back, keep]
    default: auto
  timeout:
    description: Seconds for one command that undoes migrations.
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
- name: Take a site back to the release before
  slipway.release.rollback:
    application: "{{ application }}"
    run: "{{ release_run }}"
"""

RETURN = r"""
taken_back:
  description: The release that was taken back; none when it had not come in.
  returned: success
  type: str
standing:
  description: The release that stands after it; none when there was none before.
  returned: success
  type: str
steps:
  description: The steps that changed something, or would in check mode.
  returned: success
  type: list
  elements: str
set_aside:
  description: What was written since the switch and is not in the database any more; the backup RV(backup) has it.
  returned: when something was
  type: raw
backup:
  description: The backup of the database as it was, taken before anything written since could be lost.
  returned: when something was
  type: str
since:
  description: When it began, by the host's clock (ISO 8601, UTC).
  returned: success
  type: str
observations:
  description: What was seen, for the judge.
  returned: always
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

from ansible_collections.slipway.release.plugins.module_utils.arguments import RUN_ARGUMENTS

ARGUMENTS = {
    **RUN_ARGUMENTS,
    "version": {"type": "str"},
    "timeout": {"type": "float", "default": 3600.0},
    "schema": {"type": "str", "choices": ["auto", "back", "keep"], "default": "auto"},
}
