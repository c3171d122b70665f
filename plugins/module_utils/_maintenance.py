# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance page: one small container that answers in the place of the application while nothing else may."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ._compose import NOT_THE_PROJECT_S
from ._engine import Step
from ._errors import SlipwayError
from ._files import read_inside, write_file
from ._traffic import traffic_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ._compose import Container
    from ._ledger import Release
    from ._site import Site

LABEL = "slipway.maintenance"
STARTS_WITHIN = 30
RETRY_AFTER = 30
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Maintenance</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:1rem}</style>
</head><body><h1>Back in a moment</h1>
<p>This application is being updated. Nothing you saved is lost. Please try again in a minute.</p></body></html>
"""
# Each image of a Rails application has Ruby. The body of a request is read first: a client that is still sending would
# see its connection break instead of the answer.
_SERVER = """
require "socket"
page = File.binread("/maintenance.html")
head = ["HTTP/1.1 503 Service Unavailable", "Content-Type: text/html; charset=utf-8", "Cache-Control: no-store",
        "Retry-After: #{ARGV[1]}", "Content-Length: #{page.bytesize}", "Connection: close", "", ""].join("\\r\\n")
trap("TERM") { exit! }
server = TCPServer.new("0.0.0.0", ARGV[0].to_i)
$stderr.puts "ready"
loop do
  Thread.new(server.accept) do |client|
    client.timeout = 5 if client.respond_to?(:timeout=)
    length, method = 0, client.gets.to_s[/\\A[A-Z]+/]
    while (line = client.gets) && line != "\\r\\n"
      length = line.split(":", 2)[1].to_i if line.downcase.start_with?("content-length:")
    end
    client.read([length, 1 << 20].min) if length > 0
    client.write(method == "HEAD" ? head : head + page)
  rescue StandardError
    nil
  ensure
    client.close
  end
end
"""


class Maintenance:
    """The maintenance page of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = f"{site.profile.name}-maintenance"
        self._page: Path = site.ledger.root / "maintenance.html"

    @property
    def container(self) -> Container | None:
        """The container that shows it, where there is one."""
        found = self._site.docker.labelled_containers(f"{LABEL}={self._site.profile.name}")
        return found[0] if found else None

    @property
    def shown(self) -> bool:
        """Whether it runs, and the proxy sends requests to it where it can be told."""
        container = self.container
        if container is None or not container.running:
            return False
        targets = traffic_of(self._site).targets()
        return targets is None or targets == {container.name}

    def show(self, release: Release) -> dict[str, Any]:
        """Start it from the release's web image, under the web service's name, and send requests there.

        Returns why that is not the application's own page, where it cannot be read: no way back may fail for a page.
        """
        site, service = self._site, self._site.profile.services.web
        compose = site.compose_of(release)
        content, told = _PAGE.encode(), dict[str, Any]()
        try:
            content = own_page(site, site.directory) or content
        except SlipwayError as error:
            told = {"plain_page": str(error)}
        # whatever user the image has reads it, inside a directory that is root's
        write_file(self._page, content, mode=0o644)
        self._remove()
        keys = compose.config["services"][service].get("networks") or {"default": None}
        networks = [compose.config["networks"][key]["name"] for key in keys]
        argv = ["docker", "run", "--detach", "--name", self._name, "--restart", "unless-stopped", "--pull", "never"]
        argv += [
            *NOT_THE_PROJECT_S,
            "--label",
            f"{LABEL}={site.profile.name}",
            "--network",
            networks[0],
            "--network-alias",
            service,
        ]
        argv += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        argv += ["--volume", f"{self._page}:/maintenance.html:ro", "--entrypoint", "ruby"]
        argv += [release.images[service], "-e", _SERVER, str(site.profile.web_port), str(RETRY_AFTER)]
        site.runner.run(argv)
        container = self._started()
        traffic_of(site).move([container])
        return told

    def _started(self) -> Container:
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline:
            container = self.container
            if container is not None and container.running and "ready" in self._site.docker.logs(container.id):
                return container
            time.sleep(0.1)
        raise SlipwayError(f"the maintenance page did not start within {STARTS_WITHIN} s: see docker logs {self._name}")

    def hide(self) -> None:
        """Take it down; requests go elsewhere already."""
        container = self.container
        if container is not None:
            traffic_of(self._site).let_go([container])
        self._remove()
        self._page.unlink(missing_ok=True)

    def _remove(self) -> None:
        if self.container is not None:
            self._site.runner.run(["docker", "rm", "--force", self._name])


def own_page(site: Site, directory: Path) -> bytes | None:
    """The application's own page among the files in `directory`; None where it has none.

    :raises SlipwayError: it is no regular file inside the directory, or too large.
    """
    name = site.profile.proxy.maintenance_page
    return read_inside(directory, name) if name else None


def show_page(site: Site, release: Release, wanted: Callable[[], bool]) -> Step:
    """The step that puts the maintenance page up, where it is `wanted`."""
    page = Maintenance(site)
    return Step("put the maintenance page up", lambda: not wanted() or page.shown, lambda: page.show(release))


def hide_page(site: Site) -> Step:
    """The step that takes the maintenance page down."""
    page = Maintenance(site)

    def hide() -> dict[str, Any]:
        page.hide()
        return {}

    return Step("take the maintenance page down", lambda: page.container is None, hide)
