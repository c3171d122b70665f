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

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS

ARGUMENTS = {**ENGINE_ARGUMENTS, "owner": {"type": "str", "required": True}}
