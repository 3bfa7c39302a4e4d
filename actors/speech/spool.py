"""Audio on disk, for the time in which no backend takes it."""

from __future__ import annotations

import os
import tempfile
from io import FileIO

from actors.speech.errors import SpoolFailed


class Spool:
    """A queue of equal stretches of audio in a file of its own.

    The file has no name (it is unlinked as it is made), so nothing is left of it after a crash. It is there only while
    stretches are held, and is never longer than the most that were held at a time: places are used again. Reading and
    writing is synchronous: a stretch of a second goes to, or comes from, the page cache in some 10 µs.

    Args:
        stretch: bytes of each; a second of audio is a good size.
        most: stretches held at a time.
        directory: where the file is made; None: the system's directory for temporary files.

    Attributes:
        stretch: see above.
    """

    def __init__(self, stretch: int, most: int, directory: str | None = None) -> None:
        self.stretch = stretch
        self._most = most
        self._directory = directory
        self._places: list[int] = []  # where in the file, the oldest first
        self._free: list[int] = []
        self._file: FileIO | None = None

    def __len__(self) -> int:
        """Stretches held."""
        return len(self._places)

    @property
    def full(self) -> bool:
        """True while it takes nothing."""
        return len(self._places) >= self._most

    def append(self, stretch: bytes) -> None:
        """Take one more stretch; not while `full`.

        Raises:
            SpoolFailed: the disk is full, the directory cannot be written, … The stretch was not taken, and from now
                on no more are held than are held now.
        """
        place = self._free[-1] if self._free else len(self._places)
        try:
            self._write(stretch, place)
        except OSError as error:
            self._most = len(self._places)
            raise SpoolFailed(_reason("written", error)) from error
        if self._free:
            self._free.pop()
        self._places.append(place)

    def read(self, index: int, offset: int, most: int) -> bytes:
        """Up to `most` bytes of the stretch `index` (0: the oldest) from `offset` on.

        Raises:
            SpoolFailed: they cannot be read. The file is of no more use: `clear` it; it then takes nothing any more.
        """
        assert self._file is not None
        size = min(most, self.stretch - offset)
        try:
            data = os.pread(self._file.fileno(), size, self._places[index] * self.stretch + offset)
            if len(data) < size:
                raise OSError("the file is too short")
        except OSError as error:
            self._most = 0
            raise SpoolFailed(_reason("read", error)) from error
        return data

    def drop(self, count: int) -> None:
        """Forget the oldest `count` stretches."""
        self._free += self._places[:count]
        del self._places[:count]
        if not self._places:
            self.clear()

    def clear(self) -> None:
        """Forget all of them; the disk gets its space back."""
        self._places.clear()
        self._free.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, stretch: bytes, place: int) -> None:
        if self._file is None:
            # Kept open across calls: it is closed by `clear`.
            self._file = tempfile.TemporaryFile(buffering=0, prefix="voxtree-", dir=self._directory)  # noqa: SIM115
        left, position = memoryview(stretch), place * self.stretch
        while left:
            written = os.pwrite(self._file.fileno(), left, position)
            left, position = left[written:], position + written


def _reason(what: str, error: OSError) -> str:
    return f"the audio spool cannot be {what}: {(error.strerror or str(error)).lower()}"
