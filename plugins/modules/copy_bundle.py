#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy a bundle from the controller to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copy_bundle
short_description: Copy a bundle from the controller to a host
version_added: 0.1.0
description:
  - Copies the parts of a bundle, its signature, and last its sums. A file that is there already, by its SHA-256, is
    left alone; one that was copied half way goes on where it stopped.
  - Before anything is sent, room is looked for, the parts are compared with the sums, and the host verifies the
    signature and whether the bundle is for it, with each layer that a delta needs. Else it is refused.
  - Shows a line for each piece of 64 MB. When a part is whole it is compared with its SHA-256 again; what it holds is
    for M(slipway.release.load) to verify.
author: Slipway contributors (@slipway)
options:
  src:
    description: The file of the bundle's sums, on the controller. Parts that lie on another medium may be missing here.
    type: path
    required: true
  dest:
    description: Where the sums go on the host, with the same name. Its directory is made with mode 0700 if need be.
    type: path
    required: true
  signers:
    description: The file of allowed signers, on the host. It does not come with the bundle.
    type: path
    required: true
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Copy the bundle
  slipway.release.copy_bundle:
    application: "{{ application }}"
    src: /media/usb/swarm-1.1.0.sums
    dest: /var/lib/slipway/incoming/swarm-1.1.0.sums
    signers: /etc/slipway/allowed_signers
"""

RETURN = r"""
copied:
  description: The names of the files that were copied, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import SITE_ARGUMENTS

ARGUMENTS = {
    **SITE_ARGUMENTS,
    "src": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
    "signers": {"type": "path", "required": True},
}
