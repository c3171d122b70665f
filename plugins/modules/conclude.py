#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close a run, and let the release stand when the verdict says so."""

from __future__ import annotations

DOCUMENTATION = r"""
module: conclude
short_description: Close a run, and let the release stand when the verdict says so
version_added: 0.1.0
description:
  - Records the evidence and the verdict of a run, lets the candidate become the release that stands when O(accept=true), and frees the site.
author: Slipway contributors (@slipway)
options:
  accept:
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
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.run
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  idempotent:
    support: none
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  platform:
    support: full
    description: Target OS/families that can be operated against.
    platforms: posix
"""

EXAMPLES = r"""
- name: Let the release stand and free the site
  slipway.release.conclude:
    application: "{{ application }}"
    run: "{{ release_run }}"
    accept: true
"""

RETURN = r"""
current:
  description: The release that stands now.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._host_module import PATIENT, RUN_ARGUMENTS, perform
from ..module_utils._site import Site


def main() -> None:
    """Run the module."""
    spec = {
        **RUN_ARGUMENTS,
        "accept": {"type": "bool", "default": False},
        "verdict": {"type": "dict"},
        "observations": {"type": "list", "elements": "dict", "default": []},
    }
    module = AnsibleModule(spec, supports_check_mode=True)

    def action(site: Site) -> dict[str, Any]:
        if module.check_mode:
            return {"changed": False, "current": site.ledger.state().current}
        parameters = module.params
        with site.ledger.locked(PATIENT):
            run = site.ledger.check_run(int(parameters["run"].get("token", 0)))
            evidence = {"verdict": parameters["verdict"], "observations": parameters["observations"]}
            state = site.ledger.close_run(run, evidence, accept=parameters["accept"])
        return {"changed": False, "current": state.current}

    perform(module, action)


if __name__ == "__main__":
    main()
