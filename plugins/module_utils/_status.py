# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a site stands, for people: what runs, what is half done, who is at work, what comes next."""

from __future__ import annotations

import shutil
from typing import Any

from ._errors import SlipwayError
from ._ledger import State
from ._site import Site
from ._watch import saw, told


def facts(site: Site) -> dict[str, Any]:
    """Return all of it, as the modules status and unlock show it."""
    state = site.ledger.state()
    running = {item.name: item.image[7:19] for item in site.containers()} if shutil.which("docker") else {}
    replaced = site.ledger.before(state.current) if state.current else None
    return {
        "current": state.current,
        "previous": replaced.version if replaced else None,
        "accepted": site.ledger.accepted(),
        "candidate": None
        if state.candidate is None
        else {"version": state.candidate.version, "phase": state.candidate.phase},
        "run": None if state.run is None else site.ledger.describe_run(),
        "working": site.ledger.busy(),
        "armed": _until(site, state),
        "watch": told(site),
        "saw": saw(site),
        "containers": running,
        "restoring": None if state.restoring is None else state.restoring.description,
        "kept_databases": _kept_databases(site),
        "backups": sorted(path.parent.name for path in site.backups.glob("*/manifest.json")),
        "history": state.history[-10:],
        "journal": site.ledger.journal_tail(5),
        "next": _following(site, state),
    }


def _kept_databases(site: Site) -> list[str]:
    """The databases that a restore replaced and kept; none are seen where PostgreSQL does not answer."""
    try:
        return site.database.kept()
    except SlipwayError:
        return []


def _following(site: Site, state: State) -> str:
    """Which command comes next."""
    following = "ansible-playbook deploy.yml"
    if state.candidate is not None:
        following += f" -e release_version={state.candidate.version} to go on, or ansible-playbook rollback.yml"
    elif state.restoring is not None:
        following = f"ansible-playbook {state.restoring.command}"
    run, left = state.run, 0.0
    if run is not None:
        left = run.timeout - site.ledger.silence()
    if run is not None and left > 0:
        return f"wait for it; should it have died, {run.owner} now and anybody in {left:.0f} s of silence: {following}"
    return following


def _until(site: Site, state: State) -> dict[str, Any] | None:
    """What the host is armed for, and when it takes itself back if nobody is heard of until then."""
    if state.armed is None:
        return None
    left = max(0.0, state.armed.timeout - site.ledger.silence())
    return {"release": state.armed.release, "timeout": state.armed.timeout, "seconds_left": round(left)}
