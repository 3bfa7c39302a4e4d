"""The audio of one session, addressed by sample position, and the cursors that read it."""

from __future__ import annotations

from actors.speech.signal import Signal

SAMPLE_BYTES = 2  # PCM16 mono


class AudioLog:
    """PCM16 mono without a gap from `start` to `end`, absolute sample positions from the session's first sample.

    The session appends and releases; recognisers read through cursors, so that live audio, a replay after a crash and
    catching up are all the same: reading on from a position.

    Args:
        sample_rate: Hz.
        capacity: samples held before `full` asks the client's side to wait (2 bytes each).
    """

    def __init__(self, sample_rate: int, capacity: int) -> None:
        self.sample_rate = sample_rate
        self.capacity = capacity
        self.start = 0
        self.ended = False
        self.changed = Signal()  # audio, a mark or the end arrived
        self.released = Signal()  # `full` may have ended
        self._bytes = bytearray()
        self._marks: list[int] = []

    @property
    def end(self) -> int:
        """The position the next appended sample will have."""
        return self.start + len(self._bytes) // SAMPLE_BYTES

    @property
    def full(self) -> bool:
        """True while more than `capacity` samples wait to be settled: whoever feeds the log should wait."""
        return len(self._bytes) >= self.capacity * SAMPLE_BYTES

    def append(self, pcm: bytes) -> None:
        """Add whole samples at `end`.

        Raises:
            ValueError: half a sample, or the log was closed.
        """
        if len(pcm) % SAMPLE_BYTES or self.ended:
            raise ValueError("append needs whole samples" if not self.ended else "the log is closed")
        self._bytes += pcm
        self.changed.notify()

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
        """Up to `most` samples from `position` on; empty at the end.

        Raises:
            ValueError: `position` lies before `start`: that audio is gone.
        """
        if position < self.start:
            raise ValueError(f"samples below {self.start} were released, {position} was asked for")
        first = (position - self.start) * SAMPLE_BYTES
        return bytes(self._bytes[first : first + most * SAMPLE_BYTES])

    def release(self, position: int) -> None:
        """Forget what lies below `position`: it is settled."""
        settled = min(position, self.end) - self.start
        if settled <= 0:
            return
        del self._bytes[: settled * SAMPLE_BYTES]
        self.start += settled
        self._marks = [mark for mark in self._marks if mark > self.start]
        self.released.notify()

    def next_mark(self, position: int) -> int | None:
        """The first mark at or after `position`."""
        return next((mark for mark in self._marks if mark >= position), None)

    async def room(self) -> None:
        """Wait while the log is full."""
        while self.full:
            await self.released.wait()


class Cursor:
    """One reader's place in the log."""

    def __init__(self, log: AudioLog, position: int) -> None:
        self.position = position
        self._log = log
        self._passed = -1  # the last mark that was taken

    @property
    def behind(self) -> int:
        """Samples that wait to be read."""
        return self._log.end - self.position

    @property
    def at_end(self) -> bool:
        """True when everything was read and no more will come."""
        return self._log.ended and self.behind == 0 and not self._mark_here()

    def read(self, most: int) -> bytes:
        """Up to `most` samples, never past a mark that was not taken yet."""
        mark = self._log.next_mark(max(self.position, self._passed + 1))
        pcm = self._log.read(self.position, most if mark is None else min(most, mark - self.position))
        self.position += len(pcm) // SAMPLE_BYTES
        return pcm

    def take_mark(self) -> bool:
        """True once for each mark, when the cursor stands on it."""
        if not self._mark_here():
            return False
        self._passed = self.position
        return True

    async def wait(self) -> None:
        """Sleep until there is something new: audio, a mark, or the end."""
        await self._log.changed.wait()

    def _mark_here(self) -> bool:
        return self._passed < self.position and self._log.next_mark(self.position) == self.position
