# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the proxy sends requests, and how it is told to send them elsewhere without failing one."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from ._compose import Docker
from ._errors import CommandError, SlipwayError
from ._files import read_inside, write_file
from ._profile import DOCKER_DNS, HAPROXY, NGINX_RELOAD

if TYPE_CHECKING:
    from pathlib import Path

    from ._compose import Container
    from ._site import Site

RELOADED_WITHIN = 30
ANSWERS_WITHIN = 60
LET_GO_WITHIN = 5
# The connect timeout of 1 s that such a proxy should have, and some more.
CONNECTS_WITHIN = 1.2
_LONGEST_ANSWER = 1_000_000  # bytes
_PAUSE = 0.1
# What is read of `show stat`.
_COLUMNS = {"svname", "status", "scur"}
_SERVER = re.compile(r"^\s*server (?:\S+ )?([^\s:;]+):", re.MULTILINE)
_NOBODY = "nobody yet"
_HEAD = "# Slipway writes this file anew with each switch.\n"


class Traffic(Protocol):
    """A way to tell a proxy which containers it sends requests to."""

    def targets(self) -> set[str] | None:
        """The names of the containers that requests go to; None where nobody decides that."""

    def move(self, containers: Sequence[Container]) -> None:
        """Send new requests to these containers alone; what is being answered elsewhere is answered to its end."""

    def let_go(self, containers: Sequence[Container]) -> None:
        """Return when containers that get no new requests have answered those they had, or have had their time."""

    def settled(self) -> bool:
        """Whether a proxy that is restarted would find containers that people start by hand."""

    def settle(self) -> None:
        """Make it so, once no container runs but those that requests are sent to; the proxy itself notices nothing."""


def traffic_of(site: Site) -> Traffic:
    """The traffic of a site, as its profile has it."""
    drain = site.profile.proxy.drain
    if drain == NGINX_RELOAD:
        return NginxReload(site)
    if drain == HAPROXY:
        return Haproxy(site)
    if drain == DOCKER_DNS:
        return DockerDns(site)
    return Unguided()


def stop_one_by_one(site: Site, containers: Sequence[Container]) -> None:
    """Stop web containers that are to get no new requests: WebSockets come back in parts.

    A proxy that goes on with an address which it looked up must have forgotten one before the next is gone, so that
    no request waits for its connect timeout twice.
    """
    proxy = site.profile.proxy
    apart = proxy.dns_ttl + CONNECTS_WITHIN if proxy.drain == DOCKER_DNS else 0.0
    for number, item in enumerate(containers):
        time.sleep(apart if number else 0.0)
        site.docker.stop([item])


def proxy_container(site: Site) -> Container | None:
    """The container of the proxy; None while it does not run, as before a first install: it reads its file later."""
    found = site.containers(site.profile.services.proxy or "")
    return found[0] if found else None


class Unguided:
    """No proxy that can be told anything: whatever runs is found."""

    def targets(self) -> set[str] | None:
        """Nobody decides."""
        return None

    def move(self, containers: Sequence[Container]) -> None:
        """Nobody to tell."""

    def let_go(self, containers: Sequence[Container]) -> None:
        """A container finishes what it answers within its grace period."""

    def settled(self) -> bool:
        """A proxy that finds containers by name always would."""
        return True

    def settle(self) -> None:
        """There is nothing to do."""


class DockerDns(Unguided):
    """A proxy that looks the service's name up in Docker's DNS, which names every container of it that runs."""

    def __init__(self, site: Site) -> None:
        self._wait = site.profile.proxy.dns_ttl

    def move(self, containers: Sequence[Container]) -> None:
        """Return when the proxy must have heard of the containers that are to stay."""
        begun = max((item.started for item in containers), default=0.0)
        # one second for Docker, which counts a container's beginning in them
        time.sleep(max(0.0, min(self._wait, begun + self._wait - time.time())) + 1)


class _File:
    """What the proxy is told, as the file that it reads when it starts.

    It names containers, which a `docker compose down` and `up` by hand would give other names. So what the file said
    before it was first written here is kept, and stands in it again when there is nobody else to be told apart from.
    """

    def __init__(self, site: Site) -> None:
        self._directory, self._name = site.directory, site.profile.proxy.file or ""
        self.path: Path = self._directory / self._name
        self._owner = site.checkout
        self._by_hand: Path = site.ledger.root / "upstream.by-hand"

    def read(self) -> str:
        try:
            return (read_inside(self._directory, self._name) or b"").decode()
        except UnicodeDecodeError:
            raise SlipwayError(f"{self.path} is no text in UTF-8: mend it") from None

    def names(self) -> set[str]:
        """The containers in it."""
        return set(_SERVER.findall(self.read()))

    @property
    def is_by_hand(self) -> bool:
        """Whether it is again as it was before it was first written here."""
        return self._by_hand.is_file() and self._by_hand.read_bytes() == self.read().encode()

    @property
    def settled(self) -> bool:
        """Whether the file is as people wrote it, or was never theirs."""
        return not self._by_hand.is_file() or self.is_by_hand

    def settle(self) -> None:
        if not self.settled:
            self._put(self._by_hand.read_bytes())

    def write(self, text: str) -> None:
        if not self.path.parent.is_dir():
            raise SlipwayError(f"{self.path.parent} does not exist: make it, the proxy reads its upstream from there")
        before = self.read()
        if before.strip() and not before.startswith(_HEAD):
            write_file(self._by_hand, before.encode())
        self._put(text.encode())

    def _put(self, content: bytes) -> None:
        write_file(self.path, content, mode=0o644, owner=self._owner.owner)


class NginxReload:
    """nginx reads a file that is written here, and reloads: old worker processes finish what they have begun.

    nginx looks the names in it up once, when it reads the file; a container's own name has one address while it runs.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._file = _File(site)
        self._noted: Path = site.ledger.root / "upstream"

    def targets(self) -> set[str] | None:
        """The containers that nginx has read last, where that is known."""
        proxy = proxy_container(self._site)
        if proxy is None:
            return self._file.names()
        reader, _, read = self._noted.read_text("utf-8").partition("\n") if self._noted.is_file() else ("", "", "")
        # one that started since then has read the file as it was at that moment
        known = reader in {_NOBODY, _identity(proxy)} and (read == self._file.read() or self._file.is_by_hand)
        return set(_SERVER.findall(read)) if known else set()

    def _note(self, proxy: Container | None, text: str) -> None:
        """Note down what nginx read last, and which: killed in between, or started anew, the file would not tell."""
        write_file(self._noted, f"{_identity(proxy) if proxy else _NOBODY}\n{text}".encode())

    def move(self, containers: Sequence[Container]) -> None:
        """Write the file, let nginx check it, reload, and return when every old worker process has turned away."""
        site, before = self._site, self._file.read()
        port = site.profile.web_port
        servers = "".join(f"  server {item.name}:{port};\n" for item in containers)
        text = f"{_HEAD}upstream {site.profile.proxy.upstream} {{\n{servers}}}\n"
        proxy = proxy_container(site)
        if proxy is None:
            self._file.write(text)
            self._note(None, text)
            return
        old = _workers(site, proxy)
        self._file.write(text)
        docker = Docker(site.runner)
        try:
            docker.execute(proxy.id, "sh", "-c", "nginx -t && nginx -s reload")
        except CommandError as error:
            if before:
                self._file.write(before)
            raise SlipwayError(f"nginx refuses {self._file.path}: {_last_line(error.output)}") from error
        deadline = time.monotonic() + RELOADED_WITHIN
        while old & _workers(site, proxy):
            if time.monotonic() > deadline:
                raise SlipwayError(f"nginx did not reload within {RELOADED_WITHIN} s: see its log")
            time.sleep(_PAUSE)
        self._note(proxy, text)

    def let_go(self, containers: Sequence[Container]) -> None:
        """Wait for the old worker processes to end; WebSockets hold them, and end with their container."""
        del containers
        proxy = proxy_container(self._site)
        deadline = time.monotonic() + LET_GO_WITHIN
        while proxy is not None and _workers(self._site, proxy, leaving=True) and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def settled(self) -> bool:
        """Whether the file is as it was before it was first written here."""
        return self._file.settled

    def settle(self) -> None:
        """Put the file back; what nginx has read stays what it goes by."""
        self._file.settle()


def _identity(container: Container) -> str:
    return f"{container.id} {container.started}"


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["it says nothing"])[-1]


def _workers(site: Site, proxy: Container, *, leaving: bool = False) -> set[str]:
    """The process numbers of nginx' workers: those that take requests, or those that only finish theirs."""
    listing = site.runner.run(["docker", "top", proxy.id, "-eo", "pid,args"]).stdout.splitlines()
    found = [line.strip().split(None, 1) for line in listing if "nginx: worker process" in line]
    return {pid for pid, command in found if ("shutting down" in command) == leaving}


class Haproxy:
    """HAProxy is told through its admin socket; a file that it reads when it starts says the same.

    Commands and states: HAProxy Management Guide, section 9.3.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._file = _File(site)
        self._backend = site.profile.proxy.upstream
        self._socket = str(site.directory / (site.profile.proxy.socket or ""))

    def _ask(self, command: str) -> str:
        deadline, answer = time.monotonic() + RELOADED_WITHIN, b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.settimeout(RELOADED_WITHIN)
                connection.connect(self._socket)
                connection.sendall(f"{command}\n".encode())
                while part := connection.recv(65536):
                    answer += part
                    left = deadline - time.monotonic()
                    if left <= 0 or len(answer) > _LONGEST_ANSWER:
                        raise TimeoutError("its answer does not end")
                    connection.settimeout(left)
            except OSError as error:
                raise SlipwayError(
                    f"HAProxy's admin socket {self._socket} does not answer ({error}): mend application.proxy.socket"
                ) from error
        return answer.decode(errors="replace").strip()

    def _tell(self, command: str, *expected: str) -> None:
        answer = self._ask(command)
        if answer and not any(word in answer for word in expected):
            raise SlipwayError(f"HAProxy refuses '{command}': {_last_line(answer)}")

    def _servers(self) -> dict[str, dict[str, str]]:
        """What HAProxy says of each server of the backend: columns of `show stat`, by name."""
        header, *lines = self._ask(f"show stat {self._backend} 4 -1").lstrip("# ").splitlines() or [""]
        names = header.split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines if line]
        if any(not row.keys() >= _COLUMNS or row["scur"].strip("0123456789") for row in rows):
            raise SlipwayError(
                f"what answers at {self._socket} does not tell servers as HAProxy does: mend application.proxy.socket"
            )
        return {row["svname"]: row for row in rows}

    @staticmethod
    def _up(servers: dict[str, dict[str, str]]) -> set[str]:
        return {name for name, row in servers.items() if row["status"].startswith("UP")}

    def targets(self) -> set[str] | None:
        """The servers that are up, where the file says the same; those in the file while HAProxy does not run."""
        if proxy_container(self._site) is None:
            return self._file.names()
        live = self._up(self._servers())
        return live if self._file.is_by_hand or live == self._file.names() else set()

    def move(self, containers: Sequence[Container]) -> None:
        """Add what is missing, wait until HAProxy finds it up, then let the others only finish what they have."""
        port, wanted = self._site.profile.web_port, {item.name for item in containers}
        lines = "".join(f"  server {item.name} {item.name}:{port} check\n" for item in containers)
        text = f"{_HEAD}backend {self._backend}\n{lines}"
        if proxy_container(self._site) is None:
            self._file.write(text)
            return
        servers = self._servers()
        for item in containers:
            server = f"{self._backend}/{item.name}"
            if item.name in servers:
                # a container that was started again may have another address
                self._tell(f"set server {server} addr {item.address} port {port}", "IP changed", "no need to change")
                self._tell(f"set server {server} state ready")
                self._tell(f"set server {server} health up")
            else:
                self._tell(f"add server {server} {item.address}:{port} check", "New server registered")
                self._tell(f"enable health {server}")
                self._tell(f"enable server {server}")
        self._await_up(wanted)
        self._file.write(text)
        for name in servers.keys() - wanted:
            self._tell(f"set server {self._backend}/{name} state drain")

    def _await_up(self, wanted: set[str]) -> None:
        deadline = time.monotonic() + ANSWERS_WITHIN
        while True:
            servers = self._servers()
            down = sorted(name for name in wanted if not servers.get(name, {}).get("status", "").startswith("UP"))
            if not down:
                return
            if time.monotonic() > deadline:
                raise SlipwayError(f"HAProxy does not find {', '.join(down)} up after {ANSWERS_WITHIN} s")
            time.sleep(_PAUSE)

    def let_go(self, containers: Sequence[Container]) -> None:
        """Wait until they have no session, or their time has passed; then forget all that get no new requests."""
        del containers
        if proxy_container(self._site) is None:
            return
        deadline = time.monotonic() + LET_GO_WITHIN
        while True:
            servers = self._servers()
            stay = self._up(servers) | self._file.names()
            rows = {name: row for name, row in servers.items() if name not in stay}
            if not any(int(row["scur"] or 0) for row in rows.values()) or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
        for name in rows:
            server = f"{self._backend}/{name}"
            self._tell(f"set server {server} state maint")
            self._tell(f"shutdown sessions server {server}")
            # one whose last session is still being closed stays for now: it gets nothing any more
            while "still has connections" in self._ask(f"del server {server}") and time.monotonic() < deadline + 1:
                time.sleep(_PAUSE)

    def settled(self) -> bool:
        """Whether the file is as it was before it was first written here."""
        return self._file.settled

    def settle(self) -> None:
        """Put the file back; HAProxy reads it when it starts."""
        self._file.settle()


def check_file_reaches_proxy(site: Site) -> str | None:
    """Why the proxy would not see a new upstream file; None when it does."""
    proxy = site.profile.proxy
    if proxy.file is None:
        return None
    path = site.directory / proxy.file
    service = site.compose.config["services"].get(site.profile.services.proxy or "", {})
    mounts = [PurePosixPath(item["source"]) for item in service.get("volumes", []) if item.get("type") == "bind"]
    if PurePosixPath(path) in mounts:
        return f"{proxy.file} is mounted by itself, so that a new one is not seen: mount its directory"
    if not any(mount in PurePosixPath(path).parents for mount in mounts):
        return f"{proxy.file} is in no directory that service {site.profile.services.proxy} mounts: mount it there"
    # refuses what could not be read and kept
    _File(site).read()
    return None
