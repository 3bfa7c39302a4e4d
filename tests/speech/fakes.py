"""A backend in memory that recognises word-coded audio, and fails as it is told.

Word number k is a run of samples that all have the value k; zeros are silence. So whatever range of samples is lost,
doubled or cut shows in the words.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby

import anyio

from actors.speech.errors import SpeechError
from actors.speech.ports import Recognised, RecognitionConfig, Tier, Word

RATE = 1000  # of no real recording, but positions are positions, and these are few
WORD = RATE // 5  # samples of a word
GAP = RATE // 20  # … and of the silence after it
PAUSE = RATE // 2  # silence that ends an utterance


def speech(first: int, words: int, pause: int = PAUSE) -> bytes:
    """One utterance of `words` words, numbered from `first`, and the silence after it."""
    spoken = b"".join(number.to_bytes(2, "little") * WORD + bytes(2 * GAP) for number in range(first, first + words))
    return spoken + bytes(2 * pause)


class FakeBackend:
    """Recognises word-coded audio.

    Args:
        fail: asked before each chunk with the stream's number and the samples it heard; the error it returns is raised.
        room: streams at a time.
        delay: seconds that each result takes.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        fail: Callable[[int, int], SpeechError | None] = lambda stream, heard: None,
        tier: Tier = Tier.PRIMARY,
        room: int = 100,
        delay: float = 0.0,
    ) -> None:
        self.name = name
        self.tier = tier
        self.max_streams = room
        self.catch_up = 4.0
        self.opened = 0
        self.live = 0
        self._fail = fail
        self._delay = delay

    @asynccontextmanager
    async def open(self, config: RecognitionConfig, *, label: str) -> AsyncGenerator[FakeStream, None]:
        self.opened += 1
        if (error := self._fail(self.opened, 0)) is not None:
            raise error
        self.live += 1
        stream = FakeStream(self.opened, self._fail, self._delay)
        try:
            yield stream
        finally:
            stream.close()
            self.live -= 1


class FakeStream:
    def __init__(self, number: int, fail: Callable[[int, int], SpeechError | None], delay: float) -> None:
        self._delay = delay
        self._number = number
        self._fail = fail
        self._heard: list[int] = []
        self._settled = 0
        self._silent = 0  # samples since the last word
        self._results, self._out = anyio.create_memory_object_stream[Recognised | SpeechError](1000)

    async def send(self, pcm: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if (error := self._fail(self._number, len(self._heard))) is not None:
            self._results.send_nowait(error)
            raise error
        for index in range(0, len(pcm), 2):
            sample = int.from_bytes(pcm[index : index + 2], "little")
            self._heard.append(sample)
            self._silent = 0 if sample else self._silent + 1
            if self._silent == PAUSE:
                self._final()
        if self._words():
            self._results.send_nowait(self._result(is_final=False))

    async def force_final(self) -> None:
        self._final()

    async def finish(self) -> None:
        self._final()
        self._results.close()

    def close(self) -> None:
        self._results.close()
        self._out.close()

    async def __aiter__(self) -> AsyncIterator[Recognised]:
        async for result in self._out:
            if isinstance(result, SpeechError):
                raise result
            await anyio.sleep(self._delay if result.is_final else 0.0)
            yield result

    def _final(self) -> None:
        if self._words():
            self._results.send_nowait(self._result(is_final=True))
        self._settled = len(self._heard)

    def _result(self, *, is_final: bool) -> Recognised:
        words = self._words()
        text = " ".join(word.text for word in words)
        return Recognised(is_final=is_final, text=text, words=words, processed=len(self._heard))

    def _words(self) -> tuple[Word, ...]:
        position, words = self._settled, []
        for value, run in groupby(self._heard[self._settled :]):
            length = len(list(run))
            if value:
                words.append(Word(str(value), position, position + length, 1.0))
            position += length
        return tuple(words)
