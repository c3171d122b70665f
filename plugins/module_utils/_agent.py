# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own agent: takes a release back when nobody has been heard of for too long."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ._engine import Step, carry_out
from ._errors import LockedError, SlipwayError
from ._guard import Guard, cannot_arm, packed
from ._ledger import Armed, Run
from ._plan_rollback import rollback
from ._profile import Profile
from ._site import Site

OWNER = "the host itself"


def arming(site: Site, application: dict[str, Any], version: str, timeout: float, undo_timeout: float) -> Step:
    """The step after which the host takes `version` back by itself.

    :param application: the profile as it was given; the login stays out of it, the way back needs none.
    :param timeout: seconds of silence after which it does.
    :param undo_timeout: seconds that undoing the migrations may take.
    """
    guard = Guard(site)
    wanted = {name: value for name, value in application.items() if value is not None and name != "login"}

    def armed() -> bool:
        state = site.ledger.state().armed
        return cannot_arm() is not None or (
            state is not None and (state.release, state.timeout) == (version, timeout) and guard.stands
        )

    def arm() -> dict[str, Any]:
        guard.start(packed(), {"application": wanted, "timeout": undo_timeout}, timeout)
        run = site.ledger.state().run
        site.ledger.update(armed=Armed(version, timeout, run.last_seen if run else 0.0))
        return {"armed": f"after {timeout:.0f} s of silence"}

    return Step("arm the host", armed, arm)


def watch(site: Site, undo_timeout: float) -> str:
    """Look once, and take the release back when its time has come; returns what was done, in words."""
    ledger = site.ledger
    if ledger.state().armed is None:
        Guard(site).stop()
        return "nothing to guard"
    if not ledger.abandoned():
        return "somebody is at work"
    try:
        with ledger.locked(wait=0):
            # whoever held the lock until now may have come to an end
            armed = ledger.state().armed
            if armed is None or not ledger.abandoned():
                return "somebody is at work"
            run = ledger.open_run(f"{ledger.stamp()}-host", "rollback", OWNER, armed.release, armed.timeout)
            return _take_back(site, run, undo_timeout)
    except LockedError:
        return "a process is at work"


def _take_back(site: Site, run: Run, undo_timeout: float) -> str:
    version = run.release
    try:
        outcome = carry_out(site, rollback(site, f"{run.id}-rollback", undo_timeout))
    except SlipwayError as error:
        site.ledger.close_run(run, {"failure": str(error)}, accept=False)
        site.ledger.wait_anew()
        return f"{version} could not be taken back: {error}"
    observations = [item.to_dict() for item in outcome.observations]
    site.ledger.close_run(run, {"steps": outcome.changed, "observations": observations}, accept=False)
    Guard(site).stop()
    return f"{version} was taken back"


def main() -> None:
    """Run from the zip file: the one argument is the file with the settings."""
    settings = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    site = Site(Profile.parse(settings["application"]))
    sys.stdout.write(f"{watch(site, settings['timeout'])}\n")
