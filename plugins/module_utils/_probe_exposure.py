# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the application stands open: pages, ports, default secrets, debug mode, headers and cookies.

Looked at as somebody would who has not logged in. What stood open before a release is no reason to take that back, so
the same look is taken before, and kept.
"""

from __future__ import annotations

import fcntl
import re
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ._errors import SlipwayError
from ._http import LOOPBACK, Client, HttpError, Response
from ._observation import Observation, timestamp
from ._session import Visitor
from ._site import EnvFile

if TYPE_CHECKING:
    from ._clock import Clock
    from ._compose import Container
    from ._profile import Profile
    from ._site import Site

PROBE, WARNINGS = "exposure", "warnings"
_DATABASE_PORT, _CACHE_PORT = 5432, 6379
_CONNECT_TIMEOUT, _REQUEST_TIMEOUT = 1.0, 10.0
_SIOCGIFADDR = 0x8915
_BRIDGES = ("docker", "br-", "veth")
_SHORTEST_KEY, _FEWEST_LETTERS = 64, 8
_SECRET = re.compile(r"passw|secret|token|credential|api_?key|master_?key|access_?key", re.IGNORECASE)
_DEFAULTS = frozenset(
    {
        "admin",
        "administrator",
        "changeit",
        "changeme",
        "change_me",
        "change-me",
        "default",
        "dev",
        "development",
        "example",
        "foobar",
        "insecure",
        "letmein",
        "pass",
        "passw0rd",
        "password",
        "password1",
        "please_change",
        "postgres",
        "postgresql",
        "qwerty",
        "rails",
        "redis",
        "replace_me",
        "root",
        "secret",
        "test",
        "todo",
        "user",
        "123456",
        "12345678",
    }
)
_EXAMPLES = (".env.example", ".env.sample", ".env.template")
_SESSION_COOKIE = re.compile(r"sess|sid", re.IGNORECASE)
_LOGIN_FORM = re.compile(r"<input\b[^>]*\btype=[\"']?password", re.IGNORECASE)
# What Rails' own pages for developers show, and nothing else does.
_DEVELOPER_PAGE = re.compile(r"Action Controller: Exception caught|<h1>Routing Error</h1>|Rails\.root: /|web-console")


@dataclass(frozen=True)
class Weakness:
    """Something that may stand open.

    :param there: whether it does; None when it could not be seen.
    :param grave: whether it decides by itself, where nobody looked before the release.
    """

    subject: str
    there: bool | None
    detail: str
    grave: bool = True


@dataclass
class Look:
    """One look at one site.

    :param addresses: the host's own; found out when None.
    """

    site: Site
    addresses: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self._addresses = own_addresses() if self.addresses is None else self.addresses
        self._profile: Profile = self.site.profile
        self._timeout = min(_REQUEST_TIMEOUT, self._profile.critical_timeout)

    def weaknesses(self) -> list[Weakness]:
        """All that was looked at, there or not."""
        containers = self.site.containers()
        stranger = self._stranger()
        try:
            with ThreadPoolExecutor(4) as pool:
                control = pool.submit(self._asked, stranger, f"/slipway-{secrets.token_hex(8)}")
                shown = pool.submit(self._asked, stranger, self._shown_path)
                paths = self._profile.exposure.private_paths
                answers = list(pool.map(lambda path: self._private(stranger, path), paths))
                found = [self._page(path, answer, control.result()) for path, answer in zip(paths, answers)]
                ports = list(self._ports(containers))
                page = shown.result()
        finally:
            stranger.close()
        found += [*ports, *self._secrets(containers), self._debug(containers, control.result())]
        return found + list(_headers(page, secure=stranger.secure))

    # pages

    @property
    def _shown_path(self) -> str:
        """A page that everybody may see."""
        if self._profile.login is not None:
            return self._profile.login.path
        return self._profile.pages[0].path if self._profile.pages else "/"

    def _stranger(self) -> Client:
        """A visitor from elsewhere: a server may let its own host see what others may not."""
        profile = self._profile
        parts = urlsplit(profile.base_url)
        url, host = profile.base_url, parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if host.startswith(LOOPBACK):
            outside = next((address for address in self._addresses if _answers(address, port)), None)
            url = url if outside is None else f"{parts.scheme}://{outside}:{port}"
        name = profile.host_header or parts.netloc
        return Client(url, name, verify_tls=profile.verify_tls, ca_file=profile.ca_file)

    def _asked(self, stranger: Client, path: str) -> Response | str:
        """What somebody is answered who has never been here; a text says why nothing came."""
        try:
            return stranger.visitor().get(path, self._timeout)
        except HttpError as error:
            return str(error)

    def _private(self, stranger: Client, path: str) -> Response | str:
        """The same, where a redirect leads to the same path with or without a slash."""
        answer = self._asked(stranger, path)
        if isinstance(answer, Response) and answer.redirect:
            target = Visitor(stranger, self._profile).target(answer) or ""
            if target.startswith("/") and target != path and target.rstrip("/") == path.rstrip("/"):
                return self._asked(stranger, target)
        return answer

    def _page(self, path: str, answer: Response | str, control: Response | str) -> Weakness:
        subject = f"GET {path}"
        if isinstance(answer, str):
            return Weakness(subject, None, f"could not be seen: {answer}")
        if answer.ok and isinstance(control, Response) and control.ok:
            return Weakness(subject, None, f"could not be seen: the application answers {control.status} to any path")
        if answer.ok and _LOGIN_FORM.search(answer.text):
            return Weakness(subject, there=False, detail="asks for a login")
        return Weakness(subject, answer.ok, f"{answer.status} to somebody who has not logged in")

    # ports

    def _ports(self, containers: Sequence[Container]) -> Iterator[Weakness]:
        services = self._profile.services
        for service, usual in ((services.database, _DATABASE_PORT), (services.cache, _CACHE_PORT)):
            if service is None:
                continue
            mine = [item for item in containers if item.service == service]
            if not mine:
                yield Weakness(f"ports of {service}", None, "could not be seen: it does not run")
                continue
            found = sorted({text for item in mine for text in self._open_ports(item, usual)})
            yield Weakness(f"ports of {service}", bool(found), ", ".join(found) or "none beyond this host")

    def _open_ports(self, container: Container, usual: int) -> Iterator[str]:
        for address, port in container.published:
            if not address.startswith(LOOPBACK):
                anywhere = address in {"0.0.0.0", "::", ""}  # noqa: S104 - what Docker writes, nothing is bound
                tried = self._addresses if anywhere else [address]
                reached = next((item for item in tried if _answers(item, port)), None)
                yield f"published on {address or 'all addresses'}:{port}" + (
                    f", answers on {reached}" if reached else ""
                )
        for port in (container.listens or (usual,)) if container.host_network else ():
            reached = next((item for item in self._addresses if _answers(item, port)), None)
            if reached:
                yield f"answers on {reached}:{port}"

    # secrets

    def _secrets(self, containers: Sequence[Container]) -> Iterator[Weakness]:
        web = self._web(containers)
        values = {**self.site.env_file.values(), **(web.environment if web else {})}
        examples: dict[str, str] = {}
        for name in _EXAMPLES:
            examples.update(EnvFile(self.site.directory / name).values())
        wanted = {name for name in self._profile.required_variables if _SECRET.search(name)} | {"SECRET_KEY_BASE"}
        for name in sorted(wanted & set(values)):
            wrong = _weak(name, values[name], examples.get(name))
            yield Weakness(f"secret {name}", wrong is not None, wrong or "none that is known")

    def _web(self, containers: Sequence[Container]) -> Container | None:
        """The web container that was started last: those that a release replaced may still run."""
        mine = [item for item in containers if item.service == self._profile.services.web]
        return max(mine, key=lambda item: item.started, default=None)

    def _debug(self, containers: Sequence[Container], control: Response | str) -> Weakness:
        web = self._web(containers)
        environment = dict(web.environment) if web else {}
        name = environment.get("RAILS_ENV") or environment.get("RACK_ENV") or ""
        if name in {"development", "test"}:
            return Weakness("debug mode", there=True, detail=f"RAILS_ENV is {name}")
        if environment.get("SECRET_KEY_BASE_DUMMY"):
            return Weakness("debug mode", there=True, detail="SECRET_KEY_BASE_DUMMY is set: it is for builds")
        if isinstance(control, str):
            return Weakness("debug mode", None, f"could not be seen: {control}")
        shows = _DEVELOPER_PAGE.search(control.text) is not None
        return Weakness("debug mode", shows, "an error shows a page for developers" if shows else "off")


def _weak(name: str, value: str, example: str | None) -> str | None:
    """What is wrong with a secret, without a word of it."""
    if value.strip().lower() in _DEFAULTS:
        return "is a default that everybody knows"
    if value and value == example:
        return "is the value of the example beside it"
    if name == "SECRET_KEY_BASE":
        if len(value) < _SHORTEST_KEY:
            return f"is shorter than {_SHORTEST_KEY} characters"
        if len(set(value)) < _FEWEST_LETTERS:
            return f"has fewer than {_FEWEST_LETTERS} different characters"
    return None


def _headers(page: Response | str, *, secure: bool) -> Iterator[Weakness]:
    if isinstance(page, str):
        yield Weakness("headers", None, f"could not be seen: {page}", grave=False)
        return

    def soft(subject: str, wrong: str | None) -> Weakness:
        return Weakness(subject, wrong is not None, wrong or "as it should be", grave=False)

    sniffs = (page.header("x-content-type-options") or "").strip().lower() != "nosniff"
    yield soft("header X-Content-Type-Options", "is not nosniff" if sniffs else None)
    framed = page.header("x-frame-options") or "frame-ancestors" in (page.header("content-security-policy") or "")
    yield soft("header X-Frame-Options", None if framed else "is missing, and frame-ancestors too")
    if secure:
        strict = page.header("strict-transport-security")
        yield soft("header Strict-Transport-Security", None if strict else "is missing")
    for name, value in page.headers:
        if name == "set-cookie" and _SESSION_COOKIE.search(value.partition("=")[0]):
            attributes = {part.partition("=")[0].strip().lower() for part in value.split(";")[1:]}
            wanted = ("HttpOnly", "SameSite", *(("Secure",) if secure else ()))
            missing = [item for item in wanted if item.lower() not in attributes]
            yield soft(f"cookie {value.partition('=')[0][:40]}", f"lacks {', '.join(missing)}" if missing else None)


def own_addresses() -> list[str]:
    """The host's own IPv4 addresses, one an interface, but for the loopback's; those of Docker's bridges come last."""
    found = []
    names = sorted((name for _index, name in socket.if_nameindex()), key=lambda name: name.startswith(_BRIDGES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for name in names:
            # an interface may have none
            with suppress(OSError):
                answer = fcntl.ioctl(query, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith(LOOPBACK)]


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_CONNECT_TIMEOUT).close()
    except OSError:
        return False
    return True


def baseline(site: Site) -> dict[str, bool | None]:
    """What stands open before a release touches the site, ready for JSON; empty where nothing could be looked at."""
    try:
        return {item.subject: item.there for item in Look(site).weaknesses()}
    except (SlipwayError, OSError, ValueError):
        # a file that cannot be read, too: a look is no reason to stop a backup
        return {}


def probe_exposure(site: Site, before: Mapping[str, bool | None], clock: Clock) -> list[Observation]:
    """Look at what stands open; what did not before the release is not ok.

    :param before: what `baseline` saw. Where it is silent, only what is grave counts.
    """
    seen = Look(site).weaknesses()
    observations = []
    for item in seen:
        if item.there is False:
            continue
        known = before.get(item.subject)
        value, ok, detail = 1, known is True or (known is None and not item.grave), item.detail
        if known is True:
            detail += ", as before the release"
        observations.append(_observed(clock, item.subject, value, detail, ok=ok if item.there else None))
    there = sum(item.there is True for item in seen)
    unseen = sum(item.there is None for item in seen)
    detail = f"{len(seen)} looked at, {there} open" + (f", {unseen} could not be seen" if unseen else "")
    # nothing that stands open is evidence, too
    observations.append(_observed(clock, "everything", None if there else 0, detail, ok=True))
    return observations


def _observed(clock: Clock, subject: str, value: float | None, detail: str, *, ok: bool | None) -> Observation:
    value = value if ok is not None else None
    unit = None if value is None else WARNINGS
    return Observation(PROBE, subject, timestamp(clock.now()), value, unit, ok=ok, detail=detail)
