"""Audio goes to a backend in whole steps of its model, and nothing that a step is not made up for waits for long."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.speech.audio_log import AudioLog, Cursor
from actors.speech.listening import HELD_SECONDS, LOOK_SECONDS
from tests.speech.fakes import RATE, WORD, FakeBackend, speech
from tests.speech.test_sessions import CONFIG, numbers, running, told, until_said, words

STEP = RATE // 10  # samples
FRAME = RATE // 50  # 20 ms


def frames(audio: bytes) -> list[bytes]:
    return [audio[start : start + 2 * FRAME] for start in range(0, len(audio), 2 * FRAME)]


async def test_short_frames_go_out_as_whole_steps_and_every_word_comes() -> None:
    backend, audio = FakeBackend(step=0.1), speech(1, 8)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        for frame in frames(audio):
            await session.audio(frame)
            await anyio.sleep(0.02)
        await session.stop()
        events = await told(session)
    assert words(events) == numbers(1, 8)
    assert set(backend.messages[:-1]) == {STEP}
    assert sum(backend.messages) == len(audio) // 2


async def test_a_backend_without_a_step_is_sent_each_frame_at_once() -> None:
    backend = FakeBackend(step=0.0)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        for frame in frames(speech(1, 2)):
            await session.audio(frame)
            await anyio.sleep(0.02)
        await session.stop()
        await told(session)
    assert set(backend.messages) == {FRAME}


async def test_the_rest_of_a_step_is_sent_when_the_client_pauses() -> None:
    backend, audio = FakeBackend(step=0.1), speech(1, 1, pause=0)[: 2 * (STEP + FRAME)]
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(audio[: 2 * STEP])
        await anyio.sleep(0.01)
        await session.audio(audio[2 * STEP :])
        await anyio.sleep(LOOK_SECONDS + HELD_SECONDS)
        assert backend.messages == [STEP, FRAME]
        session.disconnected()


async def test_an_utterance_that_is_ended_by_force_is_sent_whole_first() -> None:
    backend, audio = FakeBackend(step=0.1), speech(7, 1, pause=0)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(audio[: 2 * (WORD + FRAME)])
        began = anyio.current_time()
        await session.finalize()
        await until_said(session, "7")
        assert anyio.current_time() - began < HELD_SECONDS
        session.disconnected()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 3 * STEP), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.1, 0.16]),
    st.lists(st.integers(0, 3), min_size=40, max_size=40),
)
def test_however_audio_is_cut_a_reader_that_waits_for_steps_hears_all_of_it(
    sizes: list[int], step: float, pauses: list[int]
) -> None:
    """A reader as `Listening` is one, over a log that grows in pieces of any length."""
    log, missing = AudioLog(RATE, capacity=1 << 20), max(1, int(step * RATE))
    cursor, read = Cursor(log, 0), []

    async def reading() -> None:
        while not cursor.at_end:
            if (log.ended or cursor.behind >= missing) and (pcm := cursor.read(missing)):
                read.append(pcm)
            else:
                await cursor.wait(missing)

    async def main() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reading)
                for number, size in enumerate(sizes):
                    log.append((number % 256).to_bytes(2, "little") * size)
                    for _ in range(pauses[number]):
                        await anyio.lowlevel.checkpoint()
                log.close()

    anyio.run(main)
    assert b"".join(read) == b"".join((n % 256).to_bytes(2, "little") * size for n, size in enumerate(sizes))
    assert all(len(pcm) == 2 * missing for pcm in read[:-1])


async def test_a_reader_is_woken_once_for_all_it_waits_for() -> None:
    log = AudioLog(RATE, capacity=RATE)
    cursor, woken = Cursor(log, 0), []

    async def watch() -> None:
        await cursor.wait(STEP)
        woken.append(log.end)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for _ in range(5):
            await anyio.sleep(0.02)
            log.append(bytes(2 * FRAME))
    assert woken == [STEP]


@pytest.mark.parametrize("waits", [(STEP, 3 * STEP), (3 * STEP, STEP)])
async def test_two_readers_are_each_woken_in_time(waits: tuple[int, int]) -> None:
    """As while one stream replaces another."""
    log = AudioLog(RATE, capacity=RATE)
    woken: dict[int, int] = {}

    async def watch(samples: int) -> None:
        while log.end < samples:
            await log.wait(samples)
        woken[samples] = log.end

    async with anyio.create_task_group() as tasks:
        for samples in waits:
            tasks.start_soon(watch, samples)
        for _ in range(20):
            await anyio.sleep(0.02)
            log.append(bytes(2 * FRAME))
    assert woken == {STEP: STEP, 3 * STEP: 3 * STEP}
