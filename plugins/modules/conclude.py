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
  - With O(accept=true) the candidate becomes the release that stands.
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
from ansible_collections.slipway.release.plugins.module_utils._host_module import PATIENT, RUN_ARGUMENTS, perform
from ansible_collections.slipway.release.plugins.module_utils._site import Site


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
