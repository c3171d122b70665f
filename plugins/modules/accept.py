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

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS

ARGUMENTS = {**ENGINE_ARGUMENTS, "owner": {"type": "str", "required": True}}
