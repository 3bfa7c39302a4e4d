"""POSTs over raw sockets: what is put together and answered, however it arrives, and what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import Server, ServerConnection, serve

from transport.plain_http import GO_AHEAD, MAX_BODY_BYTES, MAX_HEAD_BYTES, RequestReader, RequestRefused
from transport.websocket import ClientSocket
from transport.websocket_log import library_logger
from transport.wire.dialects import routes
from transport.wire.port import Answer, Request

MINT = "/v1/realtime/transcription_sessions"


def post(body: bytes = b"{}", *, version: str = "1.1", path: str = MINT, **headers: str) -> bytes:
    """A request as clients write it; a header that is empty is left out."""
    lines = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"POST {path} HTTP/{version}\r\n{head}\r\n".encode() + body


def read(*parts: bytes) -> Request | None:
    """What a reader makes of what arrives in these parts."""
    reader, request = RequestReader(), None
    for part in parts:
        request = request or reader.feed(part)
    return request


# ---- the reader


@given(st.binary(max_size=64), st.data())
def test_a_request_is_the_same_wherever_the_network_cuts_it(body: bytes, data: st.DataObject) -> None:
    whole = post(body, path="/p?q=1&q=2&r")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=5)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    request = read(*parts)

    assert request is not None
    assert (request.path, request.query, request.body) == ("/p", {"q": ["1", "2"], "r": [""]}, body)
    assert request.header("content-type") == "application/json"
    assert all(read(*parts[:known]) is None for known in range(len(parts)))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"POST / HTTP/1.1\r\nHost: x\r\n" + rest))
def test_whatever_arrives_is_a_request_or_refused_or_not_complete(data: bytes) -> None:
    with suppress(RequestRefused):
        assert isinstance(read(data), Request | None)


# ---- over sockets


class House:
    """A server whose POSTs are answered by the dialects; GETs are none of its business."""

    server: Server

    def __init__(self) -> None:
        self.asked: list[Request] = []

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.server.sockets[0].getsockname()
        return host, port

    def respond(self, request: Request, address: str) -> Answer:
        self.asked.append(request)
        return routes(("riva",)).posts[request.path](request)

    async def talk(self, *parts: bytes, leaves: bool = False) -> tuple[int, dict[str, str], Any]:
        """Send the parts, each when the one before has had time to arrive. The answer: status, headers, JSON."""
        reader, writer = await asyncio.open_connection(*self.address)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        if leaves:
            writer.write_eof()
        whole = await reader.read()
        writer.close()
        return answer(whole)


def answer(data: bytes) -> tuple[int, dict[str, str], Any]:
    """The one response in some bytes, read by a client that believes nothing."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    client.receive_data(data)
    client.receive_data(b"")
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response), head
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return head.status_code, {n.decode(): v.decode() for n, v in head.headers}, json.loads(body)


@asynccontextmanager
async def house(patience: float = 5.0) -> AsyncIterator[House]:
    async def nobody(_: ServerConnection) -> None:
        raise AssertionError("a WebSocket was opened")

    here = House()
    async with serve(
        nobody,
        "127.0.0.1",
        0,
        open_timeout=patience,
        logger=library_logger(),
        create_connection=partial(ClientSocket, respond=here.respond),  # type: ignore[arg-type]
    ) as here.server:
        yield here


@pytest.mark.anyio
@pytest.mark.parametrize(
    "parts",
    [
        [post()],
        [post()[:3], post()[3:40], post()[40:]],
        [post()[:-1], post()[-1:]],
        [post(version="1.0")],
        [post(b"", version="1.0", Host="", Content_Length="")],
        [post(b"2\r\n{}\r\n0\r\n\r\n", Content_Length="", Transfer_Encoding="chunked")],
        [
            post(b"1\r\n{\r\n", Content_Length="", Transfer_Encoding="chunked"),
            b"1\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
        ],
        [post(Authorization="Bearer abc", X_Api_Key="abc")],
        [post() + post()],
        [post(), post()],
        [post() + b"\x00" * 100_000],
    ],
)
async def test_a_session_object_is_minted_once_however_the_request_arrives(parts: list[bytes]) -> None:
    async with asyncio.timeout(10), house() as here:
        status, headers, session = await here.talk(*parts)

        assert (status, session["object"]) == (200, "realtime.transcription_session")
        assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
        assert headers["connection"] == "close"
        assert len(here.asked) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        (post(Content_Length="x"), 400, "bad Content-Length"),
        (post(Content_Length="-2"), 400, "bad Content-Length"),
        (post(Content_Length="2, 3"), 400, "conflicting Content-Length"),
        (post(Transfer_Encoding="chunked"), 400, "a Content-Length or a Transfer-Encoding, and not both"),
        (post(Content_Length="", Transfer_Encoding="gzip"), 501, "Only Transfer-Encoding: chunked is supported"),
        (post(b"x\r\n", Content_Length="", Transfer_Encoding="chunked"), 400, "illegal chunk header"),
        (post(Host=""), 400, "Missing mandatory Host: header"),
        (post(**{"bad header": "x"}), 400, "illegal header line"),
        (post(X="x" * MAX_HEAD_BYTES), 431, "Receive buffer too long"),
        (post(X="x" * 8 * MAX_HEAD_BYTES), 431, "Receive buffer too long"),
        (post(Content_Length=str(MAX_BODY_BYTES + 1)), 413, "The body of a request may have 262144 bytes."),
        (
            post(
                b"%x\r\n" % (MAX_BODY_BYTES + 1) + b"x" * (MAX_BODY_BYTES + 1),
                Content_Length="",
                Transfer_Encoding="chunked",
            ),
            413,
            "The body of a request may have 262144 bytes.",
        ),
    ],
)
async def test_what_is_no_request_or_too_large_is_refused_with_its_reason(
    request_: bytes, status: int, detail: str
) -> None:
    async with asyncio.timeout(10), house() as here:
        answered = await here.talk(request_)

        assert answered[0] == status
        assert detail in answered[2]["detail"]
        assert here.asked == []


@pytest.mark.anyio
async def test_a_client_that_goes_on_sending_a_body_that_is_refused_still_gets_the_answer() -> None:
    body = b"x" * (8 * MAX_BODY_BYTES)
    async with asyncio.timeout(10), house() as here:
        reader, writer = await asyncio.open_connection(*here.address)
        writer.write(post(body))
        await writer.drain()
        assert answer(await reader.read())[0] == 413
        writer.close()


@pytest.mark.anyio
async def test_a_client_that_waits_for_the_go_ahead_gets_it_once() -> None:
    request = post(Expect="100-continue")
    async with asyncio.timeout(10), house() as here:
        reader, writer = await asyncio.open_connection(*here.address)
        writer.write(request[:-2])
        assert await reader.readexactly(len(GO_AHEAD)) == GO_AHEAD
        for byte in b"{}":
            writer.write(bytes([byte]))
            await writer.drain()
        assert answer(await reader.read())[0] == 200
        writer.close()


@pytest.mark.anyio
async def test_a_client_that_asks_whether_to_send_too_much_is_told_not_to() -> None:
    async with asyncio.timeout(10), house() as here:
        status, *_ = await here.talk(post(b"", Expect="100-continue", Content_Length="1000000"))
        assert status == 413


@pytest.mark.anyio
@pytest.mark.parametrize("begun", [b"POST", post()[:60], post()[:-1], post(Content_Length="9"), post()])
async def test_a_client_that_takes_too_long_is_cut_off(begun: bytes) -> None:
    async with asyncio.timeout(10), house(patience=0.1) as here:
        _, writer = await asyncio.open_connection(*here.address)
        writer.write(begun)
        while not here.server.handlers:  # noqa: ASYNC110  (nothing tells of it)
            await asyncio.sleep(0.001)
        while here.server.handlers:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        writer.close()


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [post(), post()[:-1], b"POST", post(Content_Length="x")])
async def test_posts_leave_nothing_in_the_log(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    caplog.set_level(logging.DEBUG)
    async with asyncio.timeout(10), house() as here:
        reader, writer = await asyncio.open_connection(*here.address)
        writer.write(sent)
        writer.write_eof()
        await reader.read()
        writer.close()

    assert [record.getMessage() for record in caplog.records if record.name.startswith("transport")] == []
    assert not any(record.exc_info for record in caplog.records)
