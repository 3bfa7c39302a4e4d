"""What a client says, and how far it has been sent."""

from __future__ import annotations

from bisect import bisect_left

from transport.client.ring import Ring
from transport.wire.voxtree_v1_schema import FinalizeMessage, StopMessage

MESSAGE_SECONDS = 0.2  # of audio in one message at most
SLACK = 0.1  # of a full ring given up when coming back, so that it does not overflow again before the server answers


class Track:
    """Audio with the marks where an utterance was to end, kept until it is settled, and read from any position in it.

    Args:
        frame_bytes: bytes of a sample of all channels.
        sample_rate: Hz.
        keep: seconds of audio that are kept.

    Attributes:
        position: the sample to be sent next.
        stopped: nothing follows what there is.
    """

    def __init__(self, *, frame_bytes: int, sample_rate: int, keep: float) -> None:
        self.position = 0
        self.stopped = False
        self._frame_bytes = frame_bytes
        self._message = max(1, int(MESSAGE_SECONDS * sample_rate))  # samples
        self._capacity = max(self._message, int(keep * sample_rate))
        self._ring = Ring(frame_bytes, self._capacity)
        self._marks: list[int] = []
        self._next_mark = 0
        self._stop_sent = False
        self._durable = 0
        self._catch_up_from, self._catch_up_to, self._began, self._credit = 0, 0, 0.0, 0

    @property
    def start(self) -> int:
        """The first sample that is still there."""
        return self._ring.start

    @property
    def end(self) -> int:
        """Behind the last sample."""
        return self._ring.end

    def append(self, audio: bytes, *, drops: bool) -> int:
        """Keep audio that follows: how many bytes were taken. `drops`: all, at the cost of the oldest; else what fits.

        Raises:
            ValueError: it does not end with a whole sample.
        """
        whole = len(audio) % self._frame_bytes == 0
        taken = audio if drops or not whole else audio[: self._ring.room]
        self._ring.append(taken)
        return len(taken)

    def mark(self) -> None:
        """End an utterance at the last sample."""
        if not self._marks or self._marks[-1] < self.end:
            self._marks.append(self.end)

    def settle(self, durable: int) -> None:
        """Nobody will ask for anything below `durable`."""
        self._durable = max(self._durable, durable)
        self._ring.forget(min(durable, self.position))
        settled = bisect_left(self._marks, self._durable)
        del self._marks[:settled]
        self._next_mark = max(0, self._next_mark - settled)

    def make_room(self) -> None:
        """After an overflow: give up a little more, so that the next is not at once."""
        if self.start > self._durable:
            self._ring.forget(self.end - int((1 - SLACK) * self._capacity))

    def rewind(self, position: int, now: float, credit: int = 0) -> None:
        """Go on from a position; what is there now comes at `credit` samples a second (0: at once)."""
        self.position = position
        self._next_mark = bisect_left(self._marks, position)
        self._stop_sent = False
        self._catch_up_from, self._catch_up_to, self._began, self._credit = position, self.end, now, credit

    def next_message(self, now: float) -> bytes | FinalizeMessage | StopMessage | None:
        """What to send; None: nothing yet."""
        mark = self._marks[self._next_mark] if self._next_mark < len(self._marks) else None
        if mark is not None and mark <= self.position:
            self._next_mark += 1
            return FinalizeMessage()
        if self.position < self.end:
            return self._audio(mark) if self.pause(now) == 0.0 else None
        if self.stopped and not self._stop_sent:
            self._stop_sent = True
            return StopMessage()
        return None

    def pause(self, now: float) -> float:
        """Seconds until the credit allows for the next message."""
        left = self._catch_up_to - self.position
        if left <= 0 or not self._credit:
            return 0.0
        due = self.position + min(left, self._message) - self._catch_up_from
        return max(0.0, self._began + due / self._credit - now)

    def _audio(self, mark: int | None) -> bytes:
        end = min(self.position + self._message, self.end if mark is None else mark)
        start, self.position = self.position, min(end, self.end)
        return self._ring.read(start, self.position)
