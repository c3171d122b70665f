#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a release's migrations once, by its own image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Apply a release's migrations once, by its own image
version_added: 0.1.0
description:
  - Runs C(bin/rails db:migrate) in a one-off web container of the new image, only when migrations are missing.
  - Before it the host is armed - when nobody is heard of for the run's C(controller_timeout), it takes itself back.
  - Afterwards the applied migrations must be exactly those from before and the release's own, and no index invalid.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release.
    type: str
    required: true
  timeout:
    description: Seconds that the migrations may take.
    type: float
    default: 3600
  undo_timeout:
    description: Seconds for one command that undoes migrations, should the host take the release back.
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
- name: Apply a release's migrations once, by its own image
  slipway.release.migrate:
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
    "version": {"type": "str", "required": True},
    "timeout": {"type": "float", "default": 3600.0},
    "undo_timeout": {"type": "float", "default": 3600.0},
}
