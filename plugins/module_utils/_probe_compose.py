# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a Compose project, as they are now."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._clock import Clock
from ._errors import CommandError, SlipwayError
from ._observation import Observation, timestamp
from ._process import Runner

TIMEOUT = 20


@dataclass(frozen=True)
class ContainerState:
    """One container of the project that belongs to a service.

    :param state: Docker's word for it, such as running, restarting or exited.
    :param health: Docker's word for its health check; None where there is none.
    """

    id: str
    service: str
    hostname: str
    state: str
    health: str | None
    exit_code: int
    restarts: int
    command: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)

    @property
    def good(self) -> bool:
        """Whether it runs, and is healthy where that is known."""
        return self.state == "running" and self.health in {None, "healthy"}

    @property
    def condition(self) -> str:
        """What keeps it from being good, in a word or two."""
        if self.state == "running":
            return self.health or "running"
        return f"{self.state} with code {self.exit_code}" if self.state in {"exited", "dead"} else self.state


def containers(runner: Runner, project: str) -> list[ContainerState]:
    """List the containers of a project's services, one-off ones aside; SlipwayError when Docker does not answer."""
    label = f"label=com.docker.compose.project={project}"
    ids = runner.run(
        ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", label], timeout=TIMEOUT
    ).stdout.split()
    if not ids:
        return []
    # A container that ends in between makes inspect fail for that one and print the others.
    done = runner.run(["docker", "inspect", "--type", "container", *ids], check=False, timeout=TIMEOUT)
    try:
        found = [_state(item) for item in json.loads(done.stdout)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = done.stderr.strip().splitlines()[-1:] or ["its answer cannot be read"]
        raise SlipwayError(f"docker inspect: {reason[0]}") from error
    return [state for state in found if state is not None]


def _state(item: dict[str, Any]) -> ContainerState | None:
    config = item["Config"]
    labels = config.get("Labels") or {}
    if labels.get("com.docker.compose.oneoff") == "True":
        return None
    return ContainerState(
        id=item["Id"],
        service=labels.get("com.docker.compose.service", ""),
        hostname=config.get("Hostname") or "",
        state=item["State"]["Status"],
        health=(item["State"].get("Health") or {}).get("Status"),
        exit_code=int(item["State"].get("ExitCode") or 0),
        restarts=int(item.get("RestartCount") or 0),
        command=(item.get("Path") or "", *(item.get("Args") or [])),
        environment=dict(line.partition("=")[::2] for line in config.get("Env") or []),
    )


def probe_services(
    states: list[ContainerState], expected: Mapping[str, int], clock: Clock, earlier: Mapping[str, int]
) -> list[Observation]:
    """Compare the containers of each service with the number that the Compose files ask for.

    :param expected: for each service the number of containers.
    :param earlier: restart counts by container id at an earlier look; one that grew means that a container crashed.
    """
    at = timestamp(clock.now())
    observations = []
    for service, wanted in expected.items():
        found = [item for item in states if item.service == service]
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
    reason = str(error)
    if isinstance(error, CommandError) and error.output:
        reason = error.output.splitlines()[-1]
    return Observation(
        probe, subject, timestamp(clock.now()), None, None, ok=None, detail=f"could not be seen: {reason}"
    )
