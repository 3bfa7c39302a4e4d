"""Between a stream's clock and its session's: the stream also counts the silence that we filled in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class StreamClock:
    """A piecewise map from positions in one stream to positions in its session, both in samples from their start.

    Audio advances both clocks, filled silence the stream's alone: all of it maps to the one place in the session
    where it was put in.

    Args:
        origin: the session position at which the stream begins.
    """

    def __init__(self, origin: int) -> None:
        self.sent = origin  # the session position up to which the stream was given audio
        self.length = 0  # samples the stream was given, silence included
        self._begins = [0]  # in the stream: where each piece of audio begins …
        self._places = [origin]  # … and which session position that is
        self._filling = False  # silence was the last thing sent

    def audio(self, samples: int) -> None:
        """The next `samples` of the session were sent."""
        if self._filling and samples:
            self._begins.append(self.length)
            self._places.append(self.sent)
            self._filling = False
        self.length += samples
        self.sent += samples

    def silence(self, samples: int) -> None:
        """Silence was sent that is not in the session."""
        self._filling = self._filling or samples > 0
        self.length += samples

    def position(self, at: int) -> int:
        """The session position of a position in the stream; what lies past its end is taken for its end."""
        return self._place(bisect_right(self._begins, at) - 1, at)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The session positions of a word. One that reaches across filled silence keeps its longer part."""
        first, last = bisect_right(self._begins, start) - 1, bisect_left(self._begins, end) - 1
        if first >= last:
            return self._place(first, start), self._place(first, end)
        piece = max(range(first, last + 1), key=lambda piece: self._shared(piece, start, end))
        return self._place(piece, max(start, self._begins[piece])), self._place(piece, end)

    def fills_near(self, position: int, within: int) -> bool:
        """Whether silence was filled in at most `within` samples from a session position."""
        index = bisect_left(self._places, position - within, lo=1)
        if index < len(self._places) and self._places[index] <= position + within:
            return True
        return self._filling and abs(self.sent - position) <= within

    def _place(self, piece: int, at: int) -> int:
        return min(self._places[piece] + at - self._begins[piece], self._end(piece))

    def _end(self, piece: int) -> int:
        """Where a piece ends in the session: where the next one begins."""
        return self._places[piece + 1] if piece + 1 < len(self._places) else self.sent

    def _shared(self, piece: int, start: int, end: int) -> int:
        """Samples of [start, end) that lie in a piece."""
        begin = self._begins[piece]
        return min(end, begin + self._end(piece) - self._places[piece]) - max(start, begin)
