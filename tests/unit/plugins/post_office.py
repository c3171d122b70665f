"""A real mail server and a real webhook on this machine, which take, refuse or hang up as they are told."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER, PASSWORD = "slipway", "canary-5b1f-password"


@dataclass(frozen=True)
class Certificate:
    """A certificate for localhost that nobody but a test trusts."""

    path: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Certificate:
        made = cls(directory / "certificate.pem", directory / "key.pem")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", made.key, "-out", made.path, "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )
        return made

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


@dataclass
class MailServer:
    """What a mail server took.

    :param starttls: it offers STARTTLS.
    :param refuse: addresses that it refuses, with 550 and the address in its answer.
    :param after_data: what it answers to a whole letter: a line; nothing, staying on the line; None to hang up.
    :param at_quit: what it answers to QUIT.
    """

    port: int = 0
    starttls: bool = True
    refuse: set[str] = field(default_factory=set)
    after_data: bytes | None = b"250 taken"
    at_quit: bytes = b"221 bye"
    letters: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @property
    def mails(self) -> list[EmailMessage]:
        parser = BytesParser(policy=policy.default)
        return [parser.parsebytes(letter) for letter in self.letters]


class _Session:
    def __init__(self, server: MailServer, stream: Any, certificate: Certificate, *, encrypted: bool) -> None:  # noqa: ANN401 - a socket, or one with TLS around it
        self.server, self.stream, self.certificate, self.encrypted = server, stream, certificate, encrypted
        self.file = stream.makefile("rb")
        self.to: list[str] = []

    def run(self) -> None:
        self.say(b"220 localhost ESMTP")
        while line := self.file.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            if not self.answer(verb.upper(), rest):
                return

    def say(self, *lines: bytes) -> None:
        self.stream.sendall(b"".join(line + b"\r\n" for line in lines))

    def answer(self, verb: str, rest: str) -> bool:
        """Answer a command; False ends the session."""
        if verb == "EHLO":
            offers = [b"250-STARTTLS"] if self.server.starttls and not self.encrypted else []
            self.say(b"250-localhost", *offers, b"250 AUTH PLAIN")
        elif verb == "STARTTLS":
            self.say(b"220 go ahead")
            self.file.close()
            self.stream = self.certificate.context.wrap_socket(self.stream, server_side=True)
            self.file, self.encrypted = self.stream.makefile("rb"), True
        elif verb == "AUTH":
            _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
            good = (user, password) == (USER, PASSWORD)
            self.server.logins.append(user if good else "refused")
            self.say(b"235 welcome" if good else b"535 wrong")
        elif verb == "RCPT":
            address = rest[rest.index("<") + 1 : rest.index(">")]
            refused = address in self.server.refuse
            self.to += [] if refused else [address]
            self.say(f"550 <{address}> is not known here".encode() if refused else b"250 ok")
        elif verb == "DATA":
            return self.take()
        elif verb == "QUIT":
            self.say(self.server.at_quit)
            return False
        else:
            self.say(b"250 ok")
        return True

    def take(self) -> bool:
        self.say(b"354 go ahead")
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        if not self.server.after_data or self.server.after_data.startswith(b"2"):
            self.server.letters.append(b"".join(lines))
            self.server.recipients.append(self.to)
            self.server.encrypted.append(self.encrypted)
        if self.server.after_data is None:
            return False
        if self.server.after_data:
            self.say(self.server.after_data)
        return True


@contextmanager
def mail_server(certificate: Certificate, *, tls: bool = False) -> Iterator[MailServer]:
    """Start a mail server.

    :param tls: it speaks TLS from the first byte.
    """
    told = MailServer()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # whoever does not like the certificate hangs up
            with suppress(OSError):
                wrapped = certificate.context.wrap_socket(self.request, server_side=True) if tls else self.request
                session = _Session(told, wrapped, certificate, encrypted=tls)
                try:
                    session.run()
                finally:
                    session.file.close()
                    session.stream.close()

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as told.port:
        yield told


@dataclass
class Webhook:
    """What a webhook took, and the code that it answers with; None hangs up without a word."""

    port: int = 0
    code: int | None = 200
    messages: list[dict[str, Any]] = field(default_factory=list)
    gets: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=canary-77aa-token"


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Start a webhook."""
    told = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if told.code is not None:
                self.send_response(told.code)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

        def do_GET(self) -> None:
            told.gets += 1
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as told.port:
        yield told


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
