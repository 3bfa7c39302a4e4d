"""The sockets: what is too large, too slow, too many or not HTTP costs little and is answered; the others go on."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from tests.transport.admin.states import state
from transport.admin import server as module
from transport.admin.access import Access
from transport.admin.board import Board
from transport.admin.pages import MOST_VIEWERS, Pages
from transport.admin.server import MOST_BYTES, MOST_CONNECTIONS, AdminServer, CannotListen

PATIENCE = 30.0  # seconds; only a hang gets there


@pytest.fixture
def pages() -> Pages:
    board = Board()
    board.publish(state(2))
    return Pages(board, CollectorRegistry(), Access(None), lambda session: None)


@pytest.fixture
def server(pages: Pages) -> Iterator[AdminServer]:
    server = AdminServer("127.0.0.1", 0, pages)
    yield server
    server.stop()


def connect(server: AdminServer) -> socket.socket:
    return socket.create_connection(server.server_address[:2], PATIENCE)


def exchange(server: AdminServer, request: bytes) -> bytes:
    """All that is answered until the connection ends."""
    with connect(server) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: _received(connection), b""))


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:  # it was closed with something of ours unread
        return b""


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def get(server: AdminServer, path: str = "/livez") -> int:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_one_connection_serves_one_request_after_another(server: AdminServer) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
    try:
        for path, expected in (("/livez", 200), ("/nothing", 404), ("/console", 200)):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, len(answer.read())) == (expected, int(answer.headers["Content-Length"]))
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Server"] == "voxtree"
    finally:
        connection.close()


def test_load_balancers_that_speak_http_1_0_are_answered(server: AdminServer) -> None:
    assert status(exchange(server, b"GET /livez HTTP/1.0\r\n\r\n")) == 200


def test_a_head_request_gets_a_head(server: AdminServer) -> None:
    answer = exchange(server, b"HEAD /console HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status(answer) == 200
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"GET / HTTP/1.1 too many words\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"BREW /console HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"POST /actions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /actions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /actions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
        (b"GET /" + b"x" * MOST_BYTES + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MOST_BYTES, 431),
    ],
    ids=lambda value: ascii(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_what_makes_no_sense_is_refused_and_nothing_of_it_repeated(
    server: AdminServer, request_: bytes, expected: int
) -> None:
    answer = exchange(server, request_)
    assert status(answer) == expected
    assert b"evil" not in answer
    assert b"xxx" not in answer
    assert b"<" not in answer
    assert get(server) == 200


def test_who_does_not_finish_a_request_is_let_go(server: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    assert exchange(server, b"GET /livez HTTP/1.1\r\nHost:") == b""
    assert get(server) == 200


def test_there_is_room_for_so_many_connections_and_the_next_is_told(server: AdminServer) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            connection = stack.enter_context(connect(server))
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert status(exchange(server, b"")) == 503
    while get(server) == 503:  # until it has noticed that they are gone
        pass


def test_a_viewer_who_goes_gives_its_seat_back(server: AdminServer) -> None:
    seen = 0
    while seen <= MOST_VIEWERS:  # more than there are seats, one after the other; a gone one is noticed a little later
        with connect(server) as connection:
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            seen += connection.recv(12) == b"HTTP/1.1 200"
    assert get(server) == 200


def test_a_taken_port_is_named(server: AdminServer, pages: Pages) -> None:
    host, port = server.server_address[:2]
    with pytest.raises(
        CannotListen, match=f"cannot listen on 127.0.0.1:{port}: .*in use; `admin.port` chooses another"
    ):
        AdminServer(str(host), int(port), pages)


def test_an_unknown_host_is_named(pages: Pages) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on nowhere\.invalid:1: "):
        AdminServer("nowhere.invalid", 1, pages)


def test_it_listens_on_ipv6_too(pages: Pages) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        server = AdminServer("::1", 0, pages)
    except CannotListen:
        pytest.skip("this machine has no ::1")
    try:
        assert server.url.startswith("http://[::1]:")
        assert get(server) == 200
    finally:
        server.stop()


def test_stopping_ends_every_connection(pages: Pages) -> None:
    server = AdminServer("127.0.0.1", 0, pages)
    with connect(server) as viewer, connect(server) as idle:
        viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert viewer.recv(12) == b"HTTP/1.1 200"
        idle.sendall(b"GET")
        server.stop()
        assert _received(idle) == b""
        while _received(viewer):
            pass
    with pytest.raises(ConnectionRefusedError):
        connect(server)
