"""Audio is taken where it arrives if the session has room, and by the connection's task if not: in order either way."""

from __future__ import annotations

import asyncio
import json
import logging
import random

import pytest

from tests.transport.test_front_door import PCM, START, FakeSession, gist, rest, running, told
from transport.settings import Session

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("gather", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
async def test_everything_is_heard_in_the_order_it_was_sent_with_room_and_without(seed: int, gather: float) -> None:
    rng = random.Random(seed)
    async with running(session=Session(gather=gather)) as house, house.connect() as client:
        await client.send(START)
        await told(client)
        session = await house.sessions.last()
        pcm, marks, wrong = b"", list[int](), 0
        for number in range(200):
            match rng.choice(("audio", "audio", "audio", "half", "finalize", "acknowledge")):
                case "audio":
                    audio = number.to_bytes(2, "little") * rng.choice((16, 320, 1600))
                    client.protocol.send_binary(audio)
                    pcm += audio
                case "half":
                    client.protocol.send_binary(b"\x01\x02\x03")
                    wrong += 1
                case "finalize":
                    client.protocol.send_text(b'{"event":"finalize"}')
                    marks.append(len(pcm))
                case _:
                    client.protocol.send_text(b'{"event":"ack","seq":%d}' % len(pcm))
                    marks.append(len(pcm))
            if rng.random() < 0.4:  # else it comes together with what follows
                client.send_data()
                for _ in range(rng.randrange(4)):  # turns of the loop
                    await asyncio.sleep(0)
            if rng.random() < 0.1:
                session.room.clear()
            elif rng.random() < 0.3:
                session.room.set()
        session.room.set()
        await client.send('{"event":"stop"}')
        messages, code = await rest(client)

    assert session.pcm == pcm
    assert session.marks == marks
    assert [gist(message) for message in messages[:-1]] == [("error", "AUDIO_003", False)] * wrong
    assert (messages[-1], code) == ({"event": "done", "position": len(pcm) // 2, "seq": 0}, 1000)


async def test_the_task_sleeps_while_the_session_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asleep(self: FakeSession, pcm: bytes) -> None:
        raise AssertionError(f"the task was woken for {len(pcm)} bytes")

    async with running() as house, house.connect() as client:
        await client.send(START)
        await told(client)
        monkeypatch.setattr(FakeSession, "audio", asleep)
        for _ in range(20):
            await client.send(PCM)
        await client.send('{"event":"stop"}')
        end = await rest(client)

    assert end == ([{"event": "done", "position": 20 * 160, "seq": 0}], 1000)


async def test_a_defect_where_audio_arrives_ends_one_connection_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: FakeSession, pcm: bytes) -> None:
        raise ZeroDivisionError("secret path")

    async with running() as house:
        async with house.connect() as client:
            await client.send(START)
            await told(client)
            with monkeypatch.context() as patch:
                patch.setattr(FakeSession, "audio_at_once", broken)
                await client.send(PCM * 100)
                messages, code = await rest(client)
        await house.still_serves()

    assert ([gist(message) for message in messages], code) == ([("error", "UNKNOWN", True)], 1011)
    assert "secret" not in json.dumps(messages)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info is not None for record in errors] == [True]
