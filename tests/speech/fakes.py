"""A backend in memory that recognises word-coded audio, and fails as it is told.

Word number k is a run of samples that all have the value k; zeros are silence. So whatever range of samples is lost,
doubled or cut shows in the words.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby

import anyio
import msgspec

from actors.speech.errors import BackendStalled, SpeechError
from actors.speech.journal.body import Bodies
from actors.speech.journal.journal import Journal
from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import JournalStore
from actors.speech.keeping import Keeping
from actors.speech.ports import Recognised, RecognitionConfig, Tier, Word
from supervisor.spec import Child

RATE = 1000  # of no real recording, but positions are positions, and these are few
WORD = RATE // 5  # samples of a word
GAP = RATE // 20  # … and of the silence after it
PAUSE = RATE // 2  # silence that ends an utterance
GRID = RATE * 8 // 100  # of Riva's word times


def speech(first: int, words: int, pause: int = PAUSE) -> bytes:
    """One utterance of `words` words, numbered from `first`, and the silence after it."""
    spoken = b"".join(number.to_bytes(2, "little") * WORD + bytes(2 * GAP) for number in range(first, first + words))
    return spoken + bytes(2 * pause)


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What backends do that is not in the book.

    Attributes:
        finals: gives finals; without, interims go on and on, each with all words since the stream's start.
        forces: ends an utterance when told to; without, it goes on.
        steady: says how far it has heard even when it has no words.
        on_grid: word times are rounded to 80 ms.
        per_utterance: word times begin anew after each final.
        repeats: every so manieth final comes twice; 0: none.
        swaps: every so manieth final comes after the next one; 0: none.
        ends: ends its streams after their audio.
        deaf_after: hears nothing after so many samples; 0: hears everything.
    """

    finals: bool = True
    forces: bool = True
    steady: bool = False
    on_grid: bool = False
    per_utterance: bool = False
    repeats: int = 0
    swaps: int = 0
    ends: bool = True
    deaf_after: int = 0


USUAL = Habits()


class Ear:
    """Recognises one stream, without I/O."""

    def __init__(self, habits: Habits) -> None:
        self.heard = 0  # samples
        self._habits = habits
        self._samples: list[int] = []  # since the last final
        self._settled = 0  # where they begin
        self._silent = 0  # samples since the last word
        self._finals = 0
        self._late: Recognised | None = None

    def hear(self, pcm: bytes) -> list[Recognised]:
        results: list[Recognised] = []
        if 0 < self._habits.deaf_after <= self.heard:
            return results
        for index in range(0, len(pcm), 2):
            sample = int.from_bytes(pcm[index : index + 2], "little")
            self._samples.append(sample)
            self.heard += 1
            self._silent = 0 if sample else self._silent + 1
            if self._silent == PAUSE and self._habits.finals:
                results += self._final()
        words = self._words()
        if words or self._habits.steady:
            text = " ".join(word.text for word in words)
            results.append(Recognised(is_final=False, text=text, processed=self.heard))
        return results

    def force(self) -> list[Recognised]:
        return self._final() if self._habits.finals and self._habits.forces else []

    def finish(self) -> list[Recognised]:
        if self._habits.deaf_after:
            return []
        results = self._final() if self._habits.finals else []
        return results if self._late is None else [*results, self._late]

    def _final(self) -> list[Recognised]:
        words = self._words()
        if not words:
            return []
        self._samples, self._settled = [], self.heard
        text = " ".join(word.text for word in words)
        final = Recognised(is_final=True, text=text, words=words, processed=self.heard)
        self._finals += 1
        if self._late is not None:
            results, self._late = [final, self._late], None
        elif self._is_turn(self._habits.swaps):
            results, self._late = [], final
        else:
            results = [final]
        return results * 2 if self._is_turn(self._habits.repeats) else results

    def _is_turn(self, every: int) -> bool:
        return every > 0 and self._finals % every == 0

    def _words(self) -> tuple[Word, ...]:
        position, words = 0 if self._habits.per_utterance else self._settled, []
        for value, run in groupby(self._samples):
            length = len(list(run))
            if value:
                words.append(Word(str(value), self._time(position), self._time(position + length), 1.0))
            position += length
        return tuple(words)

    def _time(self, position: int) -> int:
        return (position + GRID // 2) // GRID * GRID if self._habits.on_grid else position


class FakeBackend:
    """Recognises word-coded audio.

    Args:
        fail: asked before each chunk with the stream's number and the samples it heard; the error it returns is raised.
        room: streams at a time.
        delay: seconds that each result takes.
        opening: asked for the seconds that the stream of this number takes to open.
        habits: of all its streams, or of the stream of this number.
        quota_key: its name if empty.
        answer: what it says to the question whether it works: None if so, else what is wrong. May be replaced.

    Attributes:
        asked: the times of those questions.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        fail: Callable[[int, int], SpeechError | None] = lambda stream, heard: None,
        tier: Tier = Tier.PRIMARY,
        room: int = 100,
        delay: float = 0.0,
        opening: Callable[[int], float] = lambda stream: 0.0,
        habits: Habits | Callable[[int], Habits] = USUAL,
        max_stream_age: float = float("inf"),
        step: float = 0.0,
        quota_key: str = "",
        answer: Callable[[], SpeechError | None] = lambda: None,
    ) -> None:
        self.name = name
        self.quota_key = quota_key or name
        self.answer = answer
        self.asked: list[float] = []
        self.tier = tier
        self.max_streams = room
        self.catch_up = 4.0
        self.max_stream_age = max_stream_age
        self.step = step
        self.opened = 0
        self.live = 0
        self.messages: list[int] = []  # samples of each one that any stream was sent
        self._fail = fail
        self._delay = delay
        self._opening = opening
        self._habits = habits

    @asynccontextmanager
    async def open(self, config: RecognitionConfig, *, label: str) -> AsyncGenerator[FakeStream, None]:
        self.opened += 1
        number = self.opened
        await anyio.sleep(self._opening(number))
        if (error := self._fail(number, 0)) is not None:
            raise error
        self.live += 1
        habits = self._habits if isinstance(self._habits, Habits) else self._habits(number)
        stream = FakeStream(self, number, self._fail, self._delay, habits)
        try:
            yield stream
        finally:
            stream.close()
            self.live -= 1

    async def probe(self) -> None:
        self.asked.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()
        if (error := self.answer()) is not None:
            raise error


class FakeStream:
    def __init__(
        self,
        backend: FakeBackend,
        number: int,
        fail: Callable[[int, int], SpeechError | None],
        delay: float,
        habits: Habits,
    ) -> None:
        self._backend = backend
        self._number = number
        self._fail = fail
        self._delay = delay
        self._ear = Ear(habits)
        self._ends = habits.ends
        self._results, self._out = anyio.create_memory_object_stream[Recognised | SpeechError](1000)

    async def send(self, pcm: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if (error := self._fail(self._number, self._ear.heard)) is not None:
            self._results.send_nowait(error)
            raise error
        self._backend.messages.append(len(pcm) // 2)
        self._tell(self._ear.hear(pcm))

    async def force_final(self) -> None:
        self._tell(self._ear.force())

    async def finish(self) -> None:
        self._tell(self._ear.finish())
        if self._ends:
            self._results.close()
        else:
            await anyio.sleep(5)
            self._results.send_nowait(BackendStalled("no end within 5 s of the end of the audio"))

    def close(self) -> None:
        self._results.close()
        self._out.close()

    async def __aiter__(self) -> AsyncIterator[Recognised]:
        async for result in self._out:
            if isinstance(result, SpeechError):
                raise result
            await anyio.sleep(self._delay if result.is_final else 0.0)
            yield result

    def _tell(self, results: list[Recognised]) -> None:
        for result in results:
            self._results.send_nowait(result)


def in_memory(store: JournalStore | None = None, bodies: Bodies | None = None) -> tuple[Keeping, Child]:
    """A journal for sessions, in memory unless said otherwise, and the child that runs it."""
    journal = Journal(store or MemoryStore(clock=anyio.current_time))
    return Keeping(journal, bodies or Bodies()), journal.child()
