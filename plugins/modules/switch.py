#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let a migrated release take the place of what runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: switch
short_description: Let a migrated release take the place of what runs
version_added: 0.1.0
description:
  - Puts the release's files, env file entry, image names and containers in place, and waits until they are healthy.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release.
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
- name: Let a migrated release take the place of what runs
  slipway.release.switch:
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

ARGUMENTS = {**RUN_ARGUMENTS, "version": {"type": "str", "required": True}}
