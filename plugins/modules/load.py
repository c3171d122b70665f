#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a release from a bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: load
short_description: Take a release from a bundle
version_added: 0.1.0
description:
  - Verifies a bundle that lies on the host, refuses one that is not for this site, loads the images and layers that
    Docker has not, and puts the release's source where git finds it. What runs is not touched.
author: Slipway contributors (@slipway)
options:
  path:
    description: The file of the bundle's sums, on the host. The parts and the signature lie beside it.
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
- name: Take the release from the bundle
  slipway.release.load:
    application: "{{ application }}"
    path: /media/usb/swarm-1.1.0.sums
    signers: /etc/slipway/allowed_signers
"""

RETURN = r"""
version:
  description: The release that the bundle brings.
  returned: success
  type: str
commit:
  description: The commit that it is.
  returned: success
  type: str
loaded:
  description: A name of each image that was loaded, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import SITE_ARGUMENTS

ARGUMENTS = {
    **SITE_ARGUMENTS,
    "path": {"type": "path", "required": True},
    "signers": {"type": "path", "required": True},
}
