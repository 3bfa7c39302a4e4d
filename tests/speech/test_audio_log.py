"""The audio log and its cursors: positions, marks, bounds."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.audio_log import AudioGone, AudioLog, Cursor
from tests.speech.spools import open_spools


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
    with pytest.raises(AudioGone, match="samples below 4 are gone, 3 was asked for"):
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


# ---- past memory: the disk, and past the disk: nothing

SECOND = 100  # samples a second, so that a stretch on disk is 200 bytes


def spooled(seconds: int, spool_seconds: int, memory_seconds: int = 20, **options: str) -> AudioLog:
    """A log into which `seconds` were appended while nobody settled anything."""
    log = AudioLog(SECOND, memory_seconds * SECOND, spool_capacity=spool_seconds * SECOND, **options)
    for _ in range(seconds):
        log.append(pcm(log.end, SECOND))
    return log


def read_all(log: AudioLog) -> bytes:
    cursor, heard = Cursor(log, log.start), b""
    while audio := cursor.read(30):
        heard += audio
    return heard


def test_what_memory_cannot_hold_is_read_from_disk_again() -> None:
    log = spooled(70, spool_seconds=60)
    assert (log.start, log.end, read_all(log)) == (0, 7000, pcm(0, 7000))
    log.release(log.end)


def test_past_memory_and_disk_the_oldest_five_seconds_go() -> None:
    log = spooled(81, spool_seconds=60)
    assert (log.start, read_all(log)) == (500, pcm(500, 7600))
    log.release(log.end)


def test_without_a_spool_memory_alone_decides() -> None:
    log = spooled(21, spool_seconds=0)
    assert (log.start, read_all(log)) == (500, pcm(500, 1600))


def test_a_cursor_whose_audio_was_forced_out_is_told_and_never_skips() -> None:
    log = AudioLog(SECOND, 20 * SECOND)
    cursor = Cursor(log, 0)
    log.append(pcm(0, 19 * SECOND))
    assert cursor.read(SECOND) == pcm(0, SECOND)
    log.append(pcm(log.end, 2 * SECOND))
    with pytest.raises(AudioGone):
        cursor.read(SECOND)


def test_the_spool_is_a_file_without_a_name_and_goes_with_its_audio(tmp_path: Path) -> None:
    log = spooled(30, spool_seconds=60, spool_directory=str(tmp_path))
    assert (open_spools(tmp_path), list(tmp_path.iterdir())) == ([10 * SECOND * 2], [])
    log.release(10 * SECOND)  # the rest is in memory
    assert open_spools(tmp_path) == []


def test_the_file_is_never_longer_than_what_was_held_at_a_time(tmp_path: Path) -> None:
    """Hours behind by twenty seconds more than memory holds: places in the file are used again."""
    log = spooled(40, spool_seconds=60, spool_directory=str(tmp_path))
    sizes = []
    for _ in range(200):
        log.append(pcm(log.end, SECOND))
        log.release(log.start + SECOND)
        sizes += open_spools(tmp_path)
    assert read_all(log) == pcm(log.start, 40 * SECOND)
    assert max(sizes) <= 22 * SECOND * 2
    log.release(log.end)


def test_a_directory_that_cannot_be_written_leaves_memory_alone_to_decide(tmp_path: Path) -> None:
    log = spooled(21, spool_seconds=60, spool_directory=str(tmp_path / "missing"))
    assert (log.start, read_all(log)) == (500, pcm(500, 1600))
    assert str(log.trouble) == (
        "AUDIO_006 AUDIO_SPOOL_FAILED: the audio spool cannot be written: no such file or directory"
    )


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Every file of this process is full at `size` bytes, as on a full disk."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def test_a_full_disk_bounds_the_spool_by_what_it_took() -> None:
    with file_size_limit(10 * SECOND * 2 + 50):
        log = spooled(37, spool_seconds=60)
    assert "file too large" in str(log.trouble)
    assert log.start == 10 * SECOND  # 37 s in 20 of memory and 10 of disk, given up by five
    assert read_all(log) == pcm(log.start, 27 * SECOND)
    log.release(log.end)


def test_what_cannot_be_read_back_is_forced_out(monkeypatch: pytest.MonkeyPatch) -> None:
    log = spooled(40, spool_seconds=60)
    cursor = Cursor(log, 0)
    monkeypatch.setattr(os, "pread", broken_disk)
    with pytest.raises(AudioGone, match="samples below 2000 could not be read again"):
        cursor.read(SECOND)
    assert str(log.trouble) == "AUDIO_006 AUDIO_SPOOL_FAILED: the audio spool cannot be read: input/output error"
    assert (log.start, read_all(log)) == (2000, pcm(2000, 2000))
    log.append(pcm(log.end, SECOND))  # and memory alone decides from now on
    assert (log.start, log.end) == (2500, 4100)


def broken_disk(*_: object) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


class Append(msgspec.Struct, frozen=True):
    samples: int


class Read(msgspec.Struct, frozen=True):
    cursor: int
    most: int


class Release(msgspec.Struct, frozen=True):
    part: float  # of what is held


class Rewind(msgspec.Struct, frozen=True):
    cursor: int


STEPS = st.lists(
    st.one_of(
        st.builds(Append, st.integers(0, 400)),
        st.builds(Read, st.integers(0, 2), st.integers(1, 300)),
        st.builds(Release, st.floats(0, 1)),
        st.builds(Rewind, st.integers(0, 2)),
    ),
    max_size=60,
)


@given(
    steps=STEPS,
    memory=st.integers(1, 600),
    disk=st.integers(0, 900),
    fails_after=st.none() | st.integers(0, 8),
    unreadable_after=st.none() | st.integers(0, 8),
)
def test_every_sample_is_read_as_it_came_or_lies_below_a_start_that_moved(
    steps: list[Append | Read | Release | Rewind],
    memory: int,
    disk: int,
    fails_after: int | None,
    unreadable_after: int | None,
) -> None:
    """Three cursors at places of their own, over a disk that may begin to fail at any of its reads or writes."""
    log = AudioLog(SECOND, memory, spool_capacity=disk)
    cursors = [Cursor(log, 0) for _ in range(3)]
    with failing_disk(writes=fails_after, reads=unreadable_after):
        for step in steps:
            start = log.start
            match step:
                case Append(samples):
                    log.append(pcm(log.end, samples))
                    assert log.end - log.start <= memory + disk
                case Read(number, most):
                    check_read(log, cursors[number], most)
                case Release(part):
                    log.release(log.start + int(part * (log.end - log.start)))
                case Rewind(number):
                    cursors[number] = Cursor(log, log.start)
            assert log.start >= start
            assert held_in_memory(log) <= memory * 2
        log.release(log.end)


def check_read(log: AudioLog, cursor: Cursor, most: int) -> None:
    """A read gives exactly what was appended there, or says that it is gone, and then it is."""
    position = cursor.position
    try:
        audio = cursor.read(most)
    except AudioGone:
        assert cursor.position == position < log.start
    else:
        assert position >= log.start
        assert audio == pcm(position, len(audio) // 2)
        assert bool(audio) == (position < log.end)
        assert len(audio) <= most * 2


def held_in_memory(log: AudioLog) -> int:
    return len(log._memory)


@contextmanager
def failing_disk(writes: int | None, reads: int | None) -> Iterator[None]:
    """After so many good ones, every write or read fails."""
    good = {"pwrite": writes, "pread": reads}

    def guarded(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def operate(*args: object) -> object:
            left = good[name]
            if left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            good[name] = None if left is None else left - 1
            return call(*args)

        return operate

    with pytest.MonkeyPatch.context() as patch:
        for name in good:
            patch.setattr(os, name, guarded(name, getattr(os, name)))
        yield
