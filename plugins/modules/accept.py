#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""End the possibility of going back from the release that stands."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accept
short_description: End the possibility of going back from the release that stands
version_added: 0.1.0
description:
  - Notes in the ledger who accepted the release that stands, and when. A rollback is refused from then on.
  - Removes the stopped containers of the release before, which were kept for the way back.
author: Slipway contributors (@slipway)
options:
  owner:
    description: Who accepts it.
    type: str
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Accept the release that stands
  slipway.release.accept:
    application: "{{ application }}"
    owner: anna@controller
"""

RETURN = r"""
accepted:
  description: The release, when it was accepted, and by whom; C(at) and C(by) are missing in check mode.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.release.plugins.module_utils._engine import Plan, carry_out
from ansible_collections.slipway.release.plugins.module_utils._host_module import ENGINE_ARGUMENTS, perform
from ansible_collections.slipway.release.plugins.module_utils._plan_switch import forget_replaced
from ansible_collections.slipway.release.plugins.module_utils._site import Site


def main() -> None:
    """Run the module."""
    module = AnsibleModule({**ENGINE_ARGUMENTS, "owner": {"type": "str", "required": True}}, supports_check_mode=True)

    def action(site: Site) -> dict[str, Any]:
        ledger = site.ledger
        known = ledger.accepted()
        if known is None and module.check_mode:
            return {"changed": True, "accepted": {"release": ledger.acceptable()}}
        if known is None:
            with ledger.locked():
                known = ledger.accept(module.params["owner"])
                release = ledger.known_release(known["release"])
                carry_out(site, Plan("accept", release.version, "switch", [forget_replaced(site, release)]))
                return {"changed": True, "accepted": known}
        return {"changed": False, "accepted": known}

    perform(module, action)


if __name__ == "__main__":
    main()
