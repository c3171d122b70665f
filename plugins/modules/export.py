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

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.release.plugins.module_utils._export import export, export_path, withdraw
from ansible_collections.slipway.release.plugins.module_utils._host_module import (
    RUN_ARGUMENTS,
    carry,
    perform,
    result_of,
)
from ansible_collections.slipway.release.plugins.module_utils._site import Site


def main() -> None:
    """Run the module."""
    arguments = {
        **RUN_ARGUMENTS,
        "backup": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "recipients": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)

    def action(site: Site) -> dict[str, Any]:
        backup, recipients = module.params["backup"], module.params["recipients"]
        # whoever became root by sudo fetches the file as that user
        owner = int(os.environ.get("SUDO_UID", os.geteuid()))
        if module.params["state"] == "absent":
            outcome = carry(module, site, lambda: withdraw(site, backup))
        else:
            outcome = carry(module, site, lambda: export(site, backup, recipients, owner))
        current = site.ledger.state().current
        return {**result_of(site, outcome, current, current), "path": str(export_path(site, backup))}

    perform(module, action)


if __name__ == "__main__":
    main()
