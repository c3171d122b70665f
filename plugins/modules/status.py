#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell where a site stands."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Tell where a site stands
version_added: 0.1.0
description:
  - Reads the ledger - what runs, what is half done, who is at work, which backups there are, what comes next.
author: Slipway contributors (@slipway)
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Tell where the site stands
  slipway.release.status:
    application: "{{ application }}"
"""

RETURN = r"""
status:
  description: Where the site stands.
  returned: success
  type: dict
  contains:
    current:
      description: The release that stands.
      type: str
    candidate:
      description: The release that is half done, and its phase.
      type: dict
    accepted:
      description: When and by whom the release that stands was accepted, so that nobody can go back from it.
      type: dict
    run:
      description: Who is at work, or was when they died, in words.
      type: str
    working:
      description: Whether a process is at work at this moment.
      type: bool
    armed:
      description: The release that the host takes back by itself, and after how many seconds more of silence.
      type: dict
    watch:
      description: The release that the host looks after, for how many hours more, and what it found.
      type: dict
    saw:
      description:
        - What the host has seen and told by itself of the release that stands, a few lines for people - how many looks
          there were, how the last one was, what stayed unseen, and the newest five alerts.
      type: list
      elements: str
    containers:
      description: Each running container and the short id of its image.
      type: dict
    restoring:
      description: A restore that was begun and did not end, in words.
      type: str
    kept_databases:
      description: Databases that a restored one replaced; nothing drops them by itself.
      type: list
      elements: str
    backups:
      description: The finished backups.
      type: list
      elements: str
    history:
      description: The last ten events.
      type: list
      elements: dict
    next:
      description: The command that comes next.
      type: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import ENGINE_ARGUMENTS

ARGUMENTS = ENGINE_ARGUMENTS
