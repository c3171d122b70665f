#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the evidence for a release on the controller. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: read_evidence
short_description: Read the evidence for a release on the controller
version_added: 0.1.0
description:
  - Reads what a CI and test runners say of a release, who reviewed it, and whether the agreed window is open.
  - Judges nothing. M(slipway.release.preflight) takes what it returns, compares the commits, and says all that is wrong
    at once.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  version:
    description: The release.
    type: str
    required: true
  evidence_directory:
    description: Holds a directory for each release, named by its version, with the files that docs/gates.md describes.
    type: path
    required: true
  notes_directory:
    description: Where the release notes are to be written; it is only looked at.
    type: path
    required: true
  gates:
    description:
      - For each gate V(required), or a mapping with V(waived), the reason, and V(by), who decided.
      - A gate that is not named is required.
    type: dict
    suboptions:
      tests:
        description: All tests pass.
        type: raw
        default: required
      review:
        description: It was reviewed.
        type: raw
        default: required
      changelog:
        description: The changelog has an entry for it.
        type: raw
        default: required
      release_notes:
        description: There are notes for customers.
        type: raw
        default: required
      documentation:
        description: There is documentation for customers.
        type: raw
        default: required
      window:
        description: The agreed window is open.
        type: raw
        default: required
  window:
    description: The agreed low-usage window.
    type: dict
    suboptions:
      days:
        description: The days on which it opens; every day when left out.
        type: list
        elements: str
        choices: [mon, tue, wed, thu, fri, sat, sun]
      from:
        description: When it opens, as V("22:00").
        type: str
        required: true
      to:
        description: When it closes, as V("05:00"); on the next day where that is not later than O(window.from).
        type: str
        required: true
      time_zone:
        description: Whose clock is meant, as V(Europe/Berlin).
        type: str
        required: true
  window_override:
    description: Why this run may be outside the window. It is recorded with who runs it and when.
    type: str
  allowed_signers:
    description: A file as ssh-keygen takes it. With it every record needs a signature in a file C(.sig) beside it.
    type: path
extends_documentation_fragment: slipway.release.reading
"""

EXAMPLES = r"""
- name: Read the evidence
  slipway.release.read_evidence:
    version: 1.2.0
    evidence_directory: evidence
    notes_directory: build/notes
    window: {days: [sat, sun], from: "22:00", to: "05:00", time_zone: Europe/Berlin}
    gates:
      review: {waived: nobody else was awake to mend this, by: anna}
  register: read
"""

RETURN = r"""
evidence:
  description: A claim for each gate that the controller knows of, to be handed on.
  returned: success
  type: dict
msg:
  description: What is wrong with the arguments; one line.
  returned: failure
  type: str
"""

# What `gates` and `window` hold is read with a message for each mistake, all at once.
ARGUMENTS = {
    "version": {"type": "str", "required": True},
    "evidence_directory": {"type": "path", "required": True},
    "notes_directory": {"type": "path", "required": True},
    "gates": {"type": "dict"},
    "window": {"type": "dict"},
    "window_override": {"type": "str"},
    "allowed_signers": {"type": "path"},
}
