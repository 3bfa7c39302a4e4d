"""The sockets of the admin port: HTTP/1.1 in threads of their own, bounded in number, size and time."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from transport.admin.pages import HEADERS, TEXT, Answer, Pages, Request
from transport.expected import ExpectedError

MOST_CONNECTIONS = 32
REQUEST_SECONDS = 10.0  # for a request to arrive, and for an answer to be taken; an idle connection ends then too
MOST_BYTES = 32 * 1024  # of a request, its head and body together
LAST_WORDS = 1.0  # seconds for connections to end in
POLL_SECONDS = 0.1  # until the thread that accepts notices that it is to end

logger = logging.getLogger("voxtree.admin")


class CannotListen(ExpectedError):
    """The address could not be bound. Its text names host and port."""


class AdminServer(ThreadingTCPServer):
    """Serves from its construction until `stop`, in threads that need nothing of the event loop.

    Args:
        host, port: port 0 lets the system pick one. `unix:PATH` is a socket for this user only, without a port.

    Raises:
        CannotListen: the address is taken, unknown, or not this machine's.
    """

    daemon_threads = True  # a process that has to end does
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self.pages = pages
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        try:
            self.address_family, address = _address(host, port)
            super().__init__(address, _Handler)
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"cannot listen on {host}:{port}: {reason.lower()}; `admin.port` chooses another, 0 any free one"
            raise CannotListen(text) from error
        if self.address_family == socket.AF_UNIX:
            os.chmod(str(address), 0o600)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(POLL_SECONDS,), name="voxtree admin", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, for who sits at this machine."""
        if self.address_family == socket.AF_UNIX:
            return f"unix:{self.server_address!s}"
        host, port = self.server_address[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))
        return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

    def stop(self) -> None:
        """Close it and all connections. Takes a moment: not to be called in the event loop."""
        self.pages.end()
        self.shutdown()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        self.server_close()
        self._thread.join()
        deadline = time.monotonic() + LAST_WORDS
        while self._open and time.monotonic() < deadline:
            time.sleep(0.01)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= MOST_CONNECTIONS
            if not full:
                self._open.add(request)
        if full:
            _turn_away(request)
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection's thread failed; the others go on."""
        logger.exception("a request to the admin port failed", extra={"event": "admin.failed"})


def _address(host: str, port: int) -> tuple[int, Any]:
    """The family and the address to bind. Raises OSError."""
    kind, _, path = host.partition(":")
    if kind == "unix":
        return socket.AF_UNIX, path
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, address


class TooMuch(Exception):
    """The request is larger than any that makes sense."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: AdminServer

    def setup(self) -> None:
        super().setup()
        if self.server.address_family != socket.AF_UNIX:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.rfile.close()
        self._incoming = _Incoming(self.connection)
        self.rfile = io.BufferedReader(self._incoming, 4096)

    def handle_one_request(self) -> None:
        self._incoming.begin()
        try:
            super().handle_one_request()
        except TooMuch:
            self.close_connection = True
            self._say(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request takes at most {MOST_BYTES} bytes")
        except (ConnectionError, TimeoutError):  # the other side has gone, or takes nothing
            self.close_connection = True

    def parse_request(self) -> bool:
        return super().parse_request() and self._is_plain()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def version_string(self) -> str:
        return "voxtree"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself finds wrong, without the request's own text."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._say(status, status.phrase.lower())

    def log_message(self, format: str, *args: Any) -> None:
        """Actions are logged where they are carried out; looks are not."""

    def _is_plain(self) -> bool:
        """Whether it is a request that can be read in one way only."""
        headers = self.headers
        length = headers.get("Content-Length", "0")
        if "Transfer-Encoding" in headers or len(headers.get_all("Host", [])) > 1 or not _is_number(length):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return False
        if int(length) > MOST_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return False
        return True

    def _answer(self) -> None:
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            cookies=_cookies(self.headers),
            body=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
        )
        answer = self.server.pages.answer(request)
        try:
            self.connection.settimeout(REQUEST_SECONDS)
            self._send(answer)
            for chunk in answer.stream or ():
                self.connection.sendall(chunk)
        finally:
            if answer.stream is not None:
                answer.stream.close()

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        self.send_header("Server", self.version_string())
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", answer.type)
        for name, value in {**HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        if answer.stream is None:
            self.send_header("Content-Length", str(len(answer.body)))
        else:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _say(self, status: HTTPStatus, text: str) -> None:
        if not hasattr(self, "request_version") or self.request_version == "HTTP/0.9":
            self.request_version = "HTTP/1.1"
        self.command = getattr(self, "command", None) or "GET"
        self._send(Answer(status=status, type=TEXT, body=f"{text}\n".encode()))


class _Incoming(io.RawIOBase):
    """What a connection sends, within the time and the bytes that a request may take."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.begin()

    def begin(self) -> None:
        """Another request comes."""
        self._until = time.monotonic() + REQUEST_SECONDS
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise TooMuch
        self._connection.settimeout(max(0.001, self._until - time.monotonic()))
        received = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= received
        return received


def _cookies(headers: Message) -> Mapping[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("Cookie", "")).items()}
    except CookieError:
        return {}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _turn_away(connection: socket.socket) -> None:
    """Too many are connected. It fits into the socket's own buffer, so nobody waits."""
    text = b"too many connections\n"
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    with suppress(OSError):  # it has gone
        connection.settimeout(0.1)
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it was closed already
        connection.shutdown(socket.SHUT_RDWR)
