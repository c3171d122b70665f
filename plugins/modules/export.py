#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypt a backup, so that it may leave its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: export
short_description: Encrypt a backup, so that it may leave its host
version_added: 0.1.0
description:
  - Writes a finished backup as one tar, encrypted by age for recipients alone, where it can be fetched.
  - The host holds no key that opens it.
author: Slipway contributors (@slipway)
options:
  backup:
    description: The id of the backup.
    type: str
    required: true
  state:
    description: Whether the encrypted file is written or removed.
    type: str
    choices: [present, absent]
    default: present
  recipients:
    description: The age recipients (C(age1...)) who can open it.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
  - slipway.release.site.run
attributes:
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Encrypt a backup for its recipients
  slipway.release.export:
    application: "{{ application }}"
    run: "{{ release_run }}"
    backup: 20261123T081500Z-backup
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
"""

RETURN = r"""
path:
  description: The encrypted file on the host.
  returned: success
  type: str
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

from ansible_collections.slipway.release.plugins.module_utils.arguments import RUN_ARGUMENTS

ARGUMENTS = {
    **RUN_ARGUMENTS,
    "backup": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "recipients": {"type": "list", "elements": "str", "default": []},
}
