#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a site's support archive. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_support
short_description: Write a site's support archive
version_added: 0.1.0
description:
  - Writes what M(slipway.release.support) returned as C(SITE-TIME.support.tar.gz), mode 0600, after reading it as
    M(slipway.release.read_support) does.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  archive:
    description: As M(slipway.release.support) returned it.
    type: str
    required: true
  directory:
    description: Where the file goes; made with mode 0700 if need be.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: In check mode nothing is written.
  diff_mode:
    support: none
    description: The file is an archive.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""

EXAMPLES = r"""
- name: Write the archive
  slipway.release.write_support:
    archive: "{{ collected.archive }}"
    directory: build/support
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
sha256:
  description: Its SHA-256, to be told by another channel.
  returned: success
  type: str
"""

ARGUMENTS = {"archive": {"type": "str", "required": True}, "directory": {"type": "path", "required": True}}
