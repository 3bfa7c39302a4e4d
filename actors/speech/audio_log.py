"""The audio of one session, addressed by sample position, and the cursors that read it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable

from actors.speech.errors import SpoolFailed
from actors.speech.signal import Signal
from actors.speech.spool import Spool

SAMPLE_BYTES = 2  # PCM16 mono
FORCED_SECONDS = 5.0  # forced out at a time: not a gap for each frame, and never much more than need be


class AudioGone(Exception):
    """The audio asked for was settled, or forced out: it cannot be read any more."""


class AudioLog:
    """PCM16 mono without a gap from `start` to `end`, absolute sample positions from the session's first sample.

    The session appends and releases; recognisers read through cursors, so that live audio, a replay after a crash and
    catching up are all the same: reading on from a position.

    Memory holds the newest audio, at most `capacity` samples of it; older audio goes to the spool. Past both bounds,
    or where the spool fails, the oldest is forced out: `start` moves on without `release`, for the session to announce.

    Args:
        sample_rate: Hz.
        capacity: samples held in memory (2 bytes each).
        spool_capacity: samples held on disk besides, in whole seconds; 0: nothing goes to disk.
        spool_directory: where; None: the system's directory for temporary files.
        start: position of the first sample that will be appended.

    Attributes:
        start: position of the oldest sample held.
        end: the position the next appended sample will have.
        trouble: why the spool failed, once for each log; whoever tells of it takes it away.
    """

    def __init__(
        self,
        sample_rate: int,
        capacity: int,
        *,
        spool_capacity: int = 0,
        spool_directory: str | None = None,
        start: int = 0,
    ) -> None:
        self.sample_rate = sample_rate
        self.capacity = capacity
        self.start = start
        self.end = start
        self.ended = False
        self.changed = Signal()  # a mark or the end arrived, or as much audio as is waited for
        self._enough = sys.maxsize  # how far `end` must come for that
        self.released = Signal()  # there is more room
        self.awaited = False  # what comes next was said already: there is no silence before it
        self.held = False  # there is more audio, and whoever has it waits for room
        self.trouble: SpoolFailed | None = None
        self._most = capacity * SAMPLE_BYTES
        self._memory = bytearray()
        self._memory_start = start  # below it, down to `start`, all is in the spool
        self._stretch = min(sample_rate, max(capacity, 1))  # samples that go to the spool at a time
        self._spool = Spool(self._stretch * SAMPLE_BYTES, spool_capacity // self._stretch, spool_directory)
        self._spool_failed = False
        self._forced = max(1, min(int(FORCED_SECONDS * sample_rate), capacity // 4))
        self._marks: list[int] = []

    def append(self, pcm: bytes) -> None:
        """Add whole samples at `end`.

        Raises:
            ValueError: half a sample, or the log was closed.
        """
        if len(pcm) % SAMPLE_BYTES or self.ended:
            raise ValueError("append needs whole samples" if not self.ended else "the log is closed")
        self._memory += pcm
        self.end += len(pcm) // SAMPLE_BYTES
        if len(self._memory) > self._most:
            self._relieve_memory()
        if self.end >= self._enough:
            self._enough = sys.maxsize
            self.changed.notify()

    def wait(self, until: int) -> Awaitable[None]:
        """Sleep until `end` has come to `until`, or something else is new: a mark, or the end of the audio."""
        self._enough = min(self._enough, until)
        return self.changed.wait()

    def mark(self) -> None:
        """Ask for the utterance's end at the present `end`; every reader is told when it gets there."""
        if not self._marks or self._marks[-1] != self.end:
            self._marks.append(self.end)
        self.changed.notify()

    def close(self) -> None:
        """No more audio will come."""
        self.ended = True
        self.changed.notify()

    def read(self, position: int, most: int) -> bytes:
        """Samples from `position` on: up to `most`, at least one unless `position` is the end.

        Raises:
            AudioGone: `position` lies before `start`.
        """
        if position < self.start:
            raise AudioGone(f"samples below {self.start} are gone, {position} was asked for")
        if position < self._memory_start:
            return self._read_spool(position, most)
        first = (position - self._memory_start) * SAMPLE_BYTES
        return bytes(self._memory[first : first + most * SAMPLE_BYTES])

    def copy(self, start: int, end: int) -> bytes:
        """All samples from `start` to `end`.

        Raises:
            AudioGone: some of them are gone.
        """
        pieces: list[bytes] = []
        position = start
        while position < end and (piece := self.read(position, end - position)):
            pieces.append(piece)
            position += len(piece) // SAMPLE_BYTES
        return b"".join(pieces)

    def release(self, position: int) -> None:
        """Forget what lies below `position`: it is settled."""
        position = min(position, self.end)
        if position <= self.start:
            return
        if position >= self._memory_start:
            self._spool.clear()
            del self._memory[: (position - self._memory_start) * SAMPLE_BYTES]
            self._memory_start = position
        else:
            self._spool.drop((position - self._spool_start) // self._stretch)
        self.start = position
        self._marks = [mark for mark in self._marks if mark > position]
        self.released.notify()

    def next_mark(self, position: int) -> int | None:
        """The first mark at or after `position`."""
        if not self._marks:  # as nearly always
            return None
        return next((mark for mark in self._marks if mark >= position), None)

    # ---- memory and disk

    @property
    def _spool_start(self) -> int:
        return self._memory_start - len(self._spool) * self._stretch

    def _relieve_memory(self) -> None:
        while len(self._memory) > self._most:
            if self._spool.full or not self._spill():
                self.release(self.start + self._forced)

    def _spill(self) -> bool:
        """Move the oldest stretch of memory to disk; False when that fails."""
        size = self._spool.stretch
        try:
            self._spool.append(bytes(self._memory[:size]))
        except SpoolFailed as error:
            self._failed(error)
            return False
        del self._memory[:size]
        self._memory_start += self._stretch
        return True

    def _read_spool(self, position: int, most: int) -> bytes:
        index, offset = divmod(position - self._spool_start, self._stretch)
        try:
            return self._spool.read(index, offset * SAMPLE_BYTES, most * SAMPLE_BYTES)
        except SpoolFailed as error:
            self._failed(error)
            self.release(self._memory_start)
            raise AudioGone(f"samples below {self.start} could not be read again") from error

    def _failed(self, error: SpoolFailed) -> None:
        if not self._spool_failed:
            self._spool_failed = True
            self.trouble = error


class Cursor:
    """One reader's place in the log."""

    def __init__(self, log: AudioLog, position: int) -> None:
        self.position = position
        self.log = log
        self._passed = -1  # the last mark that was taken

    @property
    def behind(self) -> int:
        """Samples that wait to be read."""
        return self.log.end - self.position

    @property
    def at_end(self) -> bool:
        """True when everything was read and no more will come."""
        return self.log.ended and self.behind == 0 and not self._mark_here()

    def read(self, most: int) -> bytes:
        """Up to `most` samples, never past a mark that was not taken yet.

        Raises:
            AudioGone: what comes next was forced out of the log.
        """
        mark = self.log.next_mark(max(self.position, self._passed + 1))
        pcm = self.log.read(self.position, most if mark is None else min(most, mark - self.position))
        self.position += len(pcm) // SAMPLE_BYTES
        return pcm

    @property
    def is_bounded(self) -> bool:
        """There is no reason to wait for more to read: what is there ends at a mark, or all of it is there."""
        return self.log.ended or self.log.next_mark(max(self.position, self._passed + 1)) is not None

    def take_mark(self) -> bool:
        """True once for each mark, when the cursor stands on it."""
        if not self._mark_here():
            return False
        self._passed = self.position
        return True

    def wait(self, samples: int = 1) -> Awaitable[None]:
        """Sleep until there is something new: a mark, the end, or so much audio to read."""
        return self.log.wait(self.position + samples)

    def _mark_here(self) -> bool:
        return self._passed < self.position and self.log.next_mark(self.position) == self.position
