#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free a site from a run that died."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unlock
short_description: Free a site from a run that died
version_added: 0.1.0
description:
  - Ends a run whose controller is gone, and changes nothing else.
  - What it left half done is taken back by C(playbooks/rollback.yml).
  - Refused while a process of the run still works on the host.
  - A host that is armed begins to wait anew.
author: Slipway contributors (@slipway)
options:
  owner:
    description: Who ends it, for the record.
    type: str
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Free the site
  slipway.release.unlock:
    application: "{{ application }}"
    owner: anna@controller
"""

RETURN = r"""
ended:
  description: The run that was ended, in words; none when the site was free.
  returned: success
  type: str
status:
  description: Where the site stands, as M(slipway.release.status) tells it.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._gates import facts
from ansible_collections.slipway.release.plugins.module_utils._host_module import ENGINE_ARGUMENTS, perform
from ansible_collections.slipway.release.plugins.module_utils._site import Site


def main() -> None:
    """Run the module."""
    module = AnsibleModule({**ENGINE_ARGUMENTS, "owner": {"type": "str", "required": True}}, supports_check_mode=True)

    def action(site: Site) -> dict[str, Any]:
        ended = None if site.ledger.state().run is None else site.ledger.describe_run()
        if site.ledger.busy():
            raise SlipwayError(
                f"a process of this run still works on the site: {site.ledger.describe_run()}: let it end"
            )
        if ended is not None and not module.check_mode:
            with site.ledger.locked():
                site.ledger.end_run(module.params["owner"])
        return {"changed": ended is not None, "ended": ended, "status": facts(site)}

    perform(module, action)


if __name__ == "__main__":
    main()
