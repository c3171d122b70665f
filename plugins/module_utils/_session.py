# SPDX-License-Identifier: GPL-3.0-or-later
"""A visitor of the application: logs in once, and says in a few words what was wrong with an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from ._errors import SlipwayError
from ._html import Document, path_of, read_html
from ._http import Client, HttpError, Response
from ._profile import Login, Profile

FORBIDDEN = 403
TOKEN_FIELD = "authenticity_token"  # noqa: S105 the name of a field
TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105 the name of a header


class LoginError(SlipwayError):
    """The application did not let the visitor in."""


@dataclass
class Visitor:
    """One window of a browser: cookies of its own, and the CSRF token of the last page seen in it."""

    client: Client
    profile: Profile
    token: str | None = None

    def get(self, path: str, timeout: float | None = None) -> Response:
        """Request a page; HttpError when none comes."""
        return self._noted(path, self.client.get(path, timeout or self.profile.critical_timeout))

    def send(self, verb: str, path: str, form: Mapping[str, str]) -> Response:
        """Submit a form as Rails' own pages do: by POST, other verbs by name."""
        if self.token is None:
            self._find_token()
        fields = dict(form)
        headers = {}
        if verb != "post":
            fields["_method"] = verb
        if self.token is not None:
            fields[TOKEN_FIELD] = self.token
            headers[TOKEN_HEADER] = self.token
        answer = self.client.request("POST", path, self.profile.critical_timeout, form=fields, headers=headers)
        return self._noted(path, answer)

    def document(self, path: str, answer: Response) -> Document:
        """Read an HTML answer."""
        return read_html(answer.text, urljoin(self.client.origin, path), self.client.hosts)

    def _noted(self, path: str, answer: Response) -> Response:
        if answer.html:
            self.token = self.document(path, answer).token or self.token
        return answer

    def _find_token(self) -> None:
        """Look for a CSRF token on the key pages when no page seen so far had one."""
        for path in (*(page.path for page in self.profile.pages), "/"):
            if self.token is not None:
                return
            try:
                self.get(path)
            except HttpError:
                continue

    def wrong(self, answer: Response, expected: Sequence[int]) -> str | None:
        """Say what is wrong with the status of an answer, in a few words."""
        if answer.status in expected:
            return self.sent_to_login(answer)
        reason = f"{answer.status}"
        hint = ""
        if answer.redirect:
            target = self.target(answer)
            reason = f"{answer.status} to {target or 'nowhere'}"
            if self.sent_to_login(answer):
                hint = ": the login does not hold"
            elif target and target.startswith("https://") and not self.client.secure:
                hint = ": does the application serve https only? Then base_url must say so"
        elif answer.status == FORBIDDEN:
            hint = f": does the application accept the host name {self.client.host}?"
        return f"{reason}, expected {' or '.join(map(str, expected))}{hint}"

    def sent_to_login(self, answer: Response) -> str | None:
        """Say so of an answer that leads back to the login."""
        login = self.profile.login
        if login is None or not answer.redirect or self.target(answer) != login.path:
            return None
        return f"{answer.status} to {login.path}: the login does not hold"

    def target(self, answer: Response) -> str | None:
        """Return where a redirect leads: a path on the application's own host, else an address; without its query."""
        location = answer.header("location")
        if not location:
            return None
        try:
            parts = urlsplit(urljoin(self.client.origin, location))
        except ValueError:
            return "an address that is none"
        return parts.path or "/" if self._own(parts) else f"{parts.scheme}://{parts.hostname}{parts.path}"

    def onward(self, answer: Response) -> str | None:
        """What a redirect asks for on the application's own host, with its query; None where it leads elsewhere."""
        target = self.target(answer)
        if target is None or not target.startswith("/"):
            return None
        return path_of(urlsplit(urljoin(self.client.origin, answer.header("location") or "")))

    def leads_away(self, answer: Response) -> bool:
        """Whether a redirect leads to another host."""
        return "://" in (self.target(answer) or "")

    def _own(self, parts: SplitResult) -> bool:
        return parts.scheme == ("https" if self.client.secure else "http") and parts.netloc.lower() in self.client.hosts


class Session:
    """The login that all probes of one invocation share; it happens when the first of them asks for it."""

    def __init__(self, client: Client, profile: Profile) -> None:
        self._client = client
        self._profile = profile
        self._lock = threading.Lock()
        self._open = profile.login is None
        self._refusal: str | None = None
        self._landing = ("", 0.0)

    def landing(self) -> tuple[str, float]:
        """The page that the login led to, and how many seconds it took; told once, as it was loaded."""
        with self._lock:
            landing, self._landing = self._landing, ("", 0.0)
        return landing

    def visitor(self) -> Visitor:
        """Return a logged-in visitor; LoginError when the application lets nobody in."""
        with self._lock:
            if not self._open and self._refusal is None:
                try:
                    self._login()
                    self._open = True
                except (LoginError, HttpError) as error:
                    self._refusal = f"login: {error}"
            if self._refusal is not None:
                raise LoginError(self._refusal)
        return Visitor(self._client.visitor(), self._profile)

    def _login(self) -> None:
        login = self._profile.login
        if login is None:
            return
        visitor = Visitor(self._client, self._profile)
        action = self._checked(visitor, login)
        try:
            answer = visitor.send("post", action, login.form)
        except HttpError as error:
            raise LoginError(f"POST {action}: {error}") from error
        target = visitor.target(answer)
        if not answer.redirect or target is None or target in {login.path, action}:
            found = f"{answer.status} to {target}" if answer.redirect else f"{answer.status}"
            raise LoginError(f"POST {action}: {found}, expected a redirect to another page: is the password right?")
        if not target.startswith("/"):
            raise LoginError(f"POST {action}: {visitor.wrong(answer, (200,))}")
        # As a browser does; where sessions live on the server, this also settles the CSRF token before windows part.
        begun = time.monotonic()
        try:
            answer = visitor.get(target)
        except HttpError:
            return
        if answer.ok:
            self._landing = target, round(time.monotonic() - begun, 3)

    @staticmethod
    def _checked(visitor: Visitor, login: Login) -> str:
        """Load the login, and return where its form goes.

        Rails' own generator shows it at another path than it takes it. Of several forms with a password it is the one
        that has the fields: another may be there to register.
        """
        path = login.path
        try:
            answer = visitor.get(path)
        except HttpError as error:
            raise LoginError(f"GET {path}: {error}") from error
        wrong = None if answer.ok else visitor.wrong(answer, (200,))
        if wrong:
            raise LoginError(f"GET {path}: {wrong}")
        logins = visitor.document(path, answer).logins if answer.html else ()
        fitting = [action for action, fields in logins if set(login.form) <= fields]
        return path if not fitting or {path, None} & set(fitting) else fitting[0] or path
