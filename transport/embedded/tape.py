"""The stretch of audio an utterance may still need, addressed by absolute position."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


class Tape:
    """Samples from `start` up to `end`, both counted from the stream's first sample."""

    def __init__(self) -> None:
        self._buffer = np.empty(16_384, np.float32)
        self._origin = 0  # the position of the buffer's first sample
        self.start = 0
        self.end = 0

    def append(self, samples: Samples) -> None:
        if self.end - self._origin + len(samples) > len(self._buffer):
            self._make_room(len(samples))
        at = self.end - self._origin
        self._buffer[at : at + len(samples)] = samples
        self.end += len(samples)

    def forget(self, before: int) -> None:
        """Samples below `before` are needed no more."""
        self.start = max(self.start, min(before, self.end))

    def window(self, start: int, end: int) -> Samples:
        """A view, valid until the next `append`."""
        return self._buffer[start - self._origin : end - self._origin]

    def copy(self, start: int, end: int) -> Samples:
        return self.window(start, end).copy()

    def _make_room(self, count: int) -> None:
        kept = self.window(self.start, self.end)
        size = len(self._buffer)
        while size < len(kept) + count:
            size *= 2
        buffer = np.empty(size, np.float32)
        buffer[: len(kept)] = kept
        self._buffer, self._origin = buffer, self.start
