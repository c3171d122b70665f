"""A small application over real HTTP, which tests make misbehave in one way at a time."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

HOST = "swarm.example.test"
EMAIL = "operator@example.test"
PASSWORD = "correct-horse-battery"


@dataclass
class Answer:
    """What the application sends back; `raw` replaces all of it, `lost` closes the connection instead."""

    status: int = 200
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    lost: bool = False
    raw: bytes | None = None


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Mapping[str, str]
    session: str


def page(title: str, *, body: str = "", head: str = "", token: str = "") -> str:
    meta = f'<meta name="csrf-token" content="{token}">' if token else ""
    assets = '<link rel="stylesheet" href="/app.css"><script src="/turbo.js" type="module"></script>'
    head = f"<head><title>{title}</title>{meta}{assets}{head}</head>"
    return f"<!DOCTYPE html><html>{head}<body><h1>{title}</h1>{body}</body></html>"


class Application:
    """Agents, campaigns and a health page behind a login, as the sample application has them."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.campaigns: dict[int, str] = {}
        self.sessions: dict[str, str] = {}
        self.logged_in: set[str] = set()
        self.overrides: dict[str, Callable[[Asked], Answer | None]] = {}
        self.health: dict[str, Any] = {
            "status": "healthy",
            "checked_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "version": "1.0.0",
            "services": {"database": {"status": "healthy"}, "sidekiq": {"status": "healthy", "processes": 1}},
        }
        self.hold_sessions = True
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"application": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answers(self, what: str, *answers: Answer) -> None:
        """Answer `METHOD /path` with these, one after another; the last one stays."""
        rest = list(answers)
        self.overrides[what] = lambda _asked: rest.pop(0) if len(rest) > 1 else rest[0]

    def paths(self, method: str = "GET") -> list[str]:
        return [asked.path for asked in self.asked if asked.method == method]

    def respond(self, asked: Asked) -> Answer:
        override = self.overrides.get(f"{asked.method} {asked.path}")
        answer = override(asked) if override else None
        return answer or self.normal(asked)

    def normal(self, asked: Asked) -> Answer:
        if asked.headers.get("Host") != HOST:
            return Answer(403, "Blocked host")
        if asked.path in {"/app.css", "/turbo.js"}:
            return Answer(200, "x" * 1000, {"Content-Type": "text/plain"})
        token = self.sessions.setdefault(asked.session, secrets.token_hex(8))
        if asked.path == "/login":
            return self.login(asked, token)
        if asked.session not in self.logged_in:
            return Answer(302, "", {"Location": f"http://{HOST}/login"})
        if asked.method == "POST" and asked.form.get("authenticity_token") != token:
            return Answer(422, "InvalidAuthenticityToken")
        return self.inside(asked, token)

    def login(self, asked: Asked, token: str) -> Answer:
        if asked.method == "GET":
            return Answer(200, page("Log in", token=token))
        if asked.form.get("authenticity_token") != token:
            return Answer(422, "InvalidAuthenticityToken")
        if (asked.form.get("session[email]"), asked.form.get("session[password]")) != (EMAIL, PASSWORD):
            return Answer(422, page("Log in", token=token))
        fresh = secrets.token_hex(8)
        if self.hold_sessions:
            self.logged_in.add(fresh)
        return Answer(
            303, "", {"Location": "/agents", "Set-Cookie": f"session={fresh}; path=/; HttpOnly; SameSite=Lax"}
        )

    def inside(self, asked: Asked, token: str) -> Answer:
        if asked.path in {"/agents", "/campaigns", "/campaigns/new", "/system_health"} and asked.method == "GET":
            return Answer(200, page(asked.path.strip("/").title(), token=token))
        if asked.path == "/campaigns":
            with self.lock:
                number = max(self.campaigns, default=0) + 1
                self.campaigns[number] = asked.form["campaign[name]"]
            return Answer(303, "", {"Location": f"http://{HOST}/campaigns/{number}"})
        if asked.path == "/campaigns.json":
            prefix = asked.query.get("name", "")
            found = [{"id": key, "name": name} for key, name in self.campaigns.items() if name.startswith(prefix)]
            return Answer(200, json.dumps(found), {"Content-Type": "application/json"})
        if asked.path == "/system_health.json":
            return Answer(200, json.dumps(self.health), {"Content-Type": "application/json"})
        return self.campaign(asked, token)

    def campaign(self, asked: Asked, token: str) -> Answer:
        number = asked.path.rpartition("/")[2]
        if not number.isdecimal() or int(number) not in self.campaigns:
            return Answer(404, page("Not found"))
        if asked.form.get("_method") == "delete":
            del self.campaigns[int(number)]
            return Answer(303, "", {"Location": "/campaigns"})
        return Answer(200, page(self.campaigns[int(number)], token=token))

    def profile(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 plain data
        """The profile of this application, with changes; a value None takes a key away."""
        return {
            key: value for key, value in {**PROFILE, "base_url": self.base_url, **changes}.items() if value is not None
        }


class _Handler(BaseHTTPRequestHandler):
    application: ClassVar[Application]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.handle_any("GET")

    def do_POST(self) -> None:
        self.handle_any("POST")

    def handle_any(self, method: str) -> None:
        parts = urlsplit(self.path)
        form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        cookies = dict(item.strip().partition("=")[::2] for item in (self.headers.get("Cookie") or "").split(";"))
        asked = Asked(
            method, parts.path, _flat(parts.query), _flat(form), dict(self.headers), cookies.get("session", "")
        )
        if not asked.session:
            asked.session = secrets.token_hex(8)
        self.application.asked.append(asked)
        answer = self.application.respond(asked)
        if "session" not in cookies:
            answer.headers.setdefault("Set-Cookie", f"session={asked.session}; path=/")
        time.sleep(answer.delay)
        if answer.lost or answer.raw is not None:
            self.wfile.write(answer.raw or b"")
            self.close_connection = True
            return
        self.send(answer)

    def send(self, answer: Answer) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        headers = {"Content-Type": "text/html; charset=utf-8", **answer.headers}
        if len(body) > 500 and "gzip" in (self.headers.get("Accept-Encoding") or ""):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as the base class names it
        pass


def _flat(text: str) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(text, keep_blank_values=True).items()}


CREATE: dict[str, Any] = {
    "name": "create a test campaign",
    "steps": [
        {"get": "/campaigns/new", "expect": {"status": 200}},
        {
            "post": "/campaigns",
            "form": {"campaign[name]": "${marker}"},
            "expect": {"status": [302, 303]},
            "capture": {"id": {"header": "Location", "pattern": "/campaigns/([0-9]+)"}},
        },
        {"get": "/campaigns/${id}", "expect": {"status": 200, "contains": "${marker}"}},
    ],
    "cleanup": [{"get": "/campaigns.json?name=slipway-smoke-", "each": '"id":([0-9]+)', "delete": "/campaigns/${1}"}],
}

PROFILE: dict[str, Any] = {
    "name": "swarm",
    "directory": "/opt/swarm",
    "version_variable": "APP_VERSION",
    "required_variables": ["POSTGRES_PASSWORD"],
    "repository": {"url": "/srv/git/swarm.git"},
    "services": {"web": "web", "worker": "worker", "database": "postgres", "cache": "redis", "proxy": "proxy"},
    "database": {"name": "swarm_production", "user": "swarm_owner"},
    "base_url": "http://127.0.0.1",
    "host_header": HOST,
    "login": {"path": "/login", "form": {"session[email]": EMAIL, "session[password]": PASSWORD}},
    "pages": [{"path": "/agents", "contains": "Agents"}],
    "caches": [
        {"page": "/agents", "key": "agents/metrics"},
        {"page": "/system_health.json", "key": "system_health", "refresh": True},
    ],
    "health": {
        "path": "/system_health.json",
        "status": {"pointer": "/status", "healthy": ["healthy"]},
        "checked_at": {"pointer": "/checked_at"},
        "services": {"pointer": "/services", "status": "status", "healthy": ["healthy"]},
        "minimums": [{"pointer": "/services/sidekiq/processes", "at_least": 1}],
    },
    "flows": [CREATE],
    "critical_timeout": 3,
}
