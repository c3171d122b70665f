#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge whether the next wave of a fleet may begin. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_gate
short_description: Judge whether the next wave of a fleet may begin
version_added: 0.1.0
description:
  - Looks at what the run of each site of the waves before left in its variables, and at what its ledger says now.
  - A site counts only when its run came to its end and the release still stands there. No evidence is never a pass.
  - Says why a wave may not begin, and fails only where its arguments make no sense. Another task refuses each site.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  waves:
    description: How many sites each wave takes, as the filter P(slipway.release.fleet_waves#filter) reads it.
    type: raw
    required: true
  sites:
    description: All sites of the run, in their order.
    type: list
    elements: str
    required: true
  batch:
    description: The sites of the wave that is to begin.
    type: list
    elements: str
    required: true
  ledgers:
    description: What M(slipway.release.status) returned for sites of the waves before, with C(__fleet_site), the name.
    type: list
    elements: dict
    default: []
  unreachable:
    description:
      - What a site of a wave before means that cannot be reached and on which nothing was left half done.
      - With V(skip) it is left out, as long as the release stands on another one.
    type: str
    choices: [stop, skip]
    default: stop
extends_documentation_fragment: slipway.release.reading
"""

EXAMPLES = r"""
- name: Judge the waves before
  slipway.release.fleet_gate:
    waves: "{{ fleet_waves }}"
    sites: "{{ ansible_play_hosts_all }}"
    batch: "{{ ansible_play_batch }}"
  run_once: true
  register: fleet_gate_result

- name: Refuse to begin
  ansible.builtin.fail:
    msg: "{{ fleet_gate_result.refusal }}"
  when: fleet_gate_result.refusal is not none
"""

RETURN = r"""
refusal:
  description: Why the wave may not begin, on one line; null when it may.
  returned: success
  type: str
left_out:
  description: The sites of the waves before that could not be reached and did not stop the fleet.
  returned: success
  type: list
  elements: str
later:
  description: The sites of the waves after this one.
  returned: success
  type: list
  elements: str
msg:
  description: The refusal, or which wave may begin, or what is wrong with the arguments; one line.
  returned: always
  type: str
"""

ARGUMENTS: dict[str, dict[str, object]] = {
    "waves": {"type": "raw", "required": True},
    "sites": {"type": "list", "elements": "str", "required": True},
    "batch": {"type": "list", "elements": "str", "required": True},
    "ledgers": {"type": "list", "elements": "dict", "default": []},
    "unreachable": {"type": "str", "choices": ["stop", "skip"], "default": "stop"},
}
