"""Chromium without a window, asked through its debugging pipe what it made of a page."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PLAYWRIGHT = (
    "chromium*/chrome-*/headless_shell",
    "chromium*/chrome-*/chrome-headless-shell",
    "chromium*/chrome-*/chrome",
)
# a runner of tests may be root in a container with little shared memory, and reaches nobody
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def binary() -> str | None:
    """Debian's Chromium, or the one that Playwright brought."""
    places = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache/ms-playwright"))
    brought = [str(path) for pattern in PLAYWRIGHT for path in sorted(places.glob(pattern))]
    return next((path for name in NAMES if (path := shutil.which(name))), brought[-1] if brought else None)


@dataclass
class Seen:
    """What came of a page.

    :param widths: how wide its content is and how wide the screen, by medium.
    :param requests: what it asked for, itself left out.
    :param complaints: what stands on the console.
    """

    widths: dict[str, tuple[int, int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    pdf: bytes = b""


class Browser:
    """A connection to a running one."""

    def __init__(self, write: int, read: int) -> None:
        self._out, self._in = os.fdopen(write, "wb", buffering=0), os.fdopen(read, "rb")
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Ask, and keep what is told meanwhile."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        self._out.write(json.dumps({**asked, "sessionId": session} if session else asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told)
                answer: dict[str, Any] = told["result"]
                return answer

    def wait(self, method: str) -> None:
        """Wait until something was told."""
        while not any(event.get("method") == method for event in self.events):
            self._next()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in.fileno(), 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(first)
        self.events.append(told)
        return told

    def close(self) -> None:
        """Let it end."""
        self._out.close()
        self._in.close()


@contextmanager
def running(program: str, profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # it reads from 3 and writes to 4
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    command = [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    with subprocess.Popen(
        ["bash", "-c", script, "bash", *command], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs_in)
        os.close(theirs_out)
        browser = Browser(ours_out, ours_in)
        try:
            yield browser
        finally:
            browser.close()
            process.kill()


def look(browser: Browser, page: Path, width: int) -> Seen:
    """Show a page on a telephone, and print it."""
    browser.events.clear()
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Log", "Runtime"):
        browser.call(f"{domain}.enable", session)
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", session, **screen)
    browser.call("Page.navigate", session, url=page.as_uri())
    browser.wait("Page.loadEventFired")
    seen = Seen()
    measure = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    for medium in ("screen", "print"):
        browser.call("Emulation.setEmulatedMedia", session, media=medium)
        found = browser.call("Runtime.evaluate", session, expression=measure, returnByValue=True)["result"]["value"]
        seen.widths[medium] = (found[0], found[1])
    seen.pdf = base64.b64decode(browser.call("Page.printToPDF", session, printBackground=True)["data"])
    browser.call("Target.closeTarget", targetId=target)
    for event in browser.events:
        told = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent" and told["request"]["url"] != page.as_uri():
            seen.requests.append(told["request"]["url"])
        elif event.get("method") in {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            seen.complaints.append(json.dumps(told))
    return seen
