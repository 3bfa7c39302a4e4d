"""Audio that has been recorded and that no server has settled yet."""

from __future__ import annotations


class Ring:
    """Audio as it was encoded, without a hole from sample `start` to sample `end`.

    A sample is one of every channel, `frame_bytes` long: positions are those of the session's mono timeline, whatever
    the encoding.

    Args:
        frame_bytes: bytes of a sample of all channels.
        capacity: samples that are kept.
    """

    def __init__(self, frame_bytes: int, capacity: int) -> None:
        self.start = 0
        self._frame_bytes = frame_bytes
        self._capacity = capacity
        self._audio = bytearray()  # CPython takes bytes off its front without moving the rest

    @property
    def end(self) -> int:
        return self.start + len(self._audio) // self._frame_bytes

    @property
    def room(self) -> int:
        """Bytes that fit without losing any."""
        return max(0, self._capacity * self._frame_bytes - len(self._audio))

    def append(self, audio: bytes) -> None:
        """Keep audio that follows. What is over the capacity goes, the oldest first.

        Raises:
            ValueError: it does not end with a whole sample.
        """
        if len(audio) % self._frame_bytes:
            raise ValueError(f"{len(audio)} bytes of audio: whole samples take a multiple of {self._frame_bytes}")
        self._audio += audio
        self.forget(self.end - self._capacity)

    def forget(self, position: int) -> None:
        """Keep nothing below a position."""
        samples = min(position, self.end) - self.start
        if samples > 0:
            del self._audio[: samples * self._frame_bytes]
            self.start += samples

    def read(self, start: int, end: int) -> bytes:
        """The audio between two positions, both within what is kept."""
        first, behind = ((position - self.start) * self._frame_bytes for position in (start, end))
        with memoryview(self._audio) as view:
            return bytes(view[first:behind])
