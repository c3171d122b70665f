#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read vulnerability reports on the controller. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: read_reports
short_description: Read vulnerability reports on the controller
version_added: 0.1.0
description:
  - Reads reports of Trivy, Grype and bundler-audit and SARIF into one plain form, and lets a scanner on the controller
    look at images.
  - Judges nothing. M(slipway.release.preflight) and M(slipway.release.probe) take what it returns.
  - Runs on the controller and connects to nothing.
author: Slipway contributors (@slipway)
options:
  reports:
    description: Reports that lie on the controller.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      for:
        description: The release that it is about, a version or a commit.
        type: str
        required: true
      format:
        description: What wrote it; found out when left out.
        type: str
        choices: [trivy, grype, sarif, bundler-audit]
      made:
        description: When its database was made (ISO 8601 with a zone), for a report that does not tell itself.
        type: str
  scanner:
    description: A scanner that looks at images.
    type: dict
    suboptions:
      command:
        description: Its argv. V(${image}) in an element stands for the image. No shell reads it.
        type: list
        elements: str
        required: true
      where:
        description: Where it runs.
        type: str
        choices: [host, controller]
        default: host
      image:
        description: What V(${image}) stands for on the controller; V(${version}) in it stands for the release.
        type: str
      format:
        description: What it prints; found out when left out.
        type: str
        choices: [trivy, grype, sarif, bundler-audit]
      timeout:
        description: Seconds for all images of a release together.
        type: float
        default: 300
  strict:
    description: Fail on a report that cannot be read. Else it has said nothing.
    type: bool
    default: true
  versions:
    description: The releases whose images a scanner on the controller looks at.
    type: list
    elements: str
    default: []
  waivers:
    description: Vulnerabilities that count for nothing for a while.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: As the scanner has it.
        type: str
        required: true
      until:
        description: The last day on which it holds, as V(2026-12-31).
        type: str
        required: true
      reason:
        description: Why.
        type: str
        required: true
      package:
        description: Only of this package.
        type: str
  severity:
    description: From this one on, a new vulnerability is a reason to go back.
    type: str
    choices: [low, medium, high, critical]
    default: critical
  warn:
    description: From this one on, it is shown.
    type: str
    choices: [low, medium, high, critical]
    default: high
  max_age:
    description: Days after which a vulnerability database is stale.
    type: float
    default: 7
extends_documentation_fragment: slipway.release.reading
"""

EXAMPLES = r"""
- name: Read what the CI found
  slipway.release.read_reports:
    reports:
      - {path: reports/trivy-1.1.0.json, for: 1.1.0}
      - {path: reports/trivy-1.0.0.json, for: 1.0.0}
    waivers:
      - {id: CVE-2026-0001, until: "2026-12-31", reason: the parser is never called}
  register: read
"""

RETURN = r"""
security:
  description: The policy and the reports in plain form, to be handed on.
  returned: success
  type: dict
msg:
  description: What is wrong with the arguments or with a report; one line.
  returned: failure
  type: str
"""

# What stands in them is read with a message for each mistake, all at once.
ARGUMENTS = {
    "reports": {"type": "list", "elements": "dict", "default": []},
    "scanner": {"type": "dict"},
    "strict": {"type": "bool", "default": True},
    "versions": {"type": "list", "elements": "str", "default": []},
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "severity": {"type": "str", "default": "critical"},
    "warn": {"type": "str", "default": "high"},
    "max_age": {"type": "float", "default": 7},
}
