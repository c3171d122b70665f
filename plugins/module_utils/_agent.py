# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timer on the host runs: whichever duty the ledger says it has now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _armed as armed
from . import _watch as watch
from ._errors import LockedError, SlipwayError
from ._guard import ARMED, WATCH, Guard, settings_of
from ._profile import Profile
from ._site import Site

if TYPE_CHECKING:
    from collections.abc import Mapping


def look(directory: Path) -> tuple[str, int]:
    """Look after the site whose settings lie in `directory`; returns what was done, in words, and an exit code."""
    duties = {duty: settings for duty in (ARMED, WATCH) if (settings := settings_of(directory, duty)) is not None}
    if not duties:
        return "nothing to look after", 0
    known = duties.get(WATCH) or duties[ARMED]
    site = Site(Profile.parse(known["application"]))
    try:
        said, code = _look(site, duties)
    except SlipwayError as error:
        said, code = str(error), 1
    # the journal of the host keeps it
    return str(site.hidden(said)), code


def _look(site: Site, duties: Mapping[str, Any]) -> tuple[str, int]:
    """Do what the ledger says is to be done now."""
    state = site.ledger.state()
    if state.armed is not None and ARMED in duties:
        return armed.look(site, duties[ARMED]["timeout"]), 0
    if state.watch is not None and WATCH in duties:
        return watch.look(site, duties[WATCH])
    return _go(site), 0


def _go(site: Site) -> str:
    """Take the guard down, unless somebody is just putting it up, which is done under the lock."""
    try:
        with site.ledger.locked(wait=0):
            state = site.ledger.state()
            if state.armed is not None or state.watch is not None:
                return "there is something to look after now"
            Guard(site).stop()
    except LockedError:
        return "a process is at work"
    return "nothing to look after"


def main() -> None:
    """Run from the zip file: the one argument is the directory with the settings."""
    try:
        said, code = look(Path(sys.argv[1]))
    except SlipwayError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{said}\n")
    sys.exit(code)
