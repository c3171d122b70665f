# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP client for one application: what a browser sends, with limits on time and size that hold.

Whatever the other side answers, a request ends within its time with a Response or an HttpError of one line.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode, urlsplit

from ._errors import SlipwayError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

BODY_LIMIT = 10_000_000
CHUNK = 65536
MAX_IDLE = 6
LOOPBACK = ("127.", "localhost", "::1")
SAFE_IN_PATH = "/?&=%:@!$'()*+,;~[]"
USER_AGENT = "Mozilla/5.0 (compatible; Slipway)"


class HttpError(SlipwayError):
    """A request without a usable answer; the text is a reason of a few words."""


class HttpTimeoutError(HttpError):
    """A request whose time ran out; the other side may still be working on it."""


@dataclass(frozen=True)
class Response:
    """An answer, complete.

    :param headers: names in lower case.
    :param body: decompressed.
    :param seconds: from the first byte sent to the last one received.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return self.status in range(200, 300)

    @property
    def redirect(self) -> bool:
        """Whether the answer sends the client elsewhere."""
        return self.status in {301, 302, 303, 307, 308}

    @property
    def html(self) -> bool:
        """Whether the answer calls itself HTML."""
        return "html" in (self.header("content-type") or "").lower()

    @property
    def text(self) -> str:
        """The body as text, by the charset of its header; what cannot be decoded is replaced."""
        _, _, charset = (self.header("content-type") or "").lower().partition("charset=")
        try:
            return self.body.decode(charset.partition(";")[0].strip(" \"'") or "utf-8", "replace")
        except (LookupError, UnicodeError):
            return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class _Cookie:
    value: str
    path: str
    expires: float | None


class Cookies:
    """The cookies of one origin."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str], _Cookie] = {}
        self._lock = threading.Lock()

    def copy(self) -> Cookies:
        """Return a jar with the same cookies, which goes its own way from here."""
        other = Cookies()
        with self._lock:
            other._cookies.update(self._cookies)
        return other

    def take(self, lines: Sequence[str], request_path: str, *, secure: bool) -> None:
        """Keep what the Set-Cookie headers of an answer say."""
        for line in lines:
            pair, _, rest = line.partition(";")
            name, found, value = pair.partition("=")
            if not found or not name.strip():
                continue
            attributes = {
                key.strip().lower(): text.strip()
                for key, _, text in (attribute.partition("=") for attribute in rest.split(";"))
            }
            if "secure" in attributes and not secure:
                continue
            path = attributes.get("path", "")
            if not path.startswith("/"):
                path = request_path.rpartition("/")[0] or "/"
            cookie = _Cookie(value.strip(), path, _expiry(attributes))
            with self._lock:
                if cookie.expires is not None and cookie.expires <= time.time():
                    self._cookies.pop((name.strip(), path), None)
                else:
                    self._cookies[name.strip(), path] = cookie

    def header(self, request_path: str) -> str:
        """Return the Cookie header for a request."""
        now = time.time()
        with self._lock:
            found = [
                (name, cookie.value)
                for (name, path), cookie in sorted(self._cookies.items(), key=lambda item: -len(item[0][1]))
                if (cookie.expires is None or cookie.expires > now) and _within(request_path, path)
            ]
        return "; ".join(f"{name}={value}" for name, value in found)


def _expiry(attributes: Mapping[str, str]) -> float | None:
    try:
        if "max-age" in attributes:
            return time.time() + int(attributes["max-age"])
        if "expires" in attributes:
            return parsedate_to_datetime(attributes["expires"]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return None


def _within(request_path: str, path: str) -> bool:
    return request_path == path or request_path.startswith(path if path.endswith("/") else f"{path}/")


class _Deadline:
    """The moment at which a request's time is over, however slowly bytes trickle."""

    def __init__(self, seconds: float) -> None:
        self._begun = time.monotonic()
        self._end = self._begun + seconds

    def spent(self) -> float:
        return time.monotonic() - self._begun

    def renew(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout
        return left


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    body: bytes | None
    headers: Mapping[str, str]
    deadline: _Deadline

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)


class _TimedSocket:
    """A socket whose operations all end at one deadline: the part of a socket that http.client uses."""

    def __init__(self, sock: socket.socket) -> None:
        self.raw = sock
        self.deadline = _Deadline(0)

    def sendall(self, data: bytes) -> None:
        self.raw.settimeout(self.deadline.left())
        self.raw.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self.raw, self.deadline), CHUNK)

    def close(self) -> None:
        """Leave the socket open: http.client calls this before it has read the last answer of a connection."""


class _Connection(http.client.HTTPConnection):
    """A connection that is made, written and read under one deadline a request."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, server_name: str) -> None:
        super().__init__(host, port)
        self._tls = tls
        self._server_name = server_name
        self._timed: _TimedSocket | None = None

    def begin(self, deadline: _Deadline) -> _TimedSocket:
        """Connect where need be; the deadline holds for all that follows."""
        if self._timed is None:
            raw = socket.create_connection((self.host, self.port), timeout=deadline.left())
            try:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    raw.settimeout(deadline.left())
                    raw = self._tls.wrap_socket(raw, server_hostname=self._server_name)
            except BaseException:
                raw.close()
                raise
            self._timed = _TimedSocket(raw)
            self.sock = cast("socket.socket", self._timed)
        self._timed.deadline = deadline
        return self._timed

    def drop(self) -> None:
        """Close the connection for good."""
        self.close()
        if self._timed is not None:
            self._timed.raw.close()


class Stream:
    """What is left of a connection when HTTP is over: bytes both ways, under one deadline at a time."""

    def __init__(self, connection: _Connection, timed: _TimedSocket, reader: io.BufferedReader) -> None:
        self._connection = connection
        self._timed = timed
        self._reader = reader

    def give(self, seconds: float) -> None:
        """Let what follows take so long, all together."""
        self._timed.deadline.renew(seconds)

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes; socket.timeout, or HttpError when there are no more."""
        try:
            content = self._reader.read(count)
        except (ConnectionError, ssl.SSLError) as error:
            raise HttpError("the connection was lost") from error
        if len(content) < count:
            raise HttpError("the connection was closed")
        return content

    def write(self, content: bytes) -> None:
        """Send all of it."""
        try:
            self._timed.sendall(content)
        except (ConnectionError, ssl.SSLError) as error:
            raise HttpError("the connection was lost") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.drop()


class Client:
    """Requests to one application, with the cookies of one visitor; safe to use from several threads.

    :param base_url: scheme, host and port that the connection goes to.
    :param host_header: the name that the application is known by; the host of `base_url` when None.
    :param ca_file: certificates to trust instead of the system's.
    :param behind_tls: speak to the application as a proxy does that has taken off the TLS.
    """

    def __init__(
        self,
        base_url: str,
        host_header: str | None = None,
        *,
        verify_tls: bool = True,
        ca_file: str | None = None,
        behind_tls: bool = False,
    ) -> None:
        parts = urlsplit(base_url)
        tls = parts.scheme == "https"
        self.secure = tls or behind_tls
        self._behind_tls = behind_tls
        self._address = (parts.hostname or "", parts.port or (443 if tls else 80))
        self.host = host_header or parts.netloc
        self.hosts = frozenset({self.host.lower(), parts.netloc.lower()})
        self._tls = _tls_context(ca_file, verify=verify_tls) if tls else None
        self._server_name = urlsplit(f"//{self.host}").hostname or ""
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self.cookies = Cookies()

    @property
    def origin(self) -> str:
        """The scheme and the host that the application's users see."""
        return f"{'https' if self.secure else 'http'}://{self.host}"

    def visitor(self) -> Client:
        """Return a client with a copy of the cookies, as another window of the same browser would have."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.cookies = self.cookies.copy()
        return other

    def close(self) -> None:
        """Close the connections that are kept for reuse."""
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        for connection in idle:
            connection.drop()

    def get(self, path: str, timeout: float) -> Response:
        """Request a path; a redirect is returned, not followed."""
        return self.request("GET", path, timeout)

    def request(
        self,
        method: str,
        path: str,
        timeout: float,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and read all of its answer within `timeout` seconds.

        :raises HttpError: no complete, well-formed answer of a bearable size came in time.
        """
        body = None if form is None else urlencode(form).encode()
        target = quote(path.partition("#")[0], safe=SAFE_IN_PATH)
        request = _Request(method, target, body, headers or {}, _Deadline(timeout))
        kept = self._kept() if method == "GET" else None
        try:
            if kept is not None:
                # Where the other side has closed an idle connection, a browser opens a new one, too.
                with suppress(ConnectionError, ssl.SSLError):
                    return self._exchange(kept, request)
            return self._exchange(_Connection(*self._address, self._tls, self._server_name), request)
        except Exception as error:  # hostile answers raise far more than http.client documents
            raise _explained(error, timeout) from error

    def upgrade(self, path: str, timeout: float, headers: Mapping[str, str]) -> tuple[Response, Stream]:
        """Ask for another protocol on a connection of its own; returns the answer, without a body, and what follows it.

        :raises HttpError: no well-formed answer came in time.
        """
        request = _Request("GET", quote(path, safe=SAFE_IN_PATH), None, headers, _Deadline(timeout))
        connection = _Connection(*self._address, self._tls, self._server_name)
        try:
            timed = connection.begin(request.deadline)
            self._ask(connection, request)
            reader = timed.makefile("rb")
            status, fields = _head(reader)
            return Response(status, fields, b"", request.deadline.spent()), Stream(connection, timed, reader)
        except Exception as error:  # hostile answers raise far more than http.client documents
            connection.drop()
            raise _explained(error, timeout) from error

    def _ask(self, connection: _Connection, request: _Request) -> None:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self._headers(request):
            connection.putheader(name, value)
        connection.endheaders(request.body)

    def _kept(self) -> _Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _exchange(self, connection: _Connection, request: _Request) -> Response:
        keep = False
        try:
            connection.begin(request.deadline)
            self._ask(connection, request)
            answer = connection.getresponse()
            content = b"".join(_body(answer))
            fields = tuple((name.lower(), value) for name, value in answer.getheaders())
            lines = [value for name, value in fields if name == "set-cookie"]
            self.cookies.take(lines, request.path, secure=self.secure or self._address[0].startswith(LOOPBACK))
            keep = not answer.will_close
            return Response(answer.status, fields, content, request.deadline.spent())
        finally:
            self._put_back(connection, keep=keep)

    def _put_back(self, connection: _Connection, *, keep: bool) -> None:
        with self._lock:
            if keep and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.drop()

    def _headers(self, request: _Request) -> Iterator[tuple[str, str]]:
        yield "Host", self.host
        yield "User-Agent", USER_AGENT
        yield "Accept", "text/html,application/json;q=0.9,*/*;q=0.8"
        yield "Accept-Encoding", "gzip"
        if self._behind_tls:
            yield "X-Forwarded-Proto", "https"
        cookie = self.cookies.header(request.path)
        if cookie:
            yield "Cookie", cookie
        if request.body is not None:
            yield "Content-Type", "application/x-www-form-urlencoded"
            yield "Content-Length", str(len(request.body))
        if request.body is not None or "Upgrade" in request.headers:
            yield "Origin", self.origin
        yield from request.headers.items()


def _head(reader: io.BufferedReader) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Read a status line and the headers, and nothing after them."""
    line = reader.readline(CHUNK).decode("latin-1").split(None, 2)
    if len(line) < 2 or not line[0].startswith("HTTP/1.") or not line[1].isdigit():  # noqa: PLR2004 - version, status
        raise http.client.BadStatusLine(" ".join(line)[:80])
    fields = http.client.parse_headers(reader)
    return int(line[1]), tuple((name.lower(), value) for name, value in fields.items())


def _tls_context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise HttpError(f"cannot read the certificates in {ca_file}: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _body(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    encoding = (answer.getheader("content-encoding") or "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise HttpError(f"the answer is encoded as {encoding[:20]!r}, which was not asked for")
    inflate = None if encoding == "identity" else zlib.decompressobj(16 + zlib.MAX_WBITS)
    received = expanded = 0
    while True:
        data = answer.read(CHUNK)
        if not data:
            break
        received += len(data)
        piece = inflate.decompress(data, BODY_LIMIT - expanded + 1) if inflate else data
        expanded += len(piece)
        if max(received, expanded) > BODY_LIMIT:
            raise HttpError(f"the answer is larger than {BODY_LIMIT // 1_000_000} MB")
        yield piece
    # read ends in silence where the connection broke off before the promised length
    if answer.length:
        raise HttpError("the answer breaks off in the middle")
    if inflate is not None and received and not inflate.eof:
        raise HttpError("the answer's compressed body breaks off in the middle")


def _explained(error: Exception, timeout: float) -> HttpError:
    if isinstance(error, HttpError):
        return error
    if isinstance(error, socket.timeout):
        return HttpTimeoutError(f"no complete answer within {timeout:g} s")
    reason = f"the answer is not valid HTTP ({type(error).__name__})"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"certificate refused: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        reason = f"TLS failed: {error.reason or 'no reason given'}"
    elif isinstance(error, http.client.RemoteDisconnected):
        reason = "the connection was closed without an answer"
    elif isinstance(error, http.client.IncompleteRead):
        reason = "the answer breaks off in the middle"
    elif isinstance(error, zlib.error):
        reason = "the answer's compressed body is damaged"
    elif isinstance(error, OSError):
        reason = (error.strerror or str(error) or type(error).__name__).lower()
    return HttpError(reason)
