#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a site's customer of a release. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: announce
short_description: Tell a site's customer of a release
version_added: 0.1.0
description:
  - Renders an announcement as text, HTML and JSON, and hands it over by mail, by webhook or as a file.
  - Writes down what it is about to send before it sends it. What was sent is not sent again; what may have been sent is
    sent again only when O(resend) says so, under the same Message-ID.
  - Runs on the controller and connects to no host.
  - Put C(no_log) on the task, O(channels) holds addresses and passwords. The result holds neither.
author: Slipway contributors (@slipway)
options:
  event:
    description: What is told. V(window) needs O(window); V(success) and V(rollback) need O(ledger); V(notes) needs
      O(changelog) or O(notes).
    type: str
    choices: [window, start, success, rollback, notes]
    required: true
  site:
    description: The site whose customer is told.
    type: str
    required: true
  application:
    description: The application's name in its profile.
    type: str
    required: true
  product:
    description: What the customer calls it; O(application) when left out.
    type: str
  release:
    description: The release that is told of.
    type: str
    required: true
  run:
    description: The run that the event belongs to; the last one that was told of when left out.
    type: str
  ledger:
    description: What the ledger knows of the site, as M(slipway.release.status) returns it. Its C(current) is read, so
      that nothing untrue is told.
    type: dict
  window:
    description: The agreed window.
    type: dict
    suboptions:
      from:
        description: When it begins, ISO 8601 with a zone.
        type: str
        required: true
      until:
        description: When it ends.
        type: str
        required: true
  changelog:
    description: The application's changelog on the controller, in the format of Keep a Changelog.
    type: str
  notes:
    description: What was read of it already, as M(slipway.release.write_notes) returns it, where O(changelog) is left
      out.
    type: dict
  support:
    description: Who helps in the first week.
    type: dict
    suboptions:
      contact:
        description: An address or a telephone number.
        type: str
        required: true
      hours:
        description: When they answer, in words.
        type: str
      feedback:
        description: An address or an URL that takes what customers think.
        type: str
      days:
        description: For how many days after the release came in.
        type: int
        default: 7
  channels:
    description: How the customer is reached; at least one.
    type: dict
    required: true
    suboptions:
      mail:
        description: C(server), C(port) (25), C(tls) (starttls, always, never), C(from), C(to) (a list), C(user),
          C(password).
        type: dict
      webhook:
        description: An URL that takes a POST of JSON.
        type: str
      file:
        description: A directory on the controller, for whoever hands the files over.
        type: str
      ca_file:
        description: Certificates to trust instead of the system's.
        type: str
  outbox:
    description: A directory on the controller, made with mode 0700, for what was sent.
    type: str
    required: true
  templates:
    description: A directory with C(announcement.txt.j2), whose first line is the subject, and C(announcement.html.j2).
    type: str
    required: true
  preview:
    description: Render to files in O(outbox) and send nothing. Check mode does too.
    type: bool
    default: true
  resend:
    description: Send again what may have been sent or not.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Is a preview.
  diff_mode:
    support: none
    description: What is sent has no before.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""

EXAMPLES = r"""
- name: Tell of the window
  slipway.release.announce:
    event: window
    site: "{{ inventory_hostname }}"
    application: swarm
    release: 1.2.0
    window: {from: "2026-12-01T22:00+01:00", until: "2026-12-01T23:30+01:00"}
    channels: "{{ announce_channels }}"
    outbox: build/announce
    templates: roles/announce/templates
    preview: false
  no_log: true
"""

RETURN = r"""
announced:
  description: What became of it, by channel. A failure that concerns every channel has no channel.
  returned: always
  type: list
  elements: dict
  contains:
    event:
      description: What was told.
      type: str
    release:
      description: Of which release.
      type: str
    channel:
      description: Mail, webhook or file.
      type: str
    state:
      description: Preview, sent, failed (nobody has it) or unknown (somebody may have it).
      type: str
    detail:
      description: Why, or where; null where there is nothing to say.
      type: str
problems:
  description: One line for each channel by which the customer was not told, or perhaps not.
  returned: always
  type: list
  elements: str
msg:
  description: What is wrong with the arguments; one line.
  returned: failure
  type: str
"""

ARGUMENTS = {
    "event": {"type": "str", "required": True},
    "site": {"type": "str", "required": True},
    "application": {"type": "str", "required": True},
    "product": {"type": "str"},
    "release": {"type": "str", "required": True},
    "run": {"type": "str"},
    "ledger": {"type": "dict"},
    "window": {"type": "dict"},
    "changelog": {"type": "str"},
    "notes": {"type": "dict"},
    "support": {"type": "dict"},
    "channels": {"type": "dict", "required": True},
    "outbox": {"type": "str", "required": True},
    "templates": {"type": "str", "required": True},
    "preview": {"type": "bool", "default": True},
    "resend": {"type": "bool", "default": False},
}
