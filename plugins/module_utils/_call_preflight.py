# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module preflight does on the host."""

from __future__ import annotations

from typing import Any

from ._engine import carry_out
from ._errors import RefusedError, SlipwayError
from ._evidence import GateEvidence
from ._forecast import expectation, forecast
from ._gates import Answer, Request, look
from ._host_module import PATIENT, Module
from ._issues import lines, met_before
from ._plan_adopt import VERSION, adopt, adoptable, observe_release
from ._plan_rollback import leave, release_to_take_back
from ._site import Site
from ._vulnerabilities import ScanEvidence

# Of what went wrong here before: so much is looked at, so many lines are shown.
_ISSUES_READ, _ISSUES_TOLD = 20, 5


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Look at the gates; open the run when asked to and nothing is wrong."""
    request = _request(module)
    if request.opens:
        site.ledger.await_last_call(request.owner, PATIENT)
    seen = look(site, request)
    if seen.failures:
        raise _refusal(request, seen)
    state = site.ledger.state()
    release = request.version if request.verb != "rollback" else release_to_take_back(site, state)
    run = {"id": request.run, "token": 0, "verb": request.verb, "release": release, "previous": state.current}
    run["commit"] = seen.commit
    changed = False
    if request.opens and not seen.already:
        # opening a run is bookkeeping; adopting an application is a change
        run["token"], changed = _open(site, request, seen, release, module.params["controller_timeout"])
        run["previous"] = site.ledger.state().current
    elif request.opens and state.run is not None:
        changed = _clear_up(site, request, module.params["controller_timeout"])
    elif adoptable(site):
        run["previous"] = observe_release(site).version
    return {"changed": changed, "run": run, **_told(site, request, seen, run)}


def _request(module: Module) -> Request:
    """Read the arguments; SlipwayError when one makes no sense."""
    parameters = module.params
    run_id, version = parameters["run_id"], parameters["version"]
    if version is not None and not VERSION.fullmatch(version):
        raise SlipwayError(f"{version!r} is no release version: letters, digits, . _ - only")
    if not VERSION.fullmatch(run_id):
        raise SlipwayError(f"{run_id!r} is no run id: letters, digits, . _ - only")
    return Request(
        parameters["verb"],
        run_id,
        version,
        ref=parameters["ref"] or version,
        clock_ahead=module.clock_ahead,
        backup=parameters["backup"],
        uploads=parameters["uploads"],
        owner=parameters["owner"],
        security=ScanEvidence.from_dict(parameters["security"]) if parameters["security"] else None,
        evidence=GateEvidence.from_dict(parameters["evidence"]) if parameters["evidence"] else None,
        opens=parameters["open"] and not module.check_mode,
    )


def _refusal(request: Request, seen: Answer) -> RefusedError:
    wanted = f"{request.verb} of {request.version}" if request.version else request.verb
    message = f"{wanted} is refused, nothing was changed: " + "\n".join(seen.failures)
    return RefusedError(message, seen.failures, seen.observations, seen.notes.to_dict() if seen.notes else None)


def _open(site: Site, request: Request, seen: Answer, release: str | None, timeout: float) -> tuple[int, bool]:
    """Open the run, and adopt what people put here by hand; returns its token, and whether there was such a thing."""
    with site.ledger.locked():
        opened = site.ledger.open_run(request.run, request.verb, request.owner, release, timeout, excused=seen.excused)
        if request.verb == "deploy":
            site.ledger.start_afresh()
        try:
            adopted = carry_out(site, adopt(site))
        except Exception:
            # whatever it is: nobody would come back for a run that nothing was done in
            site.ledger.update(run=None)
            raise
    return opened.token, bool(adopted.changed)


def _clear_up(site: Site, request: Request, timeout: float) -> bool:
    """End a run that died and left nothing to go on with; returns whether it left anything else."""
    with site.ledger.locked():
        run = site.ledger.open_run(request.run, request.verb, request.owner, request.version, timeout)
        cleared = carry_out(site, leave(site))
        site.ledger.close_run(run, {"steps": cleared.changed}, promote=False)
    return bool(cleared.changed)


def _told(site: Site, request: Request, seen: Answer, run: dict[str, Any]) -> dict[str, Any]:
    """What was seen; of a deploy also what it would do, what went wrong here before, and how long one took."""
    deploys = request.verb == "deploy"
    return {
        "observations": [item.to_dict() for item in seen.observations],
        "already": seen.already,
        "notes": seen.notes.to_dict() if seen.notes else None,
        "plan": forecast(site, request.version or "", run, seen) if deploys else [],
        "met_before": lines(met_before(site.ledger, _ISSUES_READ), _ISSUES_TOLD) if deploys else [],
        "expected": expectation(site, run["previous"]) if deploys and not seen.already else None,
    }
