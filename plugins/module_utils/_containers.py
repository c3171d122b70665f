# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of one service: those of a release beside those of another, told apart, made, started.

Compose makes the containers, so that they are the project's own. It is never asked to replace them, for it stops the
old before the new answers. Those that were replaced are stopped and kept: the way back starts them again as they are.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import SlipwayError
from ._files import read_record, write_record

if TYPE_CHECKING:
    from ._compose import Container
    from ._ledger import Release
    from ._site import Site

HEALTHY_WITHIN = 300
MEMORY_HEADROOM = 1.2
# What of a service only one container at a time can have.
ONE_AT_A_TIME = ("ports", "container_name")
CGROUPS = Path("/sys/fs/cgroup")
_PAUSE = 0.2
# The controller, where it is mounted, and which figures say what is used and what of that is idle files.
_CONTROL_GROUPS = (
    ("", "", "memory.current", "inactive_file"),
    ("memory", "memory", "memory.usage_in_bytes", "total_inactive_file"),
)
_NOT_CONTENT = ("build", "pull_policy", "scale", "depends_on", "image")


class Containers:
    """The containers of one service, told apart by what they were made of.

    Compose's own config hash of a container also says how many there were to be when it was made, and those that are
    made beside others are more than the files say. So what each was made of is noted here, by the id of the container.
    """

    def __init__(self, site: Site, release: Release, service: str) -> None:
        self.site, self.release, self.service = site, release, service
        self._compose = site.compose_of(release)
        self._notes = site.ledger.root / "containers.json"

    @property
    def count(self) -> int:
        """How many there are to be."""
        return self._compose.replicas(self.service)

    @property
    def _image(self) -> str:
        """The id of the release's image."""
        image = self.release.images.get(self.service)
        if image is None:
            raise SlipwayError(
                f"release {self.release.version} has no image of service {self.service} on record, as when it was "
                f"adopted while that was down: name it under images in "
                f"{self.site.ledger.release_directory(self.release.version) / 'release.json'}"
            )
        return image

    def _content_hash(self) -> str:
        model = dict(self._compose.config["services"][self.service])
        model["deploy"] = {key: value for key, value in (model.get("deploy") or {}).items() if key != "replicas"}
        content = {key: value for key, value in model.items() if key not in _NOT_CONTENT}
        content["image"] = self._image
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _noted(self) -> dict[str, str]:
        return read_record(self._notes, dict, "remove it, containers that only it knows are made anew") or {}

    def all(self) -> list[Container]:
        """All containers of the service, running or not."""
        return [item for item in self.site.all_containers() if item.service == self.service]

    def own(self) -> list[Container]:
        """Those that were made of what the release has, running or not."""
        notes, content, image = self._noted(), self._content_hash(), self._image

        def same(item: Container) -> bool:
            if item.id in notes:
                return notes[item.id] == content
            return item.config_hash == self._compose.config_hashes[self.service]

        return [item for item in self.all() if item.image == image and same(item)]

    def others(self) -> list[Container]:
        """The rest of those that run, or that Docker starts again in a moment."""
        own = {item.id for item in self.own()}
        return [item for item in self.all() if item.up and item.id not in own]

    def good(self) -> list[Container]:
        """The release's own that run and are healthy, no more than there are to be."""
        return [item for item in self.own() if item.good][: self.count]

    def waiting(self) -> list[Container]:
        """The release's own that are still to be started, so that there are as many as there are to be."""
        own = self.own()
        good = sum(item.good for item in own)
        return [item for item in own if not item.good][: max(0, self.count - good)]

    def create(self) -> None:
        """Make the containers that are missing, beside whatever runs. What is stopped and another's goes first."""
        with self.site.at_rest():
            own, there = {item.id for item in self.own()}, self.all()
        foreign = [item.id for item in there if not item.up and item.id not in own]
        if foreign:
            self.site.docker.remove(foreign)
        self._make(self.count - len(own))

    def _make(self, number: int) -> None:
        """Make `number` more containers, and note what they are made of."""
        if number <= 0:
            return
        known = {item.id for item in self.all()}
        self._compose.create(self.service, len(known) + number)
        with self.site.at_rest():
            made = {item.id: self._content_hash() for item in self.all() if item.id not in known}
            left = {item.id for item in self.site.all_containers()}
        notes = {key: value for key, value in self._noted().items() if key in left}
        write_record(self._notes, {**notes, **made})

    def renew(self, one: Container) -> list[Container]:
        """Start another of the release's own beside `one`; return those that are good then, without it."""

        def idle() -> list[Container]:
            return [item for item in self.own() if not item.running]

        if not idle():
            self._make(1)
        self.start(idle()[:1])
        return [item for item in self.own() if item.good and item.id != one.id]

    def start(self, some: Sequence[Container]) -> list[Container]:
        """Start containers and return them when they are healthy."""
        ids = [item.id for item in some]
        stopped = sorted(item.id for item in some if not item.running)
        if stopped:
            self.site.docker.start(stopped)
        deadline = time.monotonic() + HEALTHY_WITHIN
        while True:
            now = self.site.docker.inspect(ids)
            if len(now) < len(ids):
                raise SlipwayError(f"a container of {self.service} was removed while it started: somebody else did it")
            if all(item.good for item in now):
                break
            bad = [item for item in now if not item.running or item.health == "unhealthy" or item.restarts]
            if bad or time.monotonic() > deadline:
                item = (bad or [one for one in now if not one.good])[0]
                log = self.site.log(self.release.version, f"{self.service}", self.site.docker.logs(item.id))
                raise SlipwayError(f"{item.name} is {item.condition} instead of healthy (its log: {log})")
            time.sleep(_PAUSE)
        self.site.look_again()
        return now

    def room(self) -> int:
        """How many more containers like those that run there is room for: the host's memory, a name, a port."""
        model = self._compose.config["services"][self.service]
        if any(model.get(key) for key in ONE_AT_A_TIME):
            return 0
        found = room_beside(self.site, self.all())
        return self.count if found is None else found


def room_beside(site: Site, containers: Sequence[Container]) -> int | None:
    """How many more containers like the largest of those that run fit into memory; None where none runs."""
    running = [item for item in containers if item.running]
    uses = [used for item in running if (used := _memory(item))]
    if not uses and running:
        uses = [used for used in site.docker.memory([item.id for item in running]) if used]
    return int(_available() / (max(uses) * MEMORY_HEADROOM)) if uses else None


def _available() -> int:
    """The host's memory that can be had without swapping, in bytes."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0


def _memory(container: Container) -> int:
    """The memory of a container's control group in bytes, without idle files; 0 where its place is unknown.

    The kernel's documentation, cgroup-v2 and cgroup-v1/memory. A hybrid host has both, and the memory in the older one.
    """
    try:
        lines = Path(f"/proc/{container.pid}/cgroup").read_text("ascii").splitlines()
        places = {kind: place for _, kind, place in (line.split(":", 2) for line in lines)}
        for kind, root, used, idle in _CONTROL_GROUPS:
            group = _group(CGROUPS / root, places.get(kind, ""), used)
            if group is not None:
                found = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
                return max(0, int((group / used).read_text("ascii")) - int(found.get(idle, 0)))
    except (OSError, ValueError):
        pass
    return 0


def _group(root: Path, place: str, file: str) -> Path | None:
    """The directory of a control group; on a host that is a container itself its name lacks the first parts."""
    parts = [part for part in place.split("/") if part and part != ".."]
    found = (root.joinpath(*parts[first:]) for first in range(len(parts)))
    return next((path for path in found if (path / file).is_file()), None)
