"""Refusals over real sockets: what clients, pages and who says nothing are told, and that the others are served."""

from __future__ import annotations

import asyncio
import json

import anyio
import anyio.lowlevel
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.transport.test_front_door import PCM, START, House, gist, rest, running, told
from transport.admission import Admission
from transport.front_door import Patience
from transport.limits import Gate, LoopLoad, ReturnTimes
from transport.limits import crowd as crowds
from transport.settings import Limits, Server

pytestmark = pytest.mark.anyio


def admission(limits: Limits, *, has_room: bool = True) -> Admission:
    gate = Gate(
        limits,
        lives=lambda session_id: session_id == "alive",
        has_room=lambda: has_room,
        has_room_to_return=lambda: has_room,
        connections=lambda: 0,
        load=LoopLoad(),
        returns=ReturnTimes(lambda: 1.0),
    )
    return Admission(Server(port=0), gate=gate)


async def test_a_full_server_refuses_the_handshake_and_explains_itself_to_pages() -> None:
    refused: list[str] = []
    async with running(admission=admission(Limits(), has_room=False), on_refused=refused.append) as house:
        with pytest.raises(InvalidStatus) as answered:
            await house.connect()
        response = answered.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "3")
        assert json.loads(response.body or b"")["code"] == "CONN_005"
        here = house.door.url.replace("ws", "http").removesuffix("/transcribe")
        async with house.connect(origin=Origin(here)) as page:
            (error,), code = await rest(page)
            assert (gist(error), code) == (("error", "CONN_005", True), 1013)
            assert error["retry_after_ms"] > 0
        assert not house.sessions.opened
        async with house.connect("/transcribe/alive") as client:
            await client.send(START)
            assert (await told(client))["event"] == "ready"
        answer = await house.request(b"POST /v1/realtime HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 405")
    assert refused == ["sessions", "sessions", "path"]


async def test_audio_that_comes_too_fast_waits_and_all_of_it_is_heard() -> None:
    limits = Limits(audio_per_address=1.0, audio_credit=0.05)
    async with running(admission=admission(limits)) as house, house.connect() as client:
        await client.send(START)
        for _ in range(10):  # 10 ms each
            await client.send(PCM)
        await client.send('{"event":"stop"}')
        session = await house.sessions.last()
        assert await session.heard(1600) == PCM * 10


async def idle(house: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects and says nothing."""
    return await asyncio.open_connection(*house.address)


async def test_without_file_descriptors_who_says_nothing_makes_way_for_who_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sniffio = pytest.importorskip("sniffio")
    sniffio.current_async_library_cvar.set(None)  # as it is in a process that no test has begun, outside of tasks
    refused: list[str] = []
    async with running(on_refused=refused.append, patience=Patience(handshake=30.0)) as house:
        async with house.connect("/transcribe/first") as first:
            await first.send(START)
            await told(first)
            silent = [await idle(house) for _ in range(3)]
            upgraded = await house.connect("/transcribe/idle")
            with anyio.fail_after(5):
                while house.door.newcomers < 4:
                    await anyio.lowlevel.checkpoint()
            monkeypatch.setattr(crowds.resource, "getrlimit", lambda kind: (17, 17))
            async with house.connect("/transcribe/fourth"):  # takes the place of the first of the silent ones
                answer = await silent[0][0].read()
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"CONN_005" in answer
                for _ in range(3):  # so that it is the turn of the one that has its WebSocket
                    silent.append(await idle(house))
                (error,), code = await rest(upgraded)
                assert (gist(error), code) == (("error", "CONN_005", True), 1013)
            monkeypatch.undo()
            assert first.close_code is None
            await first.send('{"event":"stop"}')
            assert (await told(first))["event"] == "done"
        for _, writer in silent:
            writer.close()
        await house.still_serves()
    assert set(refused) == {"crowd"}
