# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves of a fleet as the nodes of a workflow of AWX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

DOCUMENTATION = r"""
name: rollout
author: Slipway contributors (@slipway)
short_description: The nodes of a workflow of AWX that brings a release in, wave by wave
version_added: 0.1.0
description:
  - "For each wave: an approval, unless it is the first, then the deploy. After the last wave comes the report."
  - A deploy takes a bad release back itself. Where one fails, the workflow asks whether its wave shall go back all the
    same, to the release before. A refused deploy has changed nothing, so nobody goes back without being asked.
positional: organization, prefix
options:
  _input:
    description: The waves, each with its C(name) and the C(limit) that names its hosts.
    type: list
    elements: dict
    required: true
  organization:
    description: The organisation of the job templates.
    type: str
    required: true
  prefix:
    description: What the names of the job templates begin with, before the verb.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the nodes
  ansible.builtin.debug:
    msg: "{{ [{'name': 'canary', 'limit': 'customer-a'}] | slipway.release.rollout('Slipway', 'slipway ') }}"
"""

RETURN = r"""
_value:
  description: C(workflow_nodes) for M(awx.awx.workflow_job_template#module).
  type: list
  elements: dict
"""

_REPORT = "report"


def rollout(waves: Sequence[dict[str, str]], organization: str, prefix: str) -> list[dict[str, Any]]:
    """The nodes, named by their places, so that a wave which is called otherwise is no other node."""

    def job(identifier: str, verb: str, limit: str = "", **related: list[str]) -> dict[str, Any]:
        template = {"name": f"{prefix}{verb}", "organization": {"name": organization}, "type": "job_template"}
        return _node(identifier, template, related) | ({"limit": limit} if limit else {})

    nodes = []
    for number, wave in enumerate(waves, start=1):
        name, limit, last = wave["name"], wave["limit"], number == len(waves)
        deploy, ask, back = f"deploy {number}", f"ask {number}", f"take back {number}"
        if number > 1:
            nodes.append(_approval(f"approve {number}", f"Deploy to {name}? The waves before stand.", deploy))
        after = _REPORT if last else f"approve {number + 1}"
        nodes += [
            job(deploy, "deploy", limit, success_nodes=[after], failure_nodes=[ask]),
            _approval(ask, f"Take {name} back to the release before? Its deploy failed and says what runs.", back),
            job(back, "rollback", limit, always_nodes=[_REPORT]),
        ]
    return [*nodes, job(_REPORT, "report")]


def _approval(identifier: str, question: str, then: str) -> dict[str, Any]:
    template = {"name": identifier, "description": question, "type": "workflow_approval"}
    return _node(identifier, template, {"success_nodes": [then]})


def _node(identifier: str, template: dict[str, Any], related: dict[str, list[str]]) -> dict[str, Any]:
    links = {kind: [{"identifier": name} for name in names] for kind, names in related.items()}
    return {"identifier": identifier, "unified_job_template": template, "related": links}


class FilterModule:
    """Offers it to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"rollout": rollout}
