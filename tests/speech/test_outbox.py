"""The outbox: finals are kept, what a newer event makes pointless is not."""

from __future__ import annotations

import anyio
import pytest

from actors.speech.errors import SlowConsumer
from actors.speech.messages import Ack, Done, Problem, Recalled, SessionEvent, Status, Transcript
from actors.speech.outbox import Outbox


def interim(text: str) -> Transcript:
    return Transcript(is_final=False, seq=0, start=0, end=1, text=text)


def final(seq: int) -> Transcript:
    return Transcript(is_final=True, seq=seq, start=0, end=1, text="x")


def ack(received: int) -> Ack:
    return Ack(durable=0, received=received, seq=0)


async def unread(outbox: Outbox) -> list[SessionEvent]:
    outbox.put(Done(position=0, seq=0))
    events = []
    while not events or not isinstance(events[-1], Done):
        events.append(await outbox.next_event())
    return events[:-1]


async def test_an_unread_interim_gives_way_to_the_next_transcript() -> None:
    outbox = Outbox()
    for event in (interim("a"), interim("a b"), final(1), interim("c"), interim("c d")):
        outbox.put(event)
    assert await unread(outbox) == [final(1), interim("c d")]


async def test_an_unread_ack_gives_way_to_the_next_ack() -> None:
    outbox = Outbox()
    for event in (ack(1), ack(2), final(1), ack(3)):
        outbox.put(event)
    assert await unread(outbox) == [ack(2), final(1), ack(3)]


async def test_what_was_recalled_stands_for_its_own_place_and_gives_way_to_nothing() -> None:
    outbox = Outbox()
    first, second = (Recalled(start=at, end=at + 1, text="x", similarity=0.5) for at in (0, 1))
    for event in (first, second, interim("a")):
        outbox.put(event)
    assert await unread(outbox) == [first, second, interim("a")]


async def test_a_reader_waits_for_the_next_event() -> None:
    outbox = Outbox()
    read: list[SessionEvent] = []

    async def reader() -> None:
        read.append(await outbox.next_event())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        await anyio.sleep(1)
        assert read == []
        outbox.put(Status(state="streaming"))
    assert read == [Status(state="streaming")]


async def test_nothing_follows_the_last_event() -> None:
    outbox = Outbox()
    outbox.put(Problem(code="RIVA_002", fatal=True))
    outbox.put(final(1))
    assert outbox.over
    assert await outbox.next_event() == Problem(code="RIVA_002", fatal=True)


async def test_a_client_that_never_reads_is_given_up_and_its_finals_are_still_there() -> None:
    outbox = Outbox(capacity=2)
    outbox.put(final(1))
    outbox.put(final(2))
    with pytest.raises(SlowConsumer, match="2 events unread"):
        outbox.put(final(3))
    assert [await outbox.next_event() for _ in range(3)] == [
        final(1),
        final(2),
        Problem(code="CONN_007", fatal=True),
    ]
