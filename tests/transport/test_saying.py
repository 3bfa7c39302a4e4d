"""Interims and acks are said where they arise if nothing is in their way, and in their order if something is."""

from __future__ import annotations

import asyncio
import json
import logging
import random

import pytest

from actors.speech.messages import Ack, SessionEvent, Status, Transcript
from tests.transport.test_front_door import START, gist, rest, running, told
from transport.websocket import ClientSocket
from transport.wire.port import ServerEvent
from transport.wire.voxtree_v1 import VoxtreeV1

pytestmark = pytest.mark.anyio


def interim(number: int, size: int = 1) -> Transcript:
    return Transcript(is_final=False, seq=0, start=0, end=number, text="x" * size)


@pytest.mark.parametrize("seed", range(5))
async def test_all_is_said_in_the_order_in_which_it_arose(seed: int) -> None:
    rng = random.Random(seed)
    at_once = 0
    async with running() as house, house.connect() as client:
        await client.send(START)
        await told(client)
        session = await house.sessions.last()
        for number in range(1, 301):
            event: SessionEvent = rng.choice(
                (
                    interim(number, rng.choice((1, 1, 10_000))),
                    Ack(durable=0, received=number, seq=0),
                    Transcript(is_final=True, seq=number, start=0, end=number, text="x"),
                    Status(state="delayed", message=str(number)),
                )
            )
            session.say(event)
            at_once += session.outbox.empty()
            if rng.random() < 0.2:
                await client.send('{"event":"ping","t":7}')  # which another task answers
            if rng.random() < 0.3:
                for _ in range(rng.randrange(4)):  # turns of the loop
                    await asyncio.sleep(0)
        await client.send('{"event":"stop"}')
        messages, code = await rest(client)

    said = [message for message in messages if message["event"] not in ("pong", "done")]
    numbers = [int(each.get("end") or each.get("received") or each.get("message")) for each in said]
    assert numbers == list(range(1, 301))
    assert at_once > 0
    assert code == 1000


async def test_what_a_client_does_not_read_waits_in_the_session() -> None:
    async with running() as house, house.connect() as client:
        await client.send(START)
        await told(client)
        session = await house.sessions.last()
        session.say(interim(1))
        await told(client)
        number = 1
        while session.outbox.empty():  # and the client, in the same event loop, has no turn to read
            number += 1
            session.say(interim(number, 10_000))
        assert number > 2
        for _ in range(10):
            number += 1
            session.say(interim(number, 10_000))
        assert session.outbox.qsize() == 11
        await client.send('{"event":"stop"}')
        messages, _ = await rest(client)

    assert [each["end"] for each in messages[:-1]] == list(range(2, number + 1))


async def test_nothing_is_said_in_the_midst_of_an_event_that_takes_several_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode, resume_writing = VoxtreeV1.encode, ClientSocket.resume_writing

    def twice(self: VoxtreeV1, event: ServerEvent) -> list[str]:
        return list(encode(self, event)) * (2 if isinstance(event, Transcript) and event.is_final else 1)

    def resume_and_say(self: ClientSocket) -> None:
        resume_writing(self)
        session.say(interim(2))

    monkeypatch.setattr(VoxtreeV1, "encode", twice)
    monkeypatch.setattr(ClientSocket, "resume_writing", resume_and_say)
    async with running() as house, house.connect() as client:
        await client.send(START)
        await told(client)
        session = await house.sessions.last()
        session.say(Transcript(is_final=True, seq=1, start=0, end=1, text="x" * 4_000_000))
        assert [(await told(client))["end"] for _ in range(3)] == [1, 1, 2]


async def test_a_defect_in_saying_is_the_connections_and_not_the_sessions(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encode = VoxtreeV1.encode

    def broken(self: VoxtreeV1, event: ServerEvent) -> list[str]:
        if isinstance(event, Transcript):
            raise ZeroDivisionError("secret path")
        return list(encode(self, event))

    monkeypatch.setattr(VoxtreeV1, "encode", broken)
    async with running() as house, house.connect() as client:
        await client.send(START)
        await told(client)
        session = await house.sessions.last()
        session.say(interim(1))
        messages, code = await rest(client)

    assert ([gist(message) for message in messages], code) == ([("error", "UNKNOWN", True)], 1011)
    assert "secret" not in json.dumps(messages)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info is not None for record in errors] == [True]
