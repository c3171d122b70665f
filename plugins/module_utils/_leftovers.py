# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed call left at work: one-off containers go on without the process that started them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ._compose import ONEOFF
from ._database_facts import literal
from ._engine import Step
from ._manifest import PARTIAL
from ._postgres_tools import LABEL as TOOLS
from ._scratch import LABEL as SCRATCH
from ._scratch import Scratch

if TYPE_CHECKING:
    from ._site import Site

_DISCONNECT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE host(client_addr) IN ({})"


def await_leftovers(site: Site, timeout: float) -> Step:
    """The step that lets a one-off container come to its end: what it migrates is what is to be migrated.

    :param timeout: seconds; CommandError when they pass.
    """
    oneoff = f"{ONEOFF}={site.profile.name}"

    def wait() -> dict[str, Any]:
        found = site.docker.labelled(oneoff)
        site.docker.wait(found, timeout)
        site.docker.stop_and_remove(found)
        return {"waited_for": [item[:12] for item in found]}

    return Step("wait for what a killed call left", lambda: not site.docker.labelled(oneoff), wait)


def end_leftovers(site: Site) -> Step:
    """The step that ends one-off containers and their connections to the database, a rehearsal, half a backup."""
    oneoff, scratch, tools = (f"{label}={site.profile.name}" for label in (ONEOFF, SCRATCH, TOOLS))
    half_written = site.backups / PARTIAL

    def ended() -> bool:
        return not site.docker.labelled(oneoff, scratch, tools) and not (
            half_written.is_dir() and any(half_written.iterdir())
        )

    def end() -> dict[str, Any]:
        found = site.docker.labelled(oneoff)
        if found:
            addresses = site.docker.addresses(found)
            site.docker.stop_and_remove(found)
            if addresses:
                # a statement that is at work does not notice that nobody waits for it any more
                site.database.query(_DISCONNECT.format(", ".join(map(literal, addresses))), database="postgres")
        site.docker.remove_by_force(site.docker.labelled(tools))
        Scratch(site).remove()
        # whoever could write one holds the lock that this step is carried out under
        shutil.rmtree(half_written, ignore_errors=True)
        return {"ended": [item[:12] for item in found]}

    return Step("end what a killed call left", ended, end)
