"""The outbox: finals are kept, what a newer event makes pointless is not."""

from __future__ import annotations

import tracemalloc
from itertools import count

import anyio

from actors.speech.messages import Ack, Done, Problem, Recalled, SessionEvent, Status, Transcript
from actors.speech.outbox import Outbox
from actors.speech.ports import Word


def interim(text: str) -> Transcript:
    return Transcript(is_final=False, seq=0, start=0, end=1, text=text)


def final(seq: int, *, words: int = 0) -> Transcript:
    said = tuple(Word(f"w{number}", number, number + 1) for number in range(words))
    return Transcript(is_final=True, seq=seq, start=0, end=1, text="x", words=said)


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


async def test_interims_and_acks_are_offered_while_nothing_waits_and_what_is_declined_waits() -> None:
    outbox = Outbox()
    offered: list[SessionEvent] = []
    accepts = True

    def say(event: SessionEvent) -> bool:
        offered.append(event)
        return accepts

    outbox.offer = say
    for event in (interim("a"), ack(1), interim("a b")):
        outbox.put(event)
    accepts = False
    for event in (interim("b"), ack(2), final(1), interim("c"), ack(3)):
        outbox.put(event)
    assert offered == [interim("a"), ack(1), interim("a b"), interim("b")]
    assert await unread(outbox) == [final(1), interim("c"), ack(3)]


async def test_a_final_is_never_offered_and_nothing_is_any_more_behind_the_last_event() -> None:
    outbox = Outbox()
    offered: list[SessionEvent] = []
    outbox.offer = lambda event: not offered.append(event)
    outbox.put(final(1))
    outbox.put(Status(state="delayed"))
    assert await unread(outbox) == [final(1), Status(state="delayed")]
    outbox.put(interim("late"))
    assert offered == []


async def test_an_unread_ack_gives_way_to_the_next_ack() -> None:
    outbox = Outbox()
    for event in (ack(1), ack(2), final(1), ack(3)):
        outbox.put(event)
    assert await unread(outbox) == [final(1), ack(3)]


async def test_of_an_hour_of_speech_that_nobody_reads_one_interim_and_one_ack_are_kept() -> None:
    outbox = Outbox()
    for number in range(36_000):
        outbox.put(interim(f"a {number}"))
        outbox.put(ack(number))
    assert await unread(outbox) == [interim("a 35999"), ack(35_999)]


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
    outbox.put(final(3))
    assert outbox.over
    assert [await outbox.next_event() for _ in range(3)] == [
        final(1),
        final(2),
        Problem(code="CONN_007", fatal=True),
    ]


async def test_words_count_for_what_they_take_until_they_are_read() -> None:
    outbox = Outbox(capacity=20)
    for seq in range(1, 40):  # one is always unread
        outbox.put(final(seq, words=10))
        if seq > 1:
            assert await outbox.next_event() == final(seq - 1, words=10)
    outbox.put(final(40, words=10))
    assert not outbox.over
    outbox.put(final(41, words=10))
    assert outbox.over


def speak_for_ever(outbox: Outbox) -> None:
    for seq in count(1000):
        said = tuple(Word(f"word{seq}x{n}", 10**6 + n, 10**6 + n + 1, 0.1 + n) for n in range(10))
        text = " ".join(word.text for word in said)
        if outbox.over:
            return
        outbox.put(Transcript(is_final=True, seq=seq, start=10**6, end=10**6 + seq, text=text, words=said))


def test_what_a_client_leaves_unread_takes_less_than_256_kib() -> None:
    outbox = Outbox()
    tracemalloc.start()
    speak_for_ever(outbox)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 256 * 1024
