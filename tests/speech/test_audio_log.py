"""The audio log and its cursors: positions, marks, bounds."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.audio_log import AudioLog, Cursor


def pcm(first: int, count: int) -> bytes:
    """Samples that carry their own position, so that a lost or doubled one is seen."""
    return b"".join((number % 65536).to_bytes(2, "little") for number in range(first, first + count))


@given(frames=st.lists(st.integers(1, 400), max_size=20), chunk=st.integers(1, 300), start=st.integers(0, 500))
def test_a_cursor_reads_every_sample_once_whatever_the_frames(frames: list[int], chunk: int, start: int) -> None:
    log = AudioLog(16000, capacity=100_000)
    for length in frames:
        log.append(pcm(log.end, length))
    cursor = Cursor(log, min(start, log.end))
    begin, heard = cursor.position, b""
    while audio := cursor.read(chunk):
        heard += audio
    assert (heard, cursor.position) == (pcm(begin, log.end - begin), log.end)


def test_released_audio_cannot_be_read_again() -> None:
    log = AudioLog(16000, capacity=100)
    log.append(pcm(0, 10))
    log.release(4)
    assert (log.start, log.read(4, 2)) == (4, pcm(4, 2))
    with pytest.raises(ValueError, match="samples below 4 were released, 3 was asked for"):
        log.read(3, 1)


def test_releasing_past_the_end_keeps_the_positions() -> None:
    log = AudioLog(16000, capacity=100)
    log.append(pcm(0, 10))
    log.release(50)
    log.append(pcm(10, 3))
    assert (log.start, log.end, log.read(10, 9)) == (10, 13, pcm(10, 3))


def test_half_a_sample_and_audio_after_the_end_are_refused() -> None:
    log = AudioLog(16000, capacity=100)
    with pytest.raises(ValueError, match="whole samples"):
        log.append(b"\0")
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.append(b"\0\0")


def test_a_read_stops_at_a_mark_and_the_mark_is_taken_once_by_each_cursor() -> None:
    log = AudioLog(16000, capacity=100)
    log.append(pcm(0, 5))
    log.mark()
    log.append(pcm(5, 5))
    for cursor in (Cursor(log, 0), Cursor(log, 2)):
        begin = cursor.position
        assert cursor.read(100) == pcm(begin, 5 - begin)
        assert (cursor.read(100), cursor.take_mark(), cursor.take_mark()) == (b"", True, False)
        assert cursor.read(100) == pcm(5, 5)


def test_a_mark_at_the_very_end_is_taken_before_the_end_is_reached() -> None:
    log = AudioLog(16000, capacity=100)
    log.append(pcm(0, 5))
    log.mark()
    log.close()
    cursor = Cursor(log, 0)
    cursor.read(5)
    assert not cursor.at_end
    assert cursor.take_mark()
    assert cursor.at_end


async def test_a_full_log_lets_its_feeder_go_on_when_audio_is_settled() -> None:
    log = AudioLog(16000, capacity=10)
    log.append(pcm(0, 10))
    passed = []

    async def feed() -> None:
        await log.room()
        passed.append(log.start)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed)
        await anyio.sleep(1)
        assert passed == []
        log.release(3)
    assert passed == [3]


async def test_a_waiting_cursor_wakes_for_audio_a_mark_and_the_end() -> None:
    log = AudioLog(16000, capacity=10)
    cursor = Cursor(log, 0)
    woken = []

    async def watch() -> None:
        for _ in range(3):
            await cursor.wait()
            woken.append((log.end, log.ended))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for change in (lambda: log.append(pcm(0, 2)), log.mark, log.close):
            await anyio.sleep(1)
            change()
    assert woken == [(2, False), (2, False), (2, True)]
