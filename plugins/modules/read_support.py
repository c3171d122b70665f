#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a site's support archive. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: read_support
short_description: Read a site's support archive
version_added: 0.1.0
description:
  - Reads an archive that M(slipway.release.write_support) wrote at a site, and believes nothing in it. Links, devices,
    paths that lead outside, what is larger than the archive says, and files with another SHA-256 are refused.
  - Nothing is unpacked. Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  path:
    description: The archive.
    type: path
    required: true
  version:
    description: The release whose report is wanted; all that there are, when it is left out.
    type: str
extends_documentation_fragment: slipway.release.reading
"""

EXAMPLES = r"""
- name: Read what the site handed back
  slipway.release.read_support:
    path: site1-20261124T081500Z.support.tar.gz
"""

RETURN = r"""
site:
  description: What the site is called.
  returned: success
  type: str
reports:
  description: For each release what M(slipway.release.write_report) takes, C(history), C(scorecard) and C(assessed).
  returned: success
  type: list
  elements: dict
host:
  description: The host when the archive was made - C(at), C(containers), C(versions), C(disk), C(logs), C(left_out).
  returned: success
  type: dict
"""

ARGUMENTS = {"path": {"type": "path", "required": True}, "version": {"type": "str"}}
