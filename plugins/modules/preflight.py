#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every gate of a site, and open a run when all hold."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look at every gate of a site, and open a run when all hold
version_added: 0.1.0
description:
  - Looks at all gates that belong to a verb, read-only, and reports every failure at once.
  - With O(open=true) and nothing wrong it takes the site for a run of several calls.
  - An application that was put there by hand is adopted then.
  - A run that died is taken over, its last call waited for, and what it left half done can be gone on with.
  - The calls that follow need the run's token, so that no way leads past the gates.
author: Slipway contributors (@slipway)
options:
  verb:
    description: What is about to be done; it decides which gates are looked at.
    type: str
    choices: [deploy, backup, rollback, restore]
    required: true
  run_id:
    description: A name for the run, unique on this site.
    type: str
    required: true
  owner:
    description: Who runs it, for whoever finds the site taken.
    type: str
    required: true
  open:
    description: Open the run when every gate holds.
    type: bool
    default: false
  version:
    description: The release to deploy.
    type: str
  ref:
    description: The git ref that names it; the version itself when left out.
    type: str
  backup:
    description: The id of the backup to put back.
    type: str
  uploads:
    description: Whether the uploads go back too.
    type: bool
    default: false
  controller_time:
    description: Seconds since the epoch on the controller, to compare the clocks.
    type: float
  controller_timeout:
    description:
      - Seconds of silence after which the run counts as dead, so that another may take it over.
      - From the migration on the host takes the release back by itself then.
    type: float
    default: 900
extends_documentation_fragment:
  - slipway.release.site
  - slipway.release.site.attributes
"""

EXAMPLES = r"""
- name: Check every gate and take the site
  slipway.release.preflight:
    application: "{{ application }}"
    verb: deploy
    version: 1.1.0
    run_id: 20261123T081500Z-deploy
    owner: anna@controller
    open: true
"""

RETURN = r"""
run:
  description: The run; its token is 0 when none was opened.
  returned: success
  type: dict
already:
  description: Whether the release asked for already runs, whole.
  returned: success
  type: bool
observations:
  description: One for each gate.
  returned: always
  type: list
  elements: dict
failures:
  description: One line for each gate that does not hold.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.release.plugins.module_utils._engine import carry_out
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._gates import GATES, Request, look
from ansible_collections.slipway.release.plugins.module_utils._host_module import ENGINE_ARGUMENTS, PATIENT, perform
from ansible_collections.slipway.release.plugins.module_utils._ledger import CONTROLLER_TIMEOUT
from ansible_collections.slipway.release.plugins.module_utils._plan_adopt import (
    VERSION,
    adopt,
    adoptable,
    observe_release,
)
from ansible_collections.slipway.release.plugins.module_utils._plan_rollback import release_to_take_back
from ansible_collections.slipway.release.plugins.module_utils._site import Site


def answer_of(site: Site, module: AnsibleModule) -> dict[str, Any]:
    """Look at the gates; open the run when asked to and nothing is wrong."""
    parameters = module.params
    verb, run_id, version = parameters["verb"], parameters["run_id"], parameters["version"]
    if version is not None and not VERSION.fullmatch(version):
        raise SlipwayError(f"{version!r} is no release version: letters, digits, . _ - only")
    if not VERSION.fullmatch(run_id):
        raise SlipwayError(f"{run_id!r} is no run id: letters, digits, . _ - only")
    ref, backup, time = parameters["ref"] or version, parameters["backup"], parameters["controller_time"]
    request = Request(verb, run_id, version, ref, time, backup, parameters["uploads"], parameters["owner"])
    if parameters["open"] and not module.check_mode:
        site.ledger.await_last_call(parameters["owner"], PATIENT)
    answer = look(site, request)
    observations = [item.to_dict() for item in answer.observations]
    if answer.failures:
        wanted = f"{verb} of {version}" if version else verb
        message = f"{wanted} is refused, nothing was changed: " + "\n".join(answer.failures)
        module.fail_json(msg=message, observations=observations, failures=answer.failures)
    state = site.ledger.state()
    release = version if verb != "rollback" else release_to_take_back(site, state)
    run = {"id": run_id, "token": 0, "verb": verb, "release": release, "previous": state.current}
    run["commit"] = answer.commit
    changed = False
    if parameters["open"] and not answer.already and not module.check_mode:
        with site.ledger.locked():
            timeout = parameters["controller_timeout"]
            opened = site.ledger.open_run(run_id, verb, parameters["owner"], release, timeout)
            if verb == "deploy":
                site.ledger.start_afresh()
            try:
                adopted = carry_out(site, adopt(site))
            except SlipwayError:
                site.ledger.update(run=None)
                raise
        run.update(token=opened.token, previous=site.ledger.state().current)
        # opening a run is bookkeeping; adopting an application is a change
        changed = bool(adopted.changed)
    elif adoptable(site):
        run["previous"] = observe_release(site).version
    return {"changed": changed, "observations": observations, "run": run, "already": answer.already}


def main() -> None:
    """Run the module."""
    arguments = {
        **ENGINE_ARGUMENTS,
        "verb": {"type": "str", "choices": sorted(GATES), "required": True},
        "run_id": {"type": "str", "required": True},
        "owner": {"type": "str", "required": True},
        "open": {"type": "bool", "default": False},
        "version": {"type": "str"},
        "ref": {"type": "str"},
        "backup": {"type": "str"},
        "uploads": {"type": "bool", "default": False},
        "controller_time": {"type": "float"},
        "controller_timeout": {"type": "float", "default": CONTROLLER_TIMEOUT},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    perform(module, lambda site: answer_of(site, module))


if __name__ == "__main__":
    main()
