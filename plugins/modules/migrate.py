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
    description: Seconds that undoing them may take, should the host have to do it by itself.
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
rails_boots:
  description: How often Rails was started in a one-off container.
  returned: always
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.release.plugins.module_utils._agent import arming
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan
from ansible_collections.slipway.release.plugins.module_utils._guard import cannot_arm
from ansible_collections.slipway.release.plugins.module_utils._host_module import (
    RUN_ARGUMENTS,
    carry,
    perform,
    result_of,
)
from ansible_collections.slipway.release.plugins.module_utils._ledger import CONTROLLER_TIMEOUT
from ansible_collections.slipway.release.plugins.module_utils._plan_migrate import migrate
from ansible_collections.slipway.release.plugins.module_utils._site import Site


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            **RUN_ARGUMENTS,
            "version": {"type": "str", "required": True},
            "timeout": {"type": "float", "default": 3600.0},
            "undo_timeout": {"type": "float", "default": 3600.0},
        },
        supports_check_mode=True,
    )

    def action(site: Site) -> dict[str, Any]:
        current = site.ledger.state().current
        version, timeout, application = (module.params[name] for name in ("version", "timeout", "application"))

        def plan() -> Plan:
            run = site.ledger.state().run
            silence = run.timeout if run is not None else CONTROLLER_TIMEOUT
            arm = arming(site, application, version, silence, module.params["undo_timeout"])
            return migrate(site, version, timeout, arm)

        outcome = carry(module, site, plan)
        warning = cannot_arm()
        if warning is not None:
            module.warn(warning)
        return result_of(site, outcome, current, current)

    perform(module, action)


if __name__ == "__main__":
    main()
