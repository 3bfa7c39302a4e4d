"""Request heads that are malformed, ambiguous, huge or hostile: answered once, and the connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.fuzz.mutation import Mutator
from tests.transport.test_front_door import House, running
from transport.wire.port import Answer, Request, Routes

pytestmark = pytest.mark.anyio

UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
NEXT = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"  # what a proxy may take for a request of its own


def posted(request: Request) -> Answer:
    return Answer(200, b'{"posted": %d}' % len(request.body))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running(routes=Routes(posts={"/post": posted})) as house:
        yield house


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /post HTTP/1.1", b"Host: x", *headers, b"", body])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + NEXT), 400),
        (post(b"Content-Length: 0", b"Content-Length: 40", body=NEXT), 400),
        (post(b"Content-Length: 1, 2", body=b"a" + NEXT), 400),
        (post(b"Content-Length: -1"), 400),
        (post(b"Content-Length: +3", body=b"abc"), 400),
        (post(b"Content-Length : 3", body=b"abc"), 400),
        (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"), 400),
        (post(b"X-Null: a\x00b", b"Content-Length: 0"), 400),
        (post(b"Host: y", b"Content-Length: 0"), 400),
        (b"POST /post HTTP/9.9\r\n\r\n", 400),
        (b"GET /transcribe/s\x00 HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n", 404),
        (b"GET http://x/transcribe/s HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n", 404),
        (b"GET /transcribe/../livez HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
async def test_an_ambiguous_or_malformed_head_is_refused_and_nothing_behind_it_is_read(
    house: House, head: bytes, status: int
) -> None:
    answer = await house.request(head)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    await house.still_serves()


@pytest.mark.parametrize(
    "head",
    [
        post(b"Content-Length: 9999999999", body=b"a" * 300_000),
        post(b"X: " + b"a" * 100_000),
        b"POST " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /transcribe/s HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n" + UPGRADE + b"\r\n" + NEXT,
        b"GET /transcribe/s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + UPGRADE + b"\r\n0\r\n\r\n",
        b"GET /transcribe/s HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 300 + UPGRADE + b"\r\n",
        b"GET /transcribe/s HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n" + UPGRADE + b"\r\n",
    ],
    ids=["body", "header", "target", "body of a GET", "chunks of a GET", "headers", "header of a GET"],
)
async def test_what_is_too_large_or_has_no_body_ends_the_connection_with_or_without_a_word(
    house: House, head: bytes
) -> None:
    try:
        answer = await house.request(head)
    except ConnectionResetError:  # the rest of what was sent met a closed socket, which takes the answer along
        answer = b""

    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"101 Switching" not in answer
    assert b"posted" not in answer
    await house.still_serves()


async def test_a_post_is_answered_whole_however_it_is_cut_and_what_follows_is_not(house: House) -> None:
    request = post(b"Content-Length: 3", body=b"abc")
    answer = await house.request(request + NEXT)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"posted": 3}')

    for cut in range(1, len(request), 7):
        reader, writer = await asyncio.open_connection(*house.address)
        writer.write(request[:cut])
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(request[cut:])
        assert await reader.read() == answer
        writer.close()
        await writer.wait_closed()


async def test_a_chunked_post_is_read_too(house: House) -> None:
    answer = await house.request(post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))

    assert answer.endswith(b'{"posted": 5}')


async def test_mutated_heads_leave_a_server_that_serves(house: House) -> None:
    known = [
        post(b"Content-Length: 3", body=b"abc"),
        b"GET /transcribe/s HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n",
        NEXT,
    ]

    async def strike(number: int) -> None:
        mutator = Mutator(f"heads/{number}")
        reader, writer = await asyncio.open_connection(*house.address)
        writer.write(mutator.data(mutator.one_of(known)))
        writer.write_eof()
        await reader.read(200)
        writer.transport.abort()

    for first in range(0, 400, 40):
        await asyncio.gather(*(strike(number) for number in range(first, first + 40)))
    await house.still_serves()
