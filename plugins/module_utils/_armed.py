# SPDX-License-Identifier: GPL-3.0-or-later
"""An armed host: it takes a release back when nobody has been heard of for too long."""

from __future__ import annotations

from typing import Any

from ._engine import Outcome, Step, carry_out
from ._errors import LockedError
from ._guard import ARMED, Guard, cannot_arm, packed
from ._ledger import Armed, Run
from ._plan_rollback import rollback
from ._site import Site

OWNER = "the host itself"
LONGEST_PAUSE, SHORTEST_PAUSE = 30.0, 1.0


def arming(site: Site, application: dict[str, Any], version: str, timeout: float, undo_timeout: float) -> Step:
    """The step after which the host takes `version` back by itself.

    :param application: the profile as it was given; the login stays out of it, the way back needs none.
    :param timeout: seconds of silence after which it does.
    :param undo_timeout: seconds for one command that undoes migrations.
    """
    guard = Guard(site)
    secret = ("login", "watch")
    wanted = {name: value for name, value in application.items() if value is not None and name not in secret}

    def armed() -> bool:
        state = site.ledger.state().armed
        return cannot_arm() is not None or (
            state is not None and (state.release, state.timeout) == (version, timeout) and guard.stands(ARMED)
        )

    def arm() -> dict[str, Any]:
        # it looks often enough to notice the silence soon after its time has passed
        pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, timeout / 4))
        guard.start(packed(), ARMED, {"application": wanted, "timeout": undo_timeout}, pause)
        run = site.ledger.state().run
        armed = Armed(version, timeout, run.last_seen, run.boot, run.uptime) if run else Armed(version, timeout, 0.0)
        site.ledger.update(armed=armed)
        return {"armed": f"after {timeout:.0f} s of silence"}

    return Step("arm the host", armed, arm)


def look(site: Site, undo_timeout: float) -> str:
    """Look once, and take the release back when its time has come; returns what was done, in words."""
    ledger = site.ledger
    if not ledger.abandoned():
        return "somebody is at work"
    try:
        with ledger.locked(wait=0):
            # whoever held the lock until now may have come to an end
            armed = ledger.state().armed
            if armed is None or not ledger.abandoned():
                return "somebody is at work"
            run = ledger.open_run(f"{ledger.stamp()}-host", "rollback", OWNER, armed.release, armed.timeout)
            try:
                take_back(site, run, undo_timeout)
            except Exception as error:  # noqa: BLE001 - nobody sees a traceback here, and it is tried again
                ledger.wait_anew()
                return f"{armed.release} could not be taken back: {error}"
            Guard(site).end(ARMED)
            return f"{armed.release} was taken back"
    except LockedError:
        return "a process is at work"


def take_back(site: Site, run: Run, undo_timeout: float) -> Outcome:
    """Take the release of an open run back and close the run, whether it worked or not; the caller holds the flock."""
    try:
        outcome = carry_out(site, rollback(site, f"{run.id}-rollback", undo_timeout))
    except Exception as error:
        # whatever it is: a run that stays open would keep everybody else away
        site.ledger.close_run(run, {"failure": site.hidden(str(error))}, promote=False)
        raise
    observations = site.hidden([item.to_dict() for item in outcome.observations])
    site.ledger.close_run(run, {"steps": outcome.changed, "observations": observations}, promote=False)
    return outcome
