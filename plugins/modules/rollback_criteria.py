#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge evidence by the rollback criteria. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_criteria
short_description: Judge evidence by the rollback criteria
version_added: 0.1.0
description:
  - Judges observations by criteria that are plain data, and says for each criterion V(hold), V(rollback) or
    V(inconclusive), with the observations behind it.
  - The task fails when an enforced criterion says V(rollback), so that a C(rescue) can take the release back.
  - Where there were observations, the overall verdict becomes a statistic of the run, C(slipway), by the host's name.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  criteria:
    description: The criteria.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: A short name without spaces, such as V(R3).
        type: str
        required: true
      title:
        description: What it is about, in words.
        type: str
        required: true
      mode:
        description: Only V(enforce) decides; V(warn) and V(shadow) are judged and shown.
        type: str
        choices: [enforce, warn, shadow]
        default: enforce
      probes:
        description: The kinds of observation that it looks at, the most telling first.
        type: list
        elements: str
        required: true
      over:
        description:
          - A value above it is a breach. Without it, an observation that is not ok is one.
          - With it, an observation that is not ok and yet within the limit neither counts nor clears what was counted.
        type: float
      unit:
        description: The unit of O(criteria[].over).
        type: str
      looks:
        description: How many breaches of the same subject in a row it takes.
        type: int
        default: 1
      required:
        description: Kinds that must have been seen by the deadline.
        type: list
        elements: str
      attempted:
        description:
          - Kinds that must have been seen by the deadline where somebody looked for them, which is where there is an
            observation of such a kind, were it one that could not be made (C(ok) is null).
        type: list
        elements: str
      counts:
        description:
          - Compare counts (observations with C(of)) with O(baseline) by a sequential test, instead of looking at single
            observations. Not with O(criteria[].over), O(criteria[].unit) or O(criteria[].looks).
        type: dict
        suboptions:
          error:
            description:
              - The probability that a release under which nothing became more frequent is ever found guilty, over all
                subjects and looks; from 0.000001 to 0.1.
            type: float
            required: true
          growth:
            description:
              - How many times as frequent is looked for; from 1.2 to 10. What grew by its square root speaks neither
                for nor against.
            type: float
            default: 2
  observations:
    description: What was seen, in the order in which it was seen.
    type: list
    elements: dict
    required: true
  state:
    description: The RV(state) of the judgement before, if there was one.
    type: dict
    default: {}
  baseline:
    description:
      - What was counted before the release, the same at each judgement; for each kind and subject C(events), C(trials),
        and C(blocks), which are events and trials of ten minutes each in their order, or of C(seconds) each.
      - What has none is not compared.
    type: dict
    default: {}
  deadline:
    description:
      - Nothing more will be seen. Required evidence that is missing is then a reason to go back, and so is a breach
        that nothing disproved.
    type: bool
    default: false
  fail:
    description: Fail the task when the verdict is to go back.
    type: bool
    default: true
extends_documentation_fragment: slipway.release.reading
"""

EXAMPLES = r"""
- name: Judge the first evidence
  slipway.release.rollback_criteria:
    criteria:
      - {id: R3, title: A page takes over 5 seconds, probes: [page], over: 5, unit: s, looks: 3}
    observations: "{{ seen.observations }}"
  register: judged

- name: Judge for the last time
  slipway.release.rollback_criteria:
    criteria: "{{ verdict_criteria }}"
    observations: "{{ watched.observations }}"
    state: "{{ judged.state }}"
    deadline: true
"""

RETURN = r"""
verdict:
  description: What the criteria say.
  returned: when the arguments can be judged by
  type: dict
  contains:
    overall:
      description: V(rollback) as soon as an enforced criterion says so, else V(inconclusive), else V(hold).
      type: str
    deadline:
      description: Whether nothing more was to be seen.
      type: bool
    criteria:
      description:
        - For each criterion its verdict, reason, count, looks, threshold and the observations behind it, the deciding
          one last.
        - With counts, C(compared) says what became more frequent - counts, what was expected, the baseline, and the
          logarithms of the statistic and of its threshold.
      type: list
      elements: dict
judged:
  description: How many observations were judged, those remembered in O(state) aside.
  returned: when the arguments can be judged by
  type: int
state:
  description: What to hand to the next judgement.
  returned: when the arguments can be judged by
  type: dict
msg:
  description: The reasons to go back, the overall verdict, or what is wrong with the arguments; one line.
  returned: always
  type: str
"""

ARGUMENTS = {
    "criteria": {"type": "list", "elements": "dict", "required": True},
    "observations": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "dict", "default": {}},
    "baseline": {"type": "dict", "default": {}},
    "deadline": {"type": "bool", "default": False},
    "fail": {"type": "bool", "default": True},
}
