"""A client that writes to the sample application as its users do, and afterwards asks where each write is.

A write counts only when the application acknowledged it. Whatever happened to the host meanwhile, an acknowledged write
must be in the database, or in what a rollback set aside and named; else it is lost.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlencode, urlsplit

RATE = 20  # writes a second
SENDERS = 4
PORT = 80
PATIENCE = 5  # seconds that an answer may take
EMAIL = "operator@example.test"
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
STATE = "/var/lib/slipway/swarm"

# Prints what holds the writes named PREFIX: a line `in PLACE`, then their markers. `now` is the database in use; the
# others are the dumps and databases that a rollback left. A kept database may let nobody in until now.
FIND = r"""
set -euo pipefail
database=$(docker ps --quiet --filter label=com.docker.compose.project=swarm \
  --filter label=com.docker.compose.service=postgres --filter label=com.docker.compose.oneoff=False)
sql() { docker exec --interactive "$database" psql -XqAt -v ON_ERROR_STOP=1 --username swarm_owner "$@"; }
markers() { sql "$1" --command "SELECT name FROM campaigns WHERE starts_with(name, '$PREFIX')"; }
echo "in now"
markers swarm_production
for kept in $(sql postgres --command "SELECT datname FROM pg_database WHERE datname LIKE '%\_kept\_%'"); do
  echo "in database $kept"
  sql postgres --command "ALTER DATABASE $kept ALLOW_CONNECTIONS true"
  markers "$kept"
done
find "$STATE/backups" -path '*-rollback*' -name toc.dat 2>/dev/null | sort | while read -r contents; do
  dump=$(dirname "$contents")
  echo "in backup ${dump#"$STATE/backups/"}"
  tar -C "$dump" -cf - . | docker exec --interactive "$database" sh -ec '
    trap "rm -rf /tmp/writer" EXIT; mkdir /tmp/writer; tar -C /tmp/writer -xf -
    pg_restore --data-only --table=campaigns --file=- /tmp/writer' | { grep -oE "$PREFIX[0-9]+" || true; }
done
"""


@dataclass(frozen=True)
class Write:
    """One write and what became of it.

    :param kind: create or delete; login where the client was not let in, so that there was nothing to write.
    :param marker: the campaign's name, which no other write has; empty for a login.
    :param sent: when it was sent, and `answered` when its fate was known, in seconds since the epoch.
    :param fate: acknowledged, refused (the application said no), or unknown (no answer, or an error of the server).
    :param status: the HTTP status; None without an answer.
    :param problem: why there was no answer; empty when there was one.
    """

    kind: str
    marker: str
    number: int | None
    sent: float
    answered: float
    fate: str
    status: int | None
    problem: str = ""


@dataclass(frozen=True)
class Accounts:
    """Where the acknowledged writes are: each is in exactly one of the three."""

    found: tuple[Write, ...]
    aside: tuple[Write, ...]
    lost: tuple[Write, ...]


def account(writes: Iterable[Write], present: AbstractSet[str], aside: Mapping[str, AbstractSet[str]]) -> Accounts:
    """Say where each acknowledged write is.

    :param present: the markers in the database in use.
    :param aside: the markers in each dump or database that a rollback left.
    """
    every = list(writes)
    deleted = {item.marker for item in every if item.kind == "delete" and item.fate != "refused"}
    created = {item.marker: item for item in every if item.kind == "create" and item.fate == "acknowledged"}

    def covers(markers: AbstractSet[str], marker: str) -> bool:
        """Whether a copy was taken after `marker` came in: it holds one that was sent later."""
        return any(created[name].sent > created[marker].answered for name in markers if name in created)

    found, kept, lost = list[Write](), list[Write](), list[Write]()
    for item in every:
        if item.fate != "acknowledged":
            continue
        if item.kind == "create":
            here = item.marker in present or item.marker in deleted
            there = any(item.marker in markers for markers in aside.values())
        else:
            here = item.marker not in present
            there = any(item.marker not in markers and covers(markers, item.marker) for markers in aside.values())
        (found if here else kept if there else lost).append(item)
    return Accounts(tuple(found), tuple(kept), tuple(lost))


class RefusedError(Exception):
    """The application does not let the client in.

    :param status: what it answered.
    """

    def __init__(self, request: str, status: int) -> None:
        self.status = status
        super().__init__(f"{request}: {status}")


class _Browser:
    """One keep-alive connection with a session of its own."""

    def __init__(self, address: str, name: str, password: str) -> None:
        self._name = name
        self._password = password
        self._connection = http.client.HTTPConnection(address, PORT, timeout=PATIENCE)
        self._cookie = ""
        self._token = ""

    def send(self, method: str, path: str, form: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Return status, the path that a redirect leads to, and the body; OSError or HTTPException when none comes."""
        headers = {"Host": self._name, **({"Cookie": self._cookie} if self._cookie else {})}
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode({**form, "authenticity_token": self._token})
        # as every client does that keeps connections: one that the server has closed meanwhile is not used again
        if self._connection.sock is not None and select.select([self._connection.sock], [], [], 0)[0]:
            self._connection.close()
        used = self._connection.sock is not None
        try:
            try:
                answer = self._exchange(method, path, body, headers)
            except ConnectionError:
                if not used:
                    raise
                # as browsers do: it was being closed for having been idle, and nobody has read the request
                self._connection.close()
                answer = self._exchange(method, path, body, headers)
            text = answer.read().decode(errors="replace")
        except BaseException:
            self._connection.close()
            raise
        cookie = answer.getheader("Set-Cookie")
        if cookie:
            self._cookie = cookie.partition(";")[0]
        token = TOKEN.search(text)
        if token:
            self._token = token[1]
        return answer.status, urlsplit(answer.getheader("Location") or "").path, text

    def _exchange(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, dict(headers))
        return self._connection.getresponse()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @property
    def known(self) -> bool:
        """Whether it has logged in."""
        return bool(self._token)

    def forget(self) -> None:
        """Log in again before the next write."""
        self._token = ""

    def login(self) -> None:
        """Log in, and read a page whose token belongs to the new session."""
        self.send("GET", "/login")
        form = {"session[email]": EMAIL, "session[password]": self._password}
        status, target, _ = self.send("POST", "/login", form)
        if status not in {302, 303} or target == "/login":
            self.forget()
            raise RefusedError("POST /login", status)
        status, _, _ = self.send("GET", "/campaigns/new")
        if status != http.client.OK:
            self.forget()
            raise RefusedError("GET /campaigns/new", status)


class Writer:
    """Writes until it is stopped, or `duration` seconds have gone by since it began.

    :param address: of the host; `name` is the one that the application answers to.
    :param log: where each write is noted, durably, before the next one.
    """

    def __init__(self, address: str, name: str, password: str, log: Path, duration: float) -> None:
        self.prefix = f"written-{secrets.token_hex(4)}-"
        self._address = address
        self._name = name
        self._password = password
        self._log = log
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._duration = duration
        self._deadline = 0.0
        self._count = 0
        self._mine: list[tuple[float, int, str]] = []
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(SENDERS)]

    def __enter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.touch(mode=0o600)
        self._deadline = time.monotonic() + self._duration
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def writes(self) -> list[Write]:
        """Return what was noted so far."""
        with self._lock:
            return [Write(**json.loads(line)) for line in self._log.read_text().splitlines()]

    def acknowledged_since(self, moment: float) -> bool:
        """Tell whether a write that was sent after `moment` was acknowledged."""
        return any(item.sent > moment and item.fate == "acknowledged" for item in self.writes())

    def accounts(self, run: Callable[[str], str]) -> Accounts:
        """Look on the host where each acknowledged write is.

        :param run: runs a script there as root and returns what it prints.
        """
        present, aside = places(run(f"PREFIX={self.prefix} STATE={STATE}\n{FIND}"))
        return account(self.writes(), present, aside)

    def _work(self, number: int) -> None:
        with contextlib.closing(_Browser(self._address, self._name, self._password)) as browser:
            self._write_on_time(browser, number)

    def _write_on_time(self, browser: _Browser, number: int) -> None:
        due = time.monotonic() + number / RATE
        while not self._ending.wait(max(0.0, due - time.monotonic())) and time.monotonic() < self._deadline:
            due = max(due + SENDERS / RATE, time.monotonic())
            if browser.known or self._let_in(browser):
                self._note(self._write(browser))

    def _let_in(self, browser: _Browser) -> bool:
        """Log in; what keeps the client out is noted, for who writes nothing meets no failure either."""
        sent, status = time.time(), None
        try:
            browser.login()
        except RefusedError as error:
            status, problem = error.status, str(error)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            return True
        self._note(Write("login", "", None, sent, time.time(), "unknown", status, problem))
        return False

    def _write(self, browser: _Browser) -> Write:
        """Make one write: each fifth deletes a campaign of its own that is a second old, the others create one."""
        sent, status, target, fate, problem = time.time(), None, "", "unknown", ""
        with self._lock:
            self._count += 1
            count = self._count
            old = count % 5 == 0 and bool(self._mine) and self._mine[0][0] < sent - 1
            number, marker = self._mine.pop(0)[1:] if old else (None, f"{self.prefix}{count}")
        try:
            if number is None:
                status, target, _ = browser.send("POST", "/campaigns", {"campaign[name]": marker})
                created = re.fullmatch(r"/campaigns/([0-9]+)", target)
                fate = "acknowledged" if created else _fate(status)
                number = int(created[1]) if created else None
            else:
                status, target, _ = browser.send("POST", f"/campaigns/{number}", {"_method": "delete"})
                fate = "acknowledged" if target == "/campaigns" else _fate(status)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
        if fate == "refused":
            browser.forget()
        kind = "delete" if old else "create"
        if kind == "create" and number is not None:
            with self._lock:
                self._mine.append((time.time(), number, marker))
        return Write(kind, marker, number, sent, time.time(), fate, status, problem)

    def _note(self, write: Write) -> None:
        with self._lock, self._log.open("a") as stream:
            stream.write(json.dumps(asdict(write)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def _fate(status: int) -> str:
    """Tell whether an answer that is no acknowledgement rules out that the write happened."""
    return "unknown" if status >= http.client.INTERNAL_SERVER_ERROR else "refused"


def places(printed: str) -> tuple[set[str], dict[str, set[str]]]:
    """Read what FIND printed: the markers in the database in use, and those in each place aside."""
    found: dict[str, set[str]] = {}
    here: set[str] = set()
    for line in printed.splitlines():
        if line.startswith("in "):
            here = found.setdefault(line.removeprefix("in "), set())
        else:
            here.add(line)
    return found.pop("now"), found
