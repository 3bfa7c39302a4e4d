"""Short messages of audio wait for each other, so that whoever takes them is woken once for many. No I/O."""

from __future__ import annotations

MOST = 8  # messages that wait; as many as are read ahead of a connection


class Holding:
    """What of a client's messages waits, and for how long.

    Nothing is joined, dropped or overtaken: messages only come later, by `seconds` at most. They come when there is
    another `size` bytes of audio, counted from the first byte on: where a recogniser takes that much at a time, its
    words come no later for it.

    Attributes:
        size: bytes of audio; 0: nothing waits.

    Args:
        seconds: how long a message waits if no others follow it.
    """

    def __init__(self, seconds: float) -> None:
        self.size = 0
        self._seconds = seconds
        self._received = 0
        self._waiting: list[bytes] = []
        self._since = 0.0

    def audio(self, message: bytes, now: float) -> list[bytes]:
        """A message of audio has come: those that wait no longer, in order, itself among them; mostly none."""
        before, self._received = self._received, self._received + len(message)
        if not self._waiting:
            self._since = now
        self._waiting.append(message)
        if not self.size or self._received // self.size > before // self.size or len(self._waiting) >= MOST:
            return self.release()
        return []

    def release(self) -> list[bytes]:
        """All that waits: its time has come."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def left(self, now: float) -> float | None:
        """Seconds for which what waits may still do so; None: nothing does."""
        return self._since + self._seconds - now if self._waiting else None
