from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._http import (
    BODY_LIMIT,
    Client,
    Cookies,
    HttpError,
    HttpTimeoutError,
    Response,
)

from tests.unit.plugins.module_utils.application import HOST, Answer, Application

OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[..., Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers connections one after another with the given pieces; a number is a pause in seconds."""
    sockets: list[socket.socket] = []
    clients: list[Client] = []
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(*connections: tuple[bytes | float, ...]) -> Client:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def answer() -> None:
            for pieces in connections:
                connection, _ = listener.accept()
                with connection:
                    try:
                        connection.recv(65536)
                        for piece in pieces:
                            if isinstance(piece, bytes):
                                connection.sendall(piece)
                            else:
                                over.wait(piece)
                    except OSError:
                        pass

        threads.append(threading.Thread(target=answer, daemon=True))
        threads[-1].start()
        clients.append(Client(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        return clients[-1]

    yield start
    over.set()
    for client in clients:
        client.close()
    for thread in threads:
        thread.join(5)
    for item in sockets:
        item.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (OK + b"Content-Length: 5\r\n\r\nhello",),
        (OK + b"Connection: close\r\n\r\nhello",),
        (b"HTTP/1.0 200 OK\r\n\r\nhello",),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",),
        (OK + b"Content-Length: 5\r\n\r\nhe", 0.05, b"llo"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",),
        (OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"hello"),),
    ],
)
def test_well_formed_answers_are_read(serve: Serve, pieces: tuple[bytes | float, ...]) -> None:
    answer = serve(pieces).get("/", 2)
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize(
    "pieces, reason",
    [
        ((b"",), "the connection was closed without an answer"),
        ((b"\xff\xfe\x00" * 1000,), "the answer is not valid HTTP (BadStatusLine)"),
        ((b"HTTP/1.1 999999 X\r\n\r\n",), "the answer is not valid HTTP (BadStatusLine)"),
        ((OK + b"A" * 70_000,), "the answer is not valid HTTP (LineTooLong)"),
        ((OK + b"A: b\r\n" * 300,), "the answer is not valid HTTP (HTTPException)"),
        ((OK + b"Content-Length: 50\r\n\r\nhello",), "the answer breaks off in the middle"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe",), "the answer breaks off in the middle"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhe",), "the answer breaks off in the middle"),
        ((OK + b"Content-Encoding: gzip\r\n\r\nhello",), "the answer's compressed body is damaged"),
        (
            (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 99)[:-9],),
            "the answer's compressed body breaks off in the middle",
        ),
        ((OK + b"Content-Encoding: br\r\n\r\nhello",), "the answer is encoded as 'br', which was not asked for"),
        ((OK + b"\r\n", *[b"x" * 1_000_000] * 11), "the answer is larger than 10 MB"),
        (
            (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"0" * (BODY_LIMIT + 1)),),
            "the answer is larger than 10 MB",
        ),
    ],
)
def test_hostile_answers_end_in_one_line(serve: Serve, pieces: tuple[bytes | float, ...], reason: str) -> None:
    with pytest.raises(HttpError) as caught:
        serve(pieces).get("/", 2)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "pieces",
    [
        (20.0,),
        (OK, *[b"X", 0.05] * 400),
        (OK + b"\r\n", *[b"X", 0.05] * 400),
        (OK + b"Content-Length: 900\r\n\r\n", *[b"X", 0.05] * 400),
        (*[b"HTTP/1.1 100 Continue\r\n\r\n", 0.05] * 400,),
    ],
)
def test_the_time_holds_however_slowly_bytes_trickle(serve: Serve, pieces: tuple[bytes | float, ...]) -> None:
    client = serve(pieces)
    begun = time.monotonic()
    with pytest.raises(HttpTimeoutError, match=r"^no complete answer within 0\.3 s$"):
        client.get("/", 0.3)
    # those bytes come for twenty seconds
    assert time.monotonic() - begun < 10


def test_the_time_holds_when_nobody_reads_what_is_sent(serve: Serve) -> None:
    client = serve((20.0,))
    begun = time.monotonic()
    with pytest.raises(HttpTimeoutError):
        client.request("POST", "/", 0.3, form={"large": "x" * 20_000_000})
    assert time.monotonic() - begun < 10


def test_a_connection_is_used_again(serve: Serve) -> None:
    answer = OK + b"Content-Length: 2\r\n\r\nhi"
    client = serve((answer, 0.1, answer, 0.1))
    assert [client.get("/", 2).body for _ in range(2)] == [b"hi", b"hi"]


def test_a_connection_closed_while_idle_is_opened_anew(serve: Serve) -> None:
    answer = (OK + b"Content-Length: 2\r\n\r\nhi",)
    client = serve(answer, answer)
    assert [client.get("/", 2).body for _ in range(2)] == [b"hi", b"hi"]


def test_a_form_is_never_sent_twice(application: Application) -> None:
    client = Client(application.base_url, HOST)
    client.get("/login", 2)
    application.answers("POST /login", Answer(lost=True))
    with pytest.raises(HttpError):
        client.request("POST", "/login", 2, form={"a": "b"})
    assert application.paths("POST") == ["/login"]
    client.close()


def test_a_redirect_is_returned_as_it_is(application: Application) -> None:
    client = Client(application.base_url, HOST)
    answer = client.get("/agents", 2)
    assert (answer.status, answer.redirect, answer.header("LOCATION")) == (302, True, f"http://{HOST}/login")
    assert application.paths() == ["/agents"]
    client.close()


def test_nothing_listens() -> None:
    with pytest.raises(HttpError, match=r"^connection refused$"):
        Client("http://127.0.0.1:9").get("/", 2)


def test_a_path_cannot_smuggle_a_header(application: Application) -> None:
    client = Client(application.base_url, HOST)
    client.get("/agents\r\nX-Evil: 1 ä", 2)
    assert application.asked[0].path == "/agents%0D%0AX-Evil:%201%20%C3%A4"
    assert "X-Evil" not in application.asked[0].headers
    client.close()


def test_cookies_follow_path_and_expiry() -> None:
    jar = Cookies()
    jar.take(
        ["a=1; Path=/", "b=2; path=/admin", "c=3; Max-Age=60", "d; x", "=5", "e=6; expires=rubbish"],
        "/x/y",
        secure=True,
    )
    assert jar.header("/") == "a=1"
    assert jar.header("/admin/users") == "b=2; a=1"
    assert jar.header("/administrator") == "a=1"
    assert jar.header("/x/z") == "c=3; e=6; a=1"
    jar.take(["a=; Path=/; Max-Age=0", "c=; expires=Thu, 01 Jan 1970 00:00:00 GMT"], "/x/y", secure=True)
    assert jar.header("/x/z") == "e=6"


def test_a_secure_cookie_does_not_travel_in_the_clear() -> None:
    jar = Cookies()
    jar.take(["a=1; Secure; Path=/"], "/", secure=False)
    assert jar.header("/") == ""


def test_visitors_part_ways(application: Application) -> None:
    client = Client(application.base_url, HOST)
    client.get("/login", 2)
    visitor = client.visitor()
    visitor.cookies.take(["own=1; Path=/"], "/", secure=True)
    assert "own" not in client.cookies.header("/")
    assert client.cookies.header("/") in visitor.cookies.header("/")
    client.close()


@pytest.mark.parametrize("content_type", ["text/html; charset=no-such-thing", "text/html", "", 'x; charset="utf-8"'])
def test_text_is_read_whatever_the_charset_is_called(content_type: str) -> None:
    assert Response(200, (("content-type", content_type),), "grün".encode(), 0).text == "grün"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for swarm.example.test, key and certificate in one file."""
    directory = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command += ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return directory


def test_certificates_are_verified_for_the_host_header(application: Application, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    listener = application.server.socket
    application.server.socket = context.wrap_socket(listener, server_side=True)
    url = application.base_url.replace("http:", "https:")
    trusting = Client(url, HOST, ca_file=str(certificate / "cert.pem"))
    assert trusting.get("/login", 2).status == 200
    trusting.close()
    careless = Client(url, HOST, verify_tls=False)
    assert careless.get("/login", 2).status == 200
    careless.close()
    for client in (Client(url, HOST), Client(url, ca_file=str(certificate / "cert.pem"))):
        with pytest.raises(HttpError, match=r"^certificate refused: "):
            client.get("/login", 2)


def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(HttpError, match=r"^cannot read the certificates in /does/not/exist: "):
        Client("https://127.0.0.1", ca_file="/does/not/exist")
