"""Where utterances begin and end, judged by loudness alone: for the time in which no recogniser says it."""

from __future__ import annotations

import msgspec

from actors.speech.audio_log import SAMPLE_BYTES

FRAMES_A_SECOND = 50
LOOKED_AT = 40  # samples of a frame; more would only cost
LOUD = 2.0  # times the background: a frame of speech
BACKGROUND_LEAST = 40.0  # mean magnitude, -58 dBFS; digital silence is no measure
BACKGROUND_RISE = 1.002  # a frame, 10 % a second: it follows a room that grows loud, and hardly a sentence
ONSET = 3  # loud frames in a row that begin an utterance; a click is shorter
PAUSE_SECONDS = 0.8  # that ends one; recognisers use about as much
MARGIN_SECONDS = 0.1  # kept before and after
LONGEST_SECONDS = 30.0  # an utterance is cut there


class Span(msgspec.Struct, frozen=True):
    """Sample positions, as everywhere counted from the session's start."""

    start: int
    end: int


class Utterances:
    """Cuts audio that is fed piece by piece.

    Args:
        sample_rate: Hz.
        position: of the first sample.

    Attributes:
        position: of the sample that is to be fed next.
    """

    def __init__(self, sample_rate: int, position: int) -> None:
        self.position = position
        self._frame = sample_rate // FRAMES_A_SECOND
        self._stride = max(1, self._frame // LOOKED_AT)
        self._pause = int(PAUSE_SECONDS * FRAMES_A_SECOND)
        self._margin = int(MARGIN_SECONDS * sample_rate)
        self._longest = int(LONGEST_SECONDS * sample_rate)
        self._origin = position
        self._rest = b""
        self._background = float("inf")
        self._loud = 0  # frames in a row
        self._quiet = 0
        self._start: int | None = None  # of the utterance that has begun
        self._end = position  # of its last loud frame

    @property
    def settled(self) -> int:
        """Below it nothing belongs to an utterance that is still going on."""
        return self.position if self._start is None else self._start

    def feed(self, pcm: bytes) -> list[Span]:
        """The utterances that end in this piece."""
        data = self._rest + pcm
        size = self._frame * SAMPLE_BYTES
        whole = len(data) - len(data) % size
        samples = memoryview(data[:whole]).cast("h")
        first = self.position - len(self._rest) // SAMPLE_BYTES
        self._rest = data[whole:]
        self.position += len(pcm) // SAMPLE_BYTES
        ended: list[Span] = []
        for start in range(0, len(samples), self._frame):
            part = samples[start : start + self._frame : self._stride].tolist()
            span = self._frame_ended(first + start + self._frame, sum(map(abs, part)) / len(part))
            if span is not None:
                ended.append(span)
        return ended

    def finish(self) -> list[Span]:
        """No more audio comes: the utterance that has not ended, if there is one."""
        return [] if self._start is None else [self._cut()]

    def _frame_ended(self, position: int, level: float) -> Span | None:
        self._background = max(min(self._background * BACKGROUND_RISE, level), BACKGROUND_LEAST)
        if level > LOUD * self._background:
            self._loud, self._quiet = self._loud + 1, 0
            if self._start is None and self._loud >= ONSET:
                self._start = max(self._origin, position - self._loud * self._frame - self._margin)
            self._end = position
        else:
            self._loud, self._quiet = 0, self._quiet + 1
        if self._start is None:
            return None
        if self._quiet >= self._pause or position - self._start >= self._longest:
            return self._cut()
        return None

    def _cut(self) -> Span:
        assert self._start is not None
        span = Span(self._start, min(self._end + self._margin, self.position))
        self._start, self._origin, self._loud, self._quiet = None, span.end, 0, 0
        return span
