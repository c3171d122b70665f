#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a running application from its own host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Look at a running application from its own host
version_added: 0.1.0
description:
  - Runs probes of several kinds at once and returns what they saw as observations. It judges nothing and fails only
    when it cannot look at all, such as on a profile that is wrong.
  - V(pages) loads every key page as a browser does, with the scripts, stylesheets and images of its own host. The
    value is the time in seconds until the last of them has arrived.
  - V(health) reads the health document strictly. A status that is not a healthy one, a service that is not healthy, a
    figure below its minimum, a document that is older than O(since), no JSON, and a redirect to the login are failures.
  - V(flows) goes through the critical flows, one after another. What a flow makes is named C(slipway-smoke-) and a
    random number. The flow's cleanup runs whatever happened, also removes what earlier runs left, and is an
    observation of its own. A cleanup never removes a record that does not show this name.
  - V(services) compares the containers of each service, their health and their restarts with the Compose files.
  - V(workers) counts Sidekiq processes with a fresh beat in Redis whose container is running.
  - V(caches) visits the pages of the profile's caches and looks for their keys in Redis. V(warm) does the same after
    it has deleted the keys marked C(refresh), each by its name.
  - V(exposure) looks at what stands open to somebody who has not logged in, against what did before the release.
  - V(vulnerabilities) compares what scanners know of what runs with what they know of the release before.
  - V(jobs) reads Sidekiq's counters, retries, dead jobs and queues in Redis. How many jobs failed is told from the
    second look on.
  - V(queries) compares what statements take with what they took before the release, by pg_stat_statements or by
    PostgreSQL's log.
  - V(figures) asks for the profile's figures, against what they were before the release.
  - V(logs) reads what the containers of web, worker and proxy printed since O(since), or since the look before, or in
    the last ten minutes; counts errors and slow requests; and names the errors that were not there before the release.
author: Slipway contributors (@slipway)
options:
  probes:
    description: The kinds of probes to run. V(warm) comes before all others and stands for V(caches), too.
    type: list
    elements: str
    choices:
      - pages
      - health
      - flows
      - services
      - workers
      - data
      - caches
      - warm
      - exposure
      - vulnerabilities
      - jobs
      - queries
      - figures
      - logs
    required: true
  since:
    description:
      - An ISO 8601 time with a zone. A health document made before it says nothing about the release that runs now.
    type: str
  logs_since:
    description: What C(logs_until) said of an earlier look, so that no line of a log counts twice.
    type: float
  looks:
    description: How often to look. V(flows) and V(warm) run in the first look only.
    type: int
    default: 1
  interval:
    description: Seconds from the beginning of one look to the beginning of the next.
    type: float
    default: 5
  security:
    description: What M(slipway.release.read_reports) returned, for V(vulnerabilities).
    type: dict
  run:
    description: The run that M(slipway.release.preflight) opened, if any. Each look is a sign of its life.
    type: dict
extends_documentation_fragment:
  - slipway.release.site
attributes:
  check_mode:
    support: partial
    description: Looks all the same, but leaves out flows that write and deletes no key.
  diff_mode:
    support: none
    description: Looking at an application changes nothing that could be compared.
  platform:
    support: full
    description: Where the module runs.
    platforms: posix
notes:
  - The values of the login form never appear in a result or in the host's log.
"""

EXAMPLES = r"""
- name: See whether the application works
  slipway.release.probe:
    application: "{{ application }}"
    probes: [services, workers, data, health, pages, flows]
    since: "{{ switched.since }}"
  register: seen

- name: Watch the key pages for a minute
  slipway.release.probe:
    application: "{{ application }}"
    probes: [pages]
    looks: 4
    interval: 20

- name: Fill the caches, the health check's anew
  slipway.release.probe:
    application: "{{ application }}"
    probes: [warm]
"""

RETURN = r"""
observations:
  description: What was seen, in no particular order within a look.
  returned: success
  type: list
  elements: dict
  contains:
    probe:
      description:
        - The kind, one of page, health, flow, service, worker, cache, data, exposure, vulnerability, job, query,
          figure, log and latency.
      type: str
      sample: page
    subject:
      description: What was looked at.
      type: str
      sample: /agents
    at:
      description: When, by the host's clock (ISO 8601, UTC).
      type: str
      sample: "2026-11-23T08:00:00.123Z"
    value:
      description: The figure seen, or null.
      type: float
      sample: 0.123
    unit:
      description:
        - The unit of C(value), one of s, containers, processes, records, jobs, statements, or a name in the health
          document.
      type: str
      sample: s
    ok:
      description: Whether it is as it should be. Null when it could not be seen.
      type: bool
      sample: true
    detail:
      description: One line for people.
      type: str
      sample: 200, 3 assets, 45 kB
    of:
      description: Of how many trials C(value) counts the events, or null.
      type: float
      sample: 1200
baseline:
  description: What was counted before the release that is looked at, as M(slipway.release.rollback_criteria) takes it.
  returned: success
  type: dict
logs_until:
  description: Up to when the logs were read, in seconds since the epoch by the host's clock. Null where they were not.
  returned: success
  type: float
changed:
  description: Whether a cache key was deleted, or something that a flow made is still there.
  returned: always
  type: bool
skipped_flows:
  description: The flows that were left out in check mode because they write.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.slipway.release.plugins.module_utils.arguments import SITE_ARGUMENTS

KINDS = [
    "pages",
    "health",
    "flows",
    "services",
    "workers",
    "data",
    "caches",
    "warm",
    "exposure",
    "vulnerabilities",
    "jobs",
    "queries",
    "figures",
    "logs",
]
ARGUMENTS = {
    **SITE_ARGUMENTS,
    "probes": {"type": "list", "elements": "str", "choices": KINDS, "required": True},
    "since": {"type": "str"},
    "logs_since": {"type": "float"},
    "looks": {"type": "int", "default": 1},
    "interval": {"type": "float", "default": 5},
    "run": {"type": "dict"},
    "security": {"type": "dict"},
}
