#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect what a site hands back for those who help it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support
short_description: Collect what a site hands back for those who help it
version_added: 0.1.0
description:
  - Collects the ledger, the journal, the records of runs and of the watch, certificates, the state of the containers,
    signatures of the logs, versions and disk figures.
  - No env file, no backup, no line of a log as it was. What the profile, the env files and the containers know as
    secret is hidden, and what looks like a secret or a mail address as well.
  - What cannot be read is left out, and the result says why.
author: Slipway contributors (@slipway)
options:
  site:
    description: What the site is called.
    type: str
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.retention
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Collect what the site hands back
  slipway.release.support:
    application: "{{ application }}"
    environment: "{{ application_environment }}"
    site: "{{ inventory_hostname }}"
"""

RETURN = r"""
archive:
  description: The archive, in base64.
  returned: success
  type: str
files:
  description: The paths of the files in it.
  returned: success
  type: list
  elements: str
left_out:
  description: Why something is not among them, by its path.
  returned: success
  type: dict
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS, RETENTION_ARGUMENTS

ARGUMENTS = {
    **ENGINE_ARGUMENTS,
    "site": {"type": "str", "required": True},
    **RETENTION_ARGUMENTS,
}
