# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a Compose project, as they are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from ._clock import Clock
from ._compose import Container
from ._errors import CommandError, SlipwayError
from ._observation import Observation, timestamp


def probe_services(
    states: list[Container],
    expected: Mapping[str, int],
    clock: Clock,
    earlier: Mapping[str, int],
    replaced: AbstractSet[str],
) -> list[Observation]:
    """Compare the containers of each service with the number that the Compose files ask for.

    :param expected: for each service the number of containers.
    :param replaced: the ids of containers that a release took the place of: they say nothing about it.
    :param earlier: restart counts by container id at an earlier look; one that grew means that a container crashed.
    """
    at = timestamp(clock.now())
    observations = []
    for service, wanted in expected.items():
        found = [item for item in states if item.service == service and item.id not in replaced]
        good = sum(item.good for item in found)
        bad = Counter(item.condition for item in found if not item.good)
        restarts = sum(item.restarts for item in found)
        crashed = sum(item.restarts > earlier.get(item.id, item.restarts) for item in found)
        parts = [
            f"{good} of {wanted} running and healthy",
            *(f"{number} {word}" for word, number in sorted(bad.items())),
        ]
        parts.append(
            f"{restarts} restarts"
            + (f", {crashed} of the containers restarted since the first look" if crashed else "")
        )
        ok = good == wanted and not bad and not crashed
        observations.append(Observation("service", service, at, good, "containers", ok=ok, detail=", ".join(parts)))
    return observations


def unseen(probe: str, subject: str, error: SlipwayError, clock: Clock) -> Observation:
    """Say that something could not be looked at, which is neither good nor bad."""
    reason = error.reason if isinstance(error, CommandError) else str(error)
    return Observation(
        probe, subject, timestamp(clock.now()), None, None, ok=None, detail=f"could not be seen: {reason}"
    )
