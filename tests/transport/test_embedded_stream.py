"""One call's results, with an engine that answers at once or when it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from transport.audio.formats import Encoding
from transport.embedded.config import Settings
from transport.embedded.engine import Engine
from transport.embedded.hypothesis import Hypothesis, SpokenWord
from transport.embedded.scheduler import Scheduler
from transport.embedded.stream import MAX_OUTPUTS, Stream
from transport.embedded.utterance import Endpointing
from transport.embedded.vad import WINDOW

pytestmark = pytest.mark.anyio

SECOND = 32_000  # bytes
LEVEL = 29_491  # 0.9 of full scale: what the fake detector takes for speech


class FakeEngine:
    """Hears as many words as an utterance has windows, and may be held."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.decoded: list[int] = []
        self.error: Exception | None = None
        self.sure = [0.9]  # probabilities of the coming hypotheses; the last one stays

    def listener(self) -> Any:
        return lambda window: float(window[0])

    def decode(self, samples: npt.NDArray[np.float32]) -> Hypothesis:
        assert self.free.wait(10)
        if self.error:
            raise self.error
        self.decoded.append(len(samples) // WINDOW)
        sure = self.sure.pop(0) if len(self.sure) > 1 else self.sure[0]
        return Hypothesis(tuple(SpokenWord(f"w{n}", sure) for n in range(len(samples) // WINDOW // 4)))

    def align(self, samples: npt.NDArray[np.float32], hypothesis: Hypothesis) -> list[tuple[float, float]]:
        return [(0.1 * n, 0.1 * n + 0.1) for n in range(len(hypothesis.words))]


@asynccontextmanager
async def opened(engine: FakeEngine, *, interims: bool = True) -> AsyncIterator[tuple[Stream, asyncio.Queue[Any]]]:
    settings = Settings(
        encoding=Encoding.PCM16,
        rate=16_000,
        interims=interims,
        word_times=True,
        punctuate=True,
        endpointing=Endpointing(),
    )
    results: asyncio.Queue[Any] = asyncio.Queue()
    async with Scheduler(1) as scheduler:
        stream = Stream(settings, cast(Engine, engine), scheduler)
        collecting = asyncio.create_task(collect(stream, results))
        try:
            yield stream, results
        finally:
            engine.free.set()
            collecting.cancel()
            await asyncio.wait({collecting})
            stream.close()


async def collect(stream: Stream, results: asyncio.Queue[Any]) -> None:
    try:
        async for result in stream.results():
            results.put_nowait(result)
        results.put_nowait("end")
    except Exception as exc:  # handed to the test
        results.put_nowait(exc)


async def rest(results: asyncio.Queue[Any]) -> list[Any]:
    """Everything up to the end."""
    found = []
    while not isinstance(found[-1] if found else None, str | Exception):
        found.append(await results.get())
    return found


def speech(windows: int) -> bytes:
    return np.full(windows * WINDOW, LEVEL, "<i2").tobytes()


def silence(windows: int) -> bytes:
    return bytes(windows * WINDOW * 2)


def shown(result: Any) -> tuple[str, int, float]:
    kind = "final" if result.is_final else "interim" if result.alternatives else "progress"
    words = len(result.alternatives[0].transcript.split()) if result.alternatives else 0
    return kind, words, round(result.stability, 2)


async def test_interims_grow_the_early_end_is_stable_and_the_final_says_the_same() -> None:
    async with opened(FakeEngine()) as (stream, results):
        await stream.hear(speech(12))
        first = await results.get()
        await stream.hear(speech(16))
        second = await results.get()
        await stream.hear(silence(25))
        await stream.finish()
        found = [shown(result) for result in [first, second, *(await rest(results))[:-1]]]
    assert found == [
        ("interim", 3, 0.1),
        ("interim", 7, 0.39),
        ("interim", 9, 1.0),
        ("final", 9, 0.0),
        ("progress", 0, 0.0),
    ]


async def test_a_final_that_was_decoded_early_is_not_decoded_again() -> None:
    engine = FakeEngine()
    async with opened(engine, interims=False) as (stream, results):
        await stream.hear(speech(20) + silence(30))
        await stream.finish()
        finals = [result for result in (await rest(results))[:-1] if result.is_final]
    assert engine.decoded == [28]
    times = [(word.start_time, word.end_time) for word in finals[0].alternatives[0].words]
    assert times == [(n * 100, n * 100 + 100) for n in range(6)] + [(600, 700)]


async def test_what_the_engine_has_no_time_for_is_interims_never_finals() -> None:
    engine = FakeEngine()
    engine.free.clear()
    async with opened(engine) as (stream, results):
        await stream.hear(speech(30) + silence(30) + speech(30) + silence(30))
        engine.free.set()
        await stream.finish()
        found = [shown(result) for result in (await rest(results))[:-1]]
    assert [one for one in found if one[0] == "final"] == [("final", 9, 0.0), ("final", 10, 0.0)]
    assert engine.decoded[-2:] == [38, 43]
    assert len(engine.decoded) <= 3  # the one interim that was in hand while the engine was held


async def test_a_recording_sent_at_once_costs_few_interims() -> None:
    engine = FakeEngine()
    async with opened(engine) as (stream, results):
        await stream.hear(speech(300) + silence(30))
        await stream.finish()
        await rest(results)
    assert len(engine.decoded) <= 4  # two or three before it is clear that nobody is speaking, and the final


async def test_a_client_that_sends_too_much_waits() -> None:
    engine = FakeEngine()
    engine.free.clear()
    async with opened(engine, interims=False) as (stream, results):
        utterances = 2 * MAX_OUTPUTS
        sending = asyncio.create_task(stream.hear((speech(10) + silence(30)) * utterances))
        for _ in range(500):  # far more turns of the loop than the whole of it would take
            await asyncio.sleep(0)
        assert not sending.done()
        engine.free.set()
        await sending
        await stream.finish()
        finals = [result for result in (await rest(results))[:-1] if result.is_final]
    assert len(finals) == utterances


async def test_a_crash_of_the_model_ends_the_stream_with_it() -> None:
    engine = FakeEngine()
    engine.error = ZeroDivisionError("model")
    async with opened(engine, interims=False) as (stream, results):
        await stream.hear(speech(20) + silence(30))
        assert repr((await rest(results))[-1]) == "ZeroDivisionError('model')"


async def test_an_utterance_that_was_noise_is_no_final() -> None:
    engine = FakeEngine()
    engine.sure = [0.2]
    async with opened(engine) as (stream, results):
        await stream.hear(speech(10) + silence(30))
        await stream.finish()
        assert [shown(result) for result in (await rest(results))[:-1]] == [("progress", 0, 0.0)] * 2


async def test_an_empty_final_takes_back_the_interim_of_an_utterance_that_was_noise() -> None:
    engine = FakeEngine()
    engine.sure = [0.9, 0.2]
    async with opened(engine) as (stream, results):
        await stream.hear(speech(13))
        assert shown(await results.get()) == ("interim", 3, 0.1)
        await stream.hear(silence(30))
        await stream.finish()
        assert [shown(result) for result in (await rest(results))[:-1]] == [("final", 0, 0.0), ("progress", 0, 0.0)]


async def test_forcing_during_silence_is_answered() -> None:
    async with opened(FakeEngine()) as (stream, results):
        await stream.hear(silence(3))
        await stream.force()
        result = await results.get()
    assert shown(result) == ("progress", 0, 0.0)
    assert result.audio_processed == pytest.approx(0.096)
