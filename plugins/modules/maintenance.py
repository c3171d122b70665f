#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the maintenance page up, or take it down."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Put the maintenance page up, or take it down
version_added: 0.1.0
description:
  - Lets the proxy send all visitors to a page with status 503 and a Retry-After header.
  - Or lets it send them to the release that stands again.
  - The application goes on running behind it, and so do its workers.
  - Where the proxy cannot be told (C(application.proxy.drain) is V(docker_dns) or V(none)), the web containers stop
    meanwhile; the workers go on.
  - A deploy or a rollback ends it.
author: Slipway contributors (@slipway)
options:
  state:
    description: Whether the page is up (V(present)) or not (V(absent)).
    type: str
    choices: [present, absent]
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Put the maintenance page up
  slipway.release.maintenance:
    application: "{{ application }}"
    state: present
"""

RETURN = r"""
steps:
  description: The steps that changed something, or would.
  returned: success
  type: list
  elements: str
release:
  description: The release that stands behind it.
  returned: success
  type: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS

ARGUMENTS = {
    **ENGINE_ARGUMENTS,
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
}
