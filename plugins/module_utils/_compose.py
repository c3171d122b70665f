# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker and Compose, through their command line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Callable

from ._errors import STARTING_AGAIN, CommandError, SlipwayError

if TYPE_CHECKING:
    from ._process import Completed, Runner
    from ._profile import Profile

BUILD_TIMEOUT = 3600
UP_TIMEOUT = 300
ONEOFF = "slipway.oneoff"
# An image that Compose built bears its labels, and a container of it would count as the project's own.
NOT_THE_PROJECT_S = ("--label", "com.docker.compose.project=", "--label", "com.docker.compose.service=")
# A quarter of what a container has otherwise, while others want the processors: visitors come first.
YIELDS = ("--cpu-shares", "256")
STOP_AFTER = 30
STOP_TIMEOUT = 660
_TEMPORARY = re.compile(r"[0-9a-f]{12}_")
_TEMPORARY_LENGTH = 13
_USED = re.compile(r"([0-9.]+)([KMGT]i)?B")
_BYTES = {None: 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
# What Compose can be asked without a container changing by it.
_LOOKS = ("config", "build")


@dataclass(frozen=True)
class Container:
    """One container of the project, as `docker inspect` shows it.

    :param image: the id of its image.
    :param state: Docker's word for it, such as running, restarting or exited.
    :param health: Docker's word for its health check; None where there is none.
    :param oneoff: whether it was started by `docker compose run`.
    :param started: when it was started, in seconds since the epoch; 0 when it never was.
    :param address: its IP address on the first of its networks; empty while it does not run.
    :param pid: the host's number of its first process; 0 while it does not run.
    :param config_hash: of what Compose made it of, as Compose's own label says.
    :param published: the host's addresses and ports that lead to it.
    :param host_network: whether it shares the host's network.
    :param binds: the host's files and directories that it has mounted.
    :param listens: the ports that its image says it listens on.
    :param restart: Docker's word for when it starts it again.
    """

    id: str
    name: str
    service: str
    image: str
    hostname: str
    state: str
    health: str | None
    exit_code: int
    restarts: int
    oneoff: bool
    command: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    started: float = 0.0
    address: str = ""
    pid: int = 0
    config_hash: str = ""
    published: tuple[tuple[str, int], ...] = ()
    host_network: bool = False
    listens: tuple[int, ...] = ()
    restart: str = "no"
    binds: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether it runs, healthy or not."""
        return self.state == "running"

    @property
    def up(self) -> bool:
        """Whether it runs, or will in a moment: Docker starts one again that ended by itself."""
        return self.state in {"running", "restarting"}

    @property
    def good(self) -> bool:
        """Whether it runs, and is healthy where that is known."""
        return self.running and self.health in {None, "healthy"}

    @property
    def finished(self) -> bool:
        """Whether it did what it was for, and ended well: it is not meant to go on running."""
        return self.state == "exited" and self.exit_code == 0 and self.restart in {"no", "on-failure"}

    @property
    def condition(self) -> str:
        """What keeps it from being good, in a word or two."""
        if self.running:
            return self.health or "running"
        return f"{self.state} with code {self.exit_code}" if self.state in {"exited", "dead"} else self.state


def _nobody() -> None:
    """Nobody has to hear of it."""


class Docker:
    """The engine itself: images and containers, by id.

    :param changed: called after containers were changed.
    """

    def __init__(self, runner: Runner, changed: Callable[[], None] = _nobody) -> None:
        self._runner = runner
        self._changed = changed

    def _change(self, *argv: str, timeout: float = 60, check: bool = True) -> Completed:
        """Run what changes containers."""
        try:
            return self._runner.run(["docker", *argv], timeout=timeout, check=check)
        finally:
            self._changed()

    def image_ids(self, references: Iterable[str]) -> dict[str, str | None]:
        """The ids of local images by their references; None for those that are not here."""
        names = sorted(set(references))
        if not names:
            return {}
        done = self._runner.run(["docker", "image", "inspect", "--format", "{{.Id}}", *names], check=False)
        if done.returncode == 0:
            return dict(zip(names, done.stdout.split()))
        # one is missing, and what is printed of the others does not say which
        return {names[0]: None} if len(names) == 1 else {name: self.image_ids([name])[name] for name in names}

    def image_sizes(self, references: Sequence[str]) -> int:
        """The size in bytes of local images together; those that are not here count as nothing."""
        if not references:
            return 0
        done = self._runner.run(
            ["docker", "image", "inspect", "--format", "{{.Id}} {{.Size}}", *references], check=False
        )
        sizes = dict(line.split() for line in done.stdout.splitlines())
        return sum(map(int, sizes.values()))

    def tag(self, image: str, reference: str) -> None:
        """Give an image another name."""
        self._runner.run(["docker", "image", "tag", image, reference])

    def execute(self, container: str, *command: str, text: str | None = None, timeout: float = 60) -> Completed:
        """Run a command inside a running container.

        Docker sometimes fails to start one (exit code 126, "OCI runtime exec failed"). The command has not begun then,
        so that it can be tried again whatever it does.
        """
        # an input that is empty from the beginning may never be seen to end, and a command that reads it would wait
        argv = ["docker", "exec", *(["--interactive"] if text else []), container, *command]
        for pause in STARTING_AGAIN:
            try:
                return self._runner.run(argv, text=text, timeout=timeout)
            except CommandError as error:  # noqa: PERF203 - three turns at most
                if not error.not_started:
                    raise
                time.sleep(pause)
        return self._runner.run(argv, text=text, timeout=timeout)

    def labelled(self, *labels: str) -> list[str]:
        """The ids of all containers that bear one of the labels, running or not."""
        found: list[str] = []
        for label in labels:
            argv = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}"]
            found += self._runner.run(argv).stdout.split()
        return found

    def addresses(self, containers: Sequence[str]) -> list[str]:
        """The IP addresses of containers; those that are gone have none."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        argv = ["docker", "inspect", "--type", "container", "--format", template, *containers]
        return self._runner.run(argv, check=False).stdout.split()

    def wait(self, containers: Sequence[str], timeout: float) -> None:
        """Return when containers have ended, or are gone; CommandError after `timeout` seconds."""
        self._runner.run(["docker", "wait", *containers], timeout=timeout, check=False)

    def stop_and_remove(self, containers: Sequence[str]) -> None:
        """Stop containers, then remove them; those that are gone by then are no failure."""
        self._change("stop", "--time", str(STOP_AFTER), *containers, timeout=STOP_AFTER + 60, check=False)
        self.remove_by_force(containers)

    def remove_by_force(self, containers: Sequence[str]) -> None:
        """Kill and remove containers; those that are gone by then are no failure."""
        if containers:
            self._change("rm", "--force", "--volumes", *containers, check=False)

    def settle(self, project: str) -> None:
        """End what a killed Compose was about to replace.

        It makes a new container under a temporary name, removes the old one, and renames the new one. What is half made
        gets its name where the old one is gone, so that an anonymous volume goes on with it; else it goes itself.
        """
        for item in self.half_made(self.containers(project)):
            name = item.name[_TEMPORARY_LENGTH:]
            if self._change("rename", item.id, name, check=False).returncode != 0:
                self._change("rm", "--force", item.id)

    @staticmethod
    def half_made(containers: Iterable[Container]) -> list[Container]:
        """Those that bear a temporary name of Compose's and do not run."""
        return [item for item in containers if _TEMPORARY.match(item.name) and not item.running]

    def start(self, containers: Sequence[str]) -> None:
        """Start stopped containers as they are, all at once: Docker itself would start one after another."""
        with ThreadPoolExecutor(max(1, len(containers))) as pool:
            for started in [pool.submit(self._change, "start", item, timeout=120) for item in containers]:
                started.result()

    def stop(self, containers: Sequence[Container]) -> None:
        """Stop containers, each within its own grace period, and keep them."""
        self.let_rest(containers)
        self._change("stop", *(item.id for item in containers), timeout=STOP_TIMEOUT)

    def let_rest(self, containers: Iterable[Container]) -> None:
        """Let containers stay stopped, once they are, when Docker itself starts anew; else nothing changes for them."""
        always = [item.id for item in containers if item.restart == "always"]
        if always:
            self._change("update", "--restart", "unless-stopped", *always)

    def restart(self, containers: Sequence[str]) -> None:
        """Stop containers and start them again: what they have mounted is looked up anew."""
        self._change("restart", *containers, timeout=STOP_TIMEOUT)

    def memory(self, containers: Sequence[str]) -> list[int]:
        """What each container uses now, in bytes, as the engine says; it takes seconds, and says 0 where it cannot."""
        argv = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", *containers]
        done = self._runner.run(argv, check=False)
        return [
            int(float(found[1]) * _BYTES[found[2]]) for found in map(_USED.match, done.stdout.splitlines()) if found
        ]

    def kill(self, containers: Sequence[str], name: str) -> None:
        """Send a signal to the first process of each container that runs."""
        # one that ended a moment ago needs none
        self._runner.run(["docker", "kill", "--signal", name, *containers], check=False)

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers that do not run, and their anonymous volumes."""
        self._change("rm", "--volumes", *containers)

    def logs(self, container: str, since: float = 0.0, tail: int | None = None) -> str:
        """What a container printed since a moment, in seconds since the epoch; the last `tail` lines of it."""
        argv = ["docker", "logs", "--timestamps", "--since", f"{since:.3f}"]
        argv += [] if tail is None else ["--tail", str(tail)]
        done = self._runner.run([*argv, container], check=False)
        return done.stdout + done.stderr

    def containers(self, project: str) -> list[Container]:
        """List all containers of a Compose project, one-off ones included."""
        return self.labelled_containers(f"com.docker.compose.project={project}")

    def labelled_containers(self, label: str) -> list[Container]:
        """All containers that bear a label, running or not."""
        return self.inspect(self.labelled(label))

    def inspect(self, ids: Sequence[str]) -> list[Container]:
        """Containers as they are now; those that are gone are left out."""
        if not ids:
            return []
        # A container that ends in between makes inspect fail for that one and print the others.
        done = self._runner.run(["docker", "inspect", "--type", "container", *ids], check=False)
        try:
            return [_container(item) for item in json.loads(done.stdout)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = done.stderr.strip().splitlines()[-1:] or ["its answer cannot be read"]
            raise SlipwayError(f"docker inspect: {reason[0]}") from error


def _seconds(stamp: str | None) -> float:
    """Docker's time (RFC 3339 with up to nine decimals, UTC) in seconds since the epoch; 0 for its zero time."""
    if not stamp:
        return 0.0
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return max(0.0, moment.timestamp() + float(f"0.{fraction or 0}"))


def port_numbers(text: str) -> range:
    """The ports that `8000`, `8000-8010` or `8000/tcp` names."""
    first, _, last = text.partition("/")[0].partition("-")
    return range(int(first), int(last or first) + 1)


def _published(item: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    ports = (item.get("NetworkSettings") or {}).get("Ports") or {}
    places = (place for bound in ports.values() for place in bound or [])
    return tuple((place.get("HostIp") or "", int(place["HostPort"])) for place in places)


def _container(item: dict[str, Any]) -> Container:
    config, state = item["Config"], item["State"]
    labels = config.get("Labels") or {}
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    return Container(
        id=item["Id"],
        name=item["Name"].lstrip("/"),
        service=labels.get("com.docker.compose.service", ""),
        image=item["Image"],
        hostname=config.get("Hostname") or "",
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(item.get("RestartCount") or 0),
        oneoff=labels.get("com.docker.compose.oneoff") == "True",
        command=(item.get("Path") or "", *(item.get("Args") or [])),
        environment=dict(line.partition("=")[::2] for line in config.get("Env") or []),
        started=_seconds(state.get("StartedAt")),
        address=next((network["IPAddress"] for network in networks.values() if network.get("IPAddress")), ""),
        pid=int(state.get("Pid") or 0),
        config_hash=labels.get("com.docker.compose.config-hash", ""),
        published=_published(item),
        host_network=(item.get("HostConfig") or {}).get("NetworkMode") == "host",
        listens=tuple(number for port in config.get("ExposedPorts") or {} for number in port_numbers(port)),
        restart=((item.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no",
        binds=tuple(mount["Source"] for mount in item.get("Mounts") or [] if mount["Type"] == "bind"),
    )


class Compose:
    """One Compose project, seen through one set of Compose files.

    :param source: where the Compose files are: the project directory itself, or the source of a release under way.
    :param version: the value of the profile's version variable for every call; the env file's own when None.
    :param env_file: another env file than the one in place.
    :param changed: called after containers were changed.
    """

    def __init__(  # noqa: PLR0913 - what a project consists of
        self,
        runner: Runner,
        profile: Profile,
        source: Path | None = None,
        version: str | None = None,
        env_file: Path | None = None,
        *,
        changed: Callable[[], None] = _nobody,
    ) -> None:
        self._runner = runner
        self._profile = profile
        self._source = source or Path(profile.directory)
        self._env_file = env_file or Path(profile.directory) / profile.env_file
        self._environment = {} if version is None else {profile.version_variable: version}
        self._changed = changed
        self._asking = Lock()
        self._model: dict[str, Any] | None = None

    def _argv(self, directory: Path) -> list[str]:
        profile = self._profile
        argv = ["docker", "compose", "--project-name", profile.name, "--project-directory", str(directory)]
        argv += ["--env-file", str(self._env_file)]
        for name in profile.compose_files:
            argv += ["--file", str(self._source / name)]
        for name in profile.compose_profiles:
            argv += ["--profile", name]
        return argv

    def call(
        self, *arguments: str, timeout: float = 60, check: bool = True, directory: Path | None = None
    ) -> Completed:
        """Run `docker compose` with `arguments`.

        :param directory: what relative paths in the Compose files stand for; the project directory, so that bind mounts
            stay where the data is, unless it is an image that is built.
        """
        place = directory or Path(self._profile.directory)
        argv = [*self._argv(place), *arguments]
        # what ${PWD} in the files stands for is where people stand who start the application by hand
        environment = {**self._environment, "PWD": str(place)}
        here = str(place) if place.is_dir() else None
        try:
            return self._runner.run(argv, env=environment, cwd=here, timeout=timeout, check=check)
        finally:
            if arguments[0] not in _LOOKS:
                self._changed()

    @property
    def config(self) -> dict[str, Any]:
        """The resolved Compose model; SlipwayError says in one line what is wrong with the files."""
        # asked once, however many want to know it at the same time
        with self._asking:
            if self._model is None:
                self._model = self._resolved()
            return self._model

    def _resolved(self) -> dict[str, Any]:
        for name in self._profile.compose_files:
            if not (self._source / name).is_file():
                raise SlipwayError(f"Compose file {self._source / name} does not exist: mend application.compose_files")
        try:
            # Compose doubles each `$`, so that what it prints could be a Compose file
            model: dict[str, Any] = json.loads(self.call("config", "--format", "json").stdout.replace("$$", "$"))
        except CommandError as error:
            raise SlipwayError(
                f"Compose refuses {', '.join(self._profile.compose_files)} in {self._source}: {error.reason}"
            ) from error
        return model

    @property
    def references(self) -> dict[str, str]:
        """Each service's image under the name that Compose looks it up by."""
        return {
            name: service.get("image") or f"{self._profile.name}-{name}"
            for name, service in self.config["services"].items()
        }

    def replicas(self, service: str) -> int:
        """How many containers the Compose files ask for."""
        model = self.config["services"][service]
        asked = (model.get("scale"), (model.get("deploy") or {}).get("replicas"), 1)
        return int(next(number for number in asked if number is not None))

    def built(self) -> list[str]:
        """The services whose image is built here."""
        return [name for name, service in self.config["services"].items() if service.get("build")]

    def build(self) -> None:
        """Build what the Compose files build, from the release's own source."""
        self.call("build", "--quiet", directory=self._source, timeout=BUILD_TIMEOUT)

    def up(self, *services: str) -> None:
        """Start or replace what differs of `services` and of what they depend on, and wait until it is healthy."""
        self._up(*services)

    def create(self, service: str, count: int) -> None:
        """Let there be `count` containers of a service: those that are there stay as they are, none is started."""
        keep = ("--no-start", "--no-recreate", "--no-deps", "--no-build", "--pull", "never")
        self.call("up", *keep, "--scale", f"{service}={count}", service)

    @cached_property
    def config_hashes(self) -> dict[str, str]:
        """What a container that Compose makes of each service bears as its config hash."""
        lines = self.call("config", "--hash", "*").stdout.splitlines()
        return dict(line.split() for line in lines if line.strip())

    def start_differing(self, *services: str) -> None:
        """Start or replace containers of `services` that differ from the files, and no other; wait for them."""
        self._up("--no-deps", *services)

    def recreate(self, *services: str) -> None:
        """Replace the containers of `services`, whether they differ or not."""
        self._up("--force-recreate", "--no-deps", *services)

    def _up(self, *arguments: str) -> None:
        waiting = ("--wait", "--wait-timeout", str(UP_TIMEOUT))
        self.call("up", "--detach", "--no-build", "--pull", "never", *waiting, *arguments, timeout=UP_TIMEOUT + 60)

    def stop(self) -> None:
        """Stop the project's containers and keep them."""
        self.call("stop", timeout=UP_TIMEOUT)

    def run_once(self, service: str, *command: str, timeout: float) -> Completed:
        """Run a command in a one-off container of a service's image, removed afterwards."""
        label = f"{ONEOFF}={self._profile.name}"
        arguments = ["--rm", "--no-TTY", "--no-deps", "--label", label, service]
        return self.call("run", *arguments, *command, timeout=timeout, check=False)
