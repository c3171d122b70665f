# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module preflight does on the host."""

from __future__ import annotations

from typing import Any

from ._engine import carry_out
from ._errors import RefusedError, SlipwayError
from ._evidence import Evidence
from ._forecast import expectation, forecast
from ._gates import Request, look
from ._host_module import PATIENT, Module
from ._issues import lines, met_before
from ._plan_adopt import (
    VERSION,
    adopt,
    adoptable,
    observe_release,
)
from ._plan_rollback import leave, release_to_take_back
from ._site import Site
from ._vulnerabilities import Evidence as Scans

# Of what went wrong here before: so much is looked at, so many lines are shown.
_ISSUES_READ, _ISSUES_TOLD = 20, 5


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Look at the gates; open the run when asked to and nothing is wrong."""
    parameters = module.params
    verb, run_id, version = parameters["verb"], parameters["run_id"], parameters["version"]
    if version is not None and not VERSION.fullmatch(version):
        raise SlipwayError(f"{version!r} is no release version: letters, digits, . _ - only")
    if not VERSION.fullmatch(run_id):
        raise SlipwayError(f"{run_id!r} is no run id: letters, digits, . _ - only")
    ref, backup = parameters["ref"] or version, parameters["backup"]
    security = Scans.from_dict(parameters["security"]) if parameters["security"] else None
    evidence = Evidence.from_dict(parameters["evidence"]) if parameters["evidence"] else None
    opens = parameters["open"] and not module.check_mode
    request = Request(
        *(verb, run_id, version, ref, module.clock_ahead, backup, parameters["uploads"], parameters["owner"], security),
        evidence=evidence,
        opens=opens,
    )
    if opens:
        site.ledger.await_last_call(parameters["owner"], PATIENT)
    seen = look(site, request)
    notes = seen.notes.to_dict() if seen.notes else None
    if seen.failures:
        wanted = f"{verb} of {version}" if version else verb
        message = f"{wanted} is refused, nothing was changed: " + "\n".join(seen.failures)
        raise RefusedError(message, seen.failures, seen.observations, notes)
    state = site.ledger.state()
    release = version if verb != "rollback" else release_to_take_back(site, state)
    run = {"id": run_id, "token": 0, "verb": verb, "release": release, "previous": state.current}
    run["commit"] = seen.commit
    changed = False
    if opens and not seen.already:
        with site.ledger.locked():
            timeout = parameters["controller_timeout"]
            opened = site.ledger.open_run(run_id, verb, parameters["owner"], release, timeout, excused=seen.excused)
            if verb == "deploy":
                site.ledger.start_afresh()
            try:
                adopted = carry_out(site, adopt(site))
            except Exception:
                # whatever it is: nobody would come back for a run that nothing was done in
                site.ledger.update(run=None)
                raise
        run.update(token=opened.token, previous=site.ledger.state().current)
        # opening a run is bookkeeping; adopting an application is a change
        changed = bool(adopted.changed)
    elif parameters["open"] and state.run is not None and not module.check_mode:
        changed = _clear_up(site, request, parameters["controller_timeout"])
    elif adoptable(site):
        run["previous"] = observe_release(site).version
    told = {"observations": [item.to_dict() for item in seen.observations], "already": seen.already, "notes": notes}
    plan = forecast(site, version or "", run, seen) if verb == "deploy" else []
    met = lines(met_before(site.ledger, _ISSUES_READ), _ISSUES_TOLD) if verb == "deploy" else []
    told["expected"] = expectation(site, run["previous"]) if verb == "deploy" and not seen.already else None
    return {"changed": changed, "run": run, "plan": plan, "met_before": met, **told}


def _clear_up(site: Site, request: Request, timeout: float) -> bool:
    """End a run that died and left nothing to go on with; returns whether it left anything else."""
    with site.ledger.locked():
        run = site.ledger.open_run(request.run, request.verb, request.owner, request.version, timeout)
        cleared = carry_out(site, leave(site))
        site.ledger.close_run(run, {"steps": cleared.changed}, promote=False)
    return bool(cleared.changed)
