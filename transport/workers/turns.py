"""Who takes the next client: of several processes that accept from the same sockets, the one that has the fewest.

They know of each other by a file that all of them have mapped into memory: each writes how many clients it holds, and
when. No lock, and nobody to ask: who has more than another leaves a new client to that one for a moment, the longer the
more it has, and takes it if the other did not. So a process that stands still or has died delays nobody for long, and
one that has written nothing for a while does not count.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable

from transport.listener import PRESENT_SECONDS, Turn

_SLOT = struct.Struct("=qd")  # connections, and when that was so, by `time.monotonic`: the same clock in all processes
STALE = 3 * PRESENT_SECONDS
LEAVE_SECONDS = 0.005  # for each connection that this process has and another one has not
MOST_SECONDS = 0.1
AT_ONCE = 4  # … and for so many of them one is accepted then, if nobody else did


def shared_file(slots: int) -> int:
    """A file for so many processes, which ends with the last one that has it open: its descriptor."""
    with tempfile.TemporaryFile() as file:
        file.truncate(slots * _SLOT.size)
        return os.dup(file.fileno())


class SharedTurns:
    """One process's view of all. See `transport.listener.Turns`.

    Args:
        file: made by `shared_file`.
        slot: this process's own in it.
        clock: in seconds, the same for all processes.
    """

    def __init__(self, file: int, slot: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = mmap.mmap(file, 0)
        self._slot = slot
        self._clock = clock

    def take(self, held: int) -> Turn:
        """See `Turns`."""
        self.present(held)
        more = held - min(self._others(), default=held)
        if more <= 0:
            return Turn(0.0, 1)
        return Turn(min(LEAVE_SECONDS * more, MOST_SECONDS), max(1, more // AT_ONCE))

    def present(self, held: int) -> None:
        """See `Turns`."""
        self._write(held, self._clock())

    def absent(self) -> None:
        """See `Turns`."""
        self._write(0, 0.0)

    def _others(self) -> list[int]:
        since = self._clock() - STALE
        slots = _SLOT.iter_unpack(self._slots)
        return [held for slot, (held, at) in enumerate(slots) if slot != self._slot and at >= since]

    def _write(self, held: int, at: float) -> None:
        _SLOT.pack_into(self._slots, self._slot * _SLOT.size, held, at)
