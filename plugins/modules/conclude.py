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
  - With O(accept=true) the candidate becomes the release that stands, and backups that nothing asks for any more go.
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
    accept: true
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
not_stopped:
  description: Why the containers that were replaced still run, if so.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, carry_out
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._guard import Guard
from ansible_collections.slipway.release.plugins.module_utils._host_module import PATIENT, RUN_ARGUMENTS, perform
from ansible_collections.slipway.release.plugins.module_utils._plan_switch import let_replaced_go
from ansible_collections.slipway.release.plugins.module_utils._prune import Policy, prune
from ansible_collections.slipway.release.plugins.module_utils._site import Site


def main() -> None:
    """Run the module."""
    spec = {
        **RUN_ARGUMENTS,
        "accept": {"type": "bool", "default": False},
        "verdict": {"type": "dict"},
        "observations": {"type": "list", "elements": "dict", "default": []},
        "keep": {"type": "int", "default": 5},
        "keep_days": {"type": "float", "default": 30.0},
    }
    module = AnsibleModule(spec, supports_check_mode=True)

    def action(site: Site) -> dict[str, Any]:
        if module.check_mode:
            told: dict[str, Any] = {"pruned": [], "not_pruned": None, "not_stopped": None}
            return {"changed": False, "current": site.ledger.state().current, **told}
        parameters = module.params
        with site.ledger.locked(PATIENT):
            run = site.ledger.check_run(int(parameters["run"].get("token", 0)))
            not_stopped = _let_replaced_go(site) if parameters["accept"] else None
            evidence = {"verdict": parameters["verdict"], "observations": parameters["observations"]}
            state = site.ledger.close_run(run, evidence, accept=parameters["accept"])
            if run.verb in {"deploy", "rollback"}:
                site.ledger.update(armed=None)
                Guard(site).stop()
            pruned, not_pruned = [], None
            if parameters["accept"]:
                try:
                    pruned = carry_out(site, prune(site, Policy(parameters["keep"], parameters["keep_days"]))).changed
                except SlipwayError as error:
                    # the release stands already: an old backup that stays is no reason to take it back
                    not_pruned = str(error)
        told = {"pruned": pruned, "not_pruned": not_pruned, "not_stopped": not_stopped}
        return {"changed": bool(pruned), "current": state.current, **told}

    perform(module, action)


def _let_replaced_go(site: Site) -> str | None:
    """Stop the containers that the release took the place of; returns why they still run, if so."""
    candidate = site.ledger.state().candidate
    if candidate is None:
        return None
    release = site.ledger.known_release(candidate.version)
    try:
        carry_out(site, Plan("conclude", release.version, "switch", [let_replaced_go(site, release)]))
    except SlipwayError as error:
        # the release is good: what runs idle beside it is no reason to take it back
        return str(error)
    return None


if __name__ == "__main__":
    main()
