"""The cache's actor: it works in threads, one at a time, and forgets old things unasked. In real time, for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from actors.address import Ref
from actors.errors import MailboxFull
from actors.hosting import actor_child
from actors.speech import transcript_cache
from actors.speech.messages import CacheMessage, Learn, Recall
from actors.speech.ports import Recollection, Utterance
from actors.speech.transcript_cache import MAILBOX, TranscriptCache
from supervisor.tree import Supervisor

HELLO = Utterance(b"hello", 16000, "en-US")
POISON = Utterance(b"poison", 16000, "en-US")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Shelf:
    """An index that finds what is exactly the same, and notes who calls it and how."""

    def __init__(self) -> None:
        self.texts: dict[Utterance, str] = {}
        self.threads: set[int] = set()
        self.expired = threading.Event()
        self._busy = threading.Lock()

    def add(self, utterance: Utterance, text: str, now: float) -> None:
        if utterance == POISON:
            raise ZeroDivisionError("a defect")
        self._work()
        self.texts[utterance] = text

    def find(self, utterance: Utterance, now: float) -> Recollection | None:
        self._work()
        return Recollection(self.texts[utterance], 1.0) if utterance in self.texts else None

    def expire(self, now: float) -> None:
        self.expired.set()

    def _work(self) -> None:
        self.threads.add(threading.get_ident())
        assert self._busy.acquire(blocking=False), "two at a time"
        time.sleep(0.001)
        self._busy.release()


@asynccontextmanager
async def cache(*shelves: Shelf) -> AsyncGenerator[Ref[CacheMessage], None]:
    """A cache whose first life has the first shelf, and so on."""
    left = iter(shelves)
    ref: Ref[CacheMessage] = Ref("cache", MAILBOX)
    async with Supervisor([actor_child("index", lambda: TranscriptCache(next(left)), ref=ref)]):
        yield ref


async def test_what_was_learned_is_found_again_off_the_loop() -> None:
    shelf = Shelf()
    async with cache(shelf) as ref:
        assert await ref.ask(Recall(HELLO)) is None
        ref.tell(Learn(HELLO, "hello"))
        assert await ref.ask(Recall(HELLO)) == Recollection("hello", 1.0)
    assert threading.get_ident() not in shelf.threads


async def test_many_who_ask_and_teach_at_once_are_served_one_at_a_time() -> None:
    shelf = Shelf()
    utterances = [Utterance(bytes([number]), 16000, "en-US") for number in range(30)]
    answers: dict[int, Recollection | None] = {}

    async def use(ref: Ref[CacheMessage], number: int) -> None:
        await ref.send(Learn(utterances[number], str(number)))
        answers[number] = await ref.ask(Recall(utterances[number]), timeout=30.0)

    async with cache(shelf) as ref, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(use, ref, number)
    assert answers == {number: Recollection(str(number), 1.0) for number in range(30)}


async def test_what_finds_no_room_is_not_learned() -> None:
    async with cache(Shelf()) as ref:
        for _ in range(MAILBOX.capacity):
            ref.tell(Learn(HELLO, "hello"))
        with pytest.raises(MailboxFull):
            ref.tell(Learn(HELLO, "hello"))


async def test_a_defect_costs_what_was_remembered_and_nothing_else() -> None:
    async with cache(Shelf(), Shelf()) as ref:
        await ref.send(Learn(HELLO, "hello"))
        await ref.send(Learn(POISON, "ouch"))
        assert await ref.ask(Recall(HELLO)) is None


async def test_old_things_are_forgotten_though_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_cache, "FORGET_SECONDS", 0.01)
    shelf = Shelf()
    async with cache(shelf):
        assert await anyio.to_thread.run_sync(shelf.expired.wait, 10.0)
