"""What a proxy is told, and what it must say before anything relies on it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _traffic
from ansible_collections.slipway.release.plugins.module_utils._compose import Container
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._traffic import (
    DockerDns,
    Haproxy,
    NginxReload,
    check_file_reaches_proxy,
    stop_one_by_one,
)

from tests.unit.plugins.module_utils.application import Application

pytestmark = pytest.mark.promise("D4")


def container(name: str, *, started: float = 0.0) -> Container:
    return cast("Container", SimpleNamespace(name=name, id=f"id-{name}", address="172.18.0.9", started=started))


class Nginx:
    """A runner in whose place nginx answers: workers by process number, and whether they only finish their work."""

    def __init__(self) -> None:
        self.workers: dict[int, bool] = {7: False}
        self.refuses = False
        self.reloads = 0
        self.ignores = False

    def run(self, argv: list[str], **_options: Any) -> Completed:  # noqa: ANN401 - as the runner has it
        if argv[:2] == ["docker", "top"]:
            lines = [
                f"{pid} nginx: worker process{' is shutting down' if leaving else ''}"
                for pid, leaving in self.workers.items()
            ]
            return Completed(0, "\n".join(["PID COMMAND", "1 nginx: master process nginx", *lines]), "")
        assert argv[-1] == "nginx -t && nginx -s reload"
        if self.refuses:
            raise CommandError(argv, 1, "nginx: [emerg] host not found in upstream")
        self.reloads += 1
        if not self.ignores:
            self.workers = {**dict.fromkeys(self.workers, True), max(self.workers) + 1: False}
        return Completed(0, "", "")


def site_with(application: Application, directory: Path, proxy: dict[str, Any]) -> Site:
    given = application.profile(directory=str(directory / "app"), proxy=proxy, state_directory=str(directory / "state"))
    (directory / "app" / "upstreams").mkdir(parents=True)
    site = Site(Profile.parse(given))
    site.ledger.root.mkdir(parents=True)
    vars(site)["containers"] = lambda _service=None: [container("swarm-proxy-1")]
    return site


@pytest.fixture
def nginx() -> Nginx:
    return Nginx()


@pytest.fixture
def site(application: Application, nginx: Nginx, tmp_path: Path) -> Site:
    made = site_with(application, tmp_path, {"drain": "nginx_reload", "file": "upstreams/web.conf"})
    made.runner = nginx  # type: ignore[assignment]
    return made


def mounting(site: Site, mounted: str = "upstreams") -> Site:
    """The site, whose proxy mounts a part of its directory."""
    volumes = [{"type": "bind", "source": str(site.directory / mounted)}]
    vars(site)["compose"] = SimpleNamespace(config={"services": {"proxy": {"volumes": volumes}}})
    return site


def test_nginx_is_given_the_names_and_reloads_once(site: Site, nginx: Nginx) -> None:
    traffic = NginxReload(site)
    assert traffic.targets() == set()
    traffic.move([container("swarm-web-3"), container("swarm-web-4")])
    assert (site.directory / "upstreams/web.conf").read_text().splitlines()[1:] == [
        "upstream web {",
        "  server swarm-web-3:3000;",
        "  server swarm-web-4:3000;",
        "}",
    ]
    assert nginx.reloads == 1
    assert traffic.targets() == {"swarm-web-3", "swarm-web-4"}


def test_what_nginx_refuses_leaves_the_file_as_it_was(site: Site, nginx: Nginx) -> None:
    traffic = NginxReload(site)
    traffic.move([container("swarm-web-1")])
    before = (site.directory / "upstreams/web.conf").read_bytes()
    nginx.refuses = True
    with pytest.raises(SlipwayError, match=r"nginx refuses .*web.conf: nginx: \[emerg\] host not found"):
        traffic.move([container("swarm-web-3")])
    assert (site.directory / "upstreams/web.conf").read_bytes() == before
    assert traffic.targets() == {"swarm-web-1"}


def test_a_file_that_was_written_and_not_read_counts_for_nothing(
    site: Site, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_traffic, "RELOADED_WITHIN", 0.2)
    nginx.ignores = True
    traffic = NginxReload(site)
    with pytest.raises(SlipwayError, match="nginx did not reload within"):
        traffic.move([container("swarm-web-3")])
    assert traffic.targets() == set()


def test_old_workers_are_waited_for_until_their_time_is_over(
    site: Site, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_traffic, "LET_GO_WITHIN", 0.3)
    traffic = NginxReload(site)
    traffic.move([container("swarm-web-3")])
    began = time.monotonic()
    traffic.let_go([container("swarm-web-1")])
    assert 0.3 <= time.monotonic() - began < 10
    monkeypatch.setattr(_traffic, "LET_GO_WITHIN", 60)
    nginx.workers = {8: False}
    began = time.monotonic()
    traffic.let_go([container("swarm-web-1")])
    assert time.monotonic() - began < 30


def test_a_proxy_that_is_still_to_start_finds_its_file(site: Site, nginx: Nginx) -> None:
    vars(site)["containers"] = lambda _service=None: []
    traffic = NginxReload(site)
    traffic.move([container("swarm-web-1")])
    assert traffic.targets() == {"swarm-web-1"}
    assert nginx.reloads == 0
    vars(site)["containers"] = lambda _service=None: [container("swarm-proxy-1")]
    assert traffic.targets() == {"swarm-web-1"}


def test_a_file_that_was_written_by_hand_stands_again_when_all_is_over(site: Site, nginx: Nginx) -> None:
    file = site.directory / "upstreams/web.conf"
    file.write_text("upstream web { server web:3000; }")
    traffic = NginxReload(site)
    assert traffic.targets() == set()
    traffic.move([container("swarm-web-3")])
    assert not traffic.settled()
    traffic.settle()
    assert traffic.settled()
    assert file.read_text() == "upstream web { server web:3000; }"
    assert traffic.targets() == {"swarm-web-3"}, "nginx itself noticed nothing"
    traffic.move([container("swarm-web-1")])
    assert (nginx.reloads, traffic.targets()) == (2, {"swarm-web-1"})
    traffic.settle()
    assert file.read_text() == "upstream web { server web:3000; }"


def test_a_link_in_the_place_of_the_file_is_never_read_kept_or_published(site: Site, nginx: Nginx) -> None:
    secret, file = site.directory.parent / "shadow", site.directory / "upstreams/web.conf"
    secret.write_text("root:secret:1::::::\n")
    file.symlink_to(secret)
    traffic = NginxReload(site)
    refused = r"web\.conf is a link or no regular file: put a regular file in its place"
    with pytest.raises(SlipwayError, match=refused):
        traffic.move([container("swarm-web-3")])
    with pytest.raises(SlipwayError, match=refused):
        check_file_reaches_proxy(mounting(site))
    assert nginx.reloads == 0
    assert not (site.ledger.root / "upstream.by-hand").exists()
    file.unlink()
    traffic.move([container("swarm-web-3")])
    traffic.settle()
    assert "secret" not in file.read_text()


def test_a_file_that_is_no_text_is_named(site: Site) -> None:
    (site.directory / "upstreams/web.conf").write_bytes(b"\xff\xfe")
    with pytest.raises(SlipwayError, match=r"upstreams/web\.conf is no text in UTF-8: mend it"):
        NginxReload(site).move([container("swarm-web-3")])


def test_a_file_of_windows_lines_stands_again_byte_for_byte(site: Site) -> None:
    file = site.directory / "upstreams/web.conf"
    file.write_bytes(b"upstream web {\r\n server web:3000;\r\n}\r\n")
    before, traffic = file.read_bytes(), NginxReload(site)
    traffic.move([container("swarm-web-3")])
    traffic.settle()
    assert traffic.settled()
    assert file.read_bytes() == before


def test_nginx_that_started_anew_has_read_who_knows_what(site: Site, nginx: Nginx) -> None:
    traffic = NginxReload(site)
    traffic.move([container("swarm-web-3")])
    vars(site)["containers"] = lambda _service=None: [container("swarm-proxy-1", started=1.0)]
    assert traffic.targets() == set()
    traffic.move([container("swarm-web-3")])
    assert (nginx.reloads, traffic.targets()) == (2, {"swarm-web-3"})


def test_nobody_trusts_a_reload_that_nobody_noted_down(site: Site, nginx: Nginx) -> None:
    traffic, file = NginxReload(site), site.directory / "upstreams/web.conf"
    traffic.move([container("swarm-web-1")])
    noted = (site.ledger.root / "upstream").read_bytes()
    traffic.move([container("swarm-web-3")])
    # killed before it was noted down
    (site.ledger.root / "upstream").write_bytes(noted)
    assert traffic.settled(), "there was no file before"
    assert traffic.targets() == set()
    assert "swarm-web-3" in file.read_text()
    assert nginx.reloads == 2


class Admin(threading.Thread):
    """HAProxy's admin socket: one command a connection, servers with a state each."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.servers: dict[str, str] = {"swarm-web-1": "UP", "swarm-web-2": "UP"}
        self.sessions = 0
        self.commands: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                command = connection.recv(4096).decode().strip()
                connection.sendall(f"{self.answer(command)}\n".encode())

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def answer(self, command: str) -> str:
        words = command.split()
        name = next((word.partition("/")[2] for word in words if "/" in word), "")
        if words[:2] == ["show", "stat"]:
            rows = [f"web,{name},{self.sessions},{status}" for name, status in self.servers.items()]
            return "\n".join(["# pxname,svname,scur,status", *rows])
        self.commands.append(command)
        if words[:2] == ["add", "server"]:
            self.servers[name] = "MAINT"
            return "New server registered."
        if words[:2] == ["enable", "server"] or words[-1] == "ready":
            self.servers[name] = "UP"
        if words[-2:] == ["state", "drain"]:
            self.servers[name] = "DRAIN"
        if words[:2] == ["del", "server"]:
            del self.servers[name]
            return "Server deleted."
        return ""


@pytest.fixture
def proxied(application: Application, tmp_path: Path) -> Site:
    proxy = {"drain": "haproxy", "file": "upstreams/web.cfg", "socket": "admin.sock"}
    return site_with(application, tmp_path, proxy)


@pytest.fixture
def admin(proxied: Site) -> Iterator[Admin]:
    started = Admin(proxied.directory / "admin.sock")
    started.start()
    yield started
    started.stop()


def test_haproxy_gets_the_new_servers_before_the_old_ones_only_finish(proxied: Site, admin: Admin) -> None:
    traffic = Haproxy(proxied)
    traffic.move([container("swarm-web-3"), container("swarm-web-4")])
    assert admin.servers == {
        "swarm-web-1": "DRAIN",
        "swarm-web-2": "DRAIN",
        "swarm-web-3": "UP",
        "swarm-web-4": "UP",
    }
    enabled = admin.commands.index("enable server web/swarm-web-4")
    assert enabled < min(i for i, command in enumerate(admin.commands) if command.endswith("state drain"))
    assert traffic.targets() == {"swarm-web-3", "swarm-web-4"}
    traffic.let_go([container("swarm-web-1"), container("swarm-web-2")])
    assert set(admin.servers) == {"swarm-web-3", "swarm-web-4"}
    assert (
        "backend web\n  server swarm-web-3 swarm-web-3:3000 check"
        in (proxied.directory / "upstreams/web.cfg").read_text()
    )


def test_haproxy_finds_its_file_as_it_was_when_all_is_over(proxied: Site, admin: Admin) -> None:
    file = proxied.directory / "upstreams/web.cfg"
    file.write_text("backend web\n  server-template web 4 web:3000 check resolvers docker\n")
    before, traffic = file.read_text(), Haproxy(proxied)
    traffic.move([container("swarm-web-3")])
    traffic.let_go([container("swarm-web-1"), container("swarm-web-2")])
    traffic.settle()
    assert file.read_text() == before
    assert traffic.targets() == set(admin.servers) == {"swarm-web-3"}
    traffic.let_go([])
    assert set(admin.servers) == {"swarm-web-3"}, "it gets requests, whatever the file says"


def test_a_container_that_haproxy_knows_gets_its_new_address(proxied: Site, admin: Admin) -> None:
    admin.servers["swarm-web-2"] = "DRAIN"
    Haproxy(proxied).move([container("swarm-web-2")])
    assert "set server web/swarm-web-2 addr 172.18.0.9 port 3000" in admin.commands
    assert admin.servers == {"swarm-web-1": "DRAIN", "swarm-web-2": "UP"}


def test_a_server_that_haproxy_never_finds_up_gets_nothing(
    proxied: Site, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_traffic, "ANSWERS_WITHIN", 0.2)
    monkeypatch.setattr(
        admin, "answer", lambda command, plain=admin.answer: "" if "enable" in command else plain(command)
    )
    with pytest.raises(SlipwayError, match="HAProxy does not find swarm-web-3 up"):
        Haproxy(proxied).move([container("swarm-web-3")])
    assert admin.servers["swarm-web-1"] == "UP"
    assert not (proxied.directory / "upstreams/web.cfg").exists()


def test_an_haproxy_that_is_still_to_start_finds_its_file(proxied: Site) -> None:
    vars(proxied)["containers"] = lambda _service=None: []
    traffic = Haproxy(proxied)
    traffic.move([container("swarm-web-1")])
    assert traffic.targets() == {"swarm-web-1"}
    traffic.let_go([container("swarm-web-2")])


def test_a_socket_that_does_not_answer_is_named(proxied: Site) -> None:
    with pytest.raises(SlipwayError, match=r"admin socket .*admin.sock does not answer .* application.proxy.socket"):
        Haproxy(proxied).targets()


@pytest.mark.parametrize("flood", [b"x" * 65536, b"x"])
def test_an_answer_of_haproxy_s_that_does_not_end_is_given_up(
    proxied: Site, monkeypatch: pytest.MonkeyPatch, flood: bytes
) -> None:
    """It says too much, or a little again and again."""
    monkeypatch.setattr(_traffic, "RELOADED_WITHIN", 0.5 if len(flood) == 1 else 30)

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while True:
                connection.sendall(flood)
                time.sleep(0.05 if len(flood) == 1 else 0)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(proxied.directory / "admin.sock"))
        listener.listen()
        endless = threading.Thread(target=answer, args=(listener,), daemon=True)
        endless.start()
        began = time.monotonic()
        with pytest.raises(SlipwayError, match=r"admin\.sock does not answer \((its answer does not end|timed out)\)"):
            Haproxy(proxied).targets()
        assert time.monotonic() - began < 10
        endless.join(10)


@pytest.mark.parametrize(
    "answer", ["# pxname,svname\nweb,swarm-web-1", "# svname,scur,status\nweb", "# svname,scur,status\nweb,many,UP"]
)
def test_what_does_not_answer_as_haproxy_does_is_named(
    proxied: Site, admin: Admin, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(admin, "answer", lambda _command: answer)
    with pytest.raises(SlipwayError, match=r"what answers at .*admin\.sock does not tell servers as HAProxy does"):
        Haproxy(proxied).targets()


def test_a_proxy_that_finds_containers_by_itself_is_given_time_to(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, slept = site_with(application, tmp_path, {"drain": "docker_dns", "dns_ttl": 10}), list[float]()
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    traffic = DockerDns(site)
    assert traffic.targets() is None
    for began in (1000.0, 994.0, 940.0):
        traffic.move([container("swarm-web-3", started=began)])
    # until it must have heard of them, and a second of Docker's own
    assert slept == [11, 5, 1]


@pytest.mark.parametrize(
    "proxy, apart",
    [({"drain": "docker_dns", "dns_ttl": 0.3}, 1.5), ({"drain": "nginx_reload", "file": "nginx/web.conf"}, 0)],
)
def test_a_proxy_that_goes_on_with_addresses_never_knows_two_that_are_gone(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: dict[str, Any], apart: float
) -> None:
    """Its connect timeout of a second is over, too, for who waits at the first when the second goes."""
    site, now, gone = site_with(application, tmp_path, proxy), [0.0], list[float]()
    monkeypatch.setattr("time.sleep", lambda seconds: now.append(now[-1] + seconds))
    vars(site)["docker"] = SimpleNamespace(stop=lambda _ids: gone.append(now[-1]))
    stop_one_by_one(site, [container(f"swarm-web-{number}") for number in (1, 2, 3)])
    assert gone == pytest.approx([0, apart, 2 * apart])


@pytest.mark.parametrize(
    "mounted, said",
    [
        ("upstreams", None),
        ("upstreams/web.conf", "is mounted by itself"),
        ("elsewhere", "is in no directory that service proxy mounts"),
    ],
)
def test_a_file_that_the_proxy_would_not_see_is_found_beforehand(site: Site, mounted: str, said: str | None) -> None:
    wrong = check_file_reaches_proxy(mounting(site, mounted))
    assert wrong is None if said is None else said in str(wrong)
