"""What the event loop tells the admin thread, and how the thread passes it on to all who look, worked out once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from transport.admin.state import Check, State, merge_patch

STANDSTILL = 5.0  # seconds without a sign of life after which the loop counts as dead
LATE = 0.6  # … after which nobody waits for it to tell something
INTEREST = 5.0  # seconds for which a look counts
PATCHES = 20  # that are kept for viewers whose connection breaks: 10 s


class Board:
    """The loop writes, threads read: each attribute is an immutable value and replaced whole, so nobody waits.

    Attributes:
        state: the last one that was published; None: there was none yet.
        checks: of the last sign of life.
        started: all parts of the server have been started.
        looked_at: when somebody wanted to see the state; written by threads.

    Args:
        clock: a monotonic one, the same in all threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.state: State | None = None
        self.checks: dict[str, Check] = {}
        self.started = False
        self.looked_at = float("-inf")
        self._clock = clock
        self._published_at = float("-inf")
        self._beat_at = clock()

    # ---- the loop's

    def beat(self, checks: dict[str, Check], *, started: bool) -> None:
        """A sign of life."""
        self.checks, self.started = checks, started
        self._beat_at = self._clock()

    def publish(self, state: State) -> None:
        """This is how things stand."""
        self.state = state
        self._published_at = self._clock()

    @property
    def is_watched(self) -> bool:
        """Somebody looks, or did a moment ago."""
        return self._clock() - self.looked_at < INTEREST

    # ---- the threads'

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._beat_at

    @property
    def stands_still(self) -> bool:
        return self.silence > STANDSTILL

    def look(self) -> float:
        """Somebody looks now; when that is."""
        self.looked_at = now = self._clock()
        return now

    def fresh(self, patience: float = 1.0) -> State | None:
        """A state from after this call, if one comes soon; else the last one."""
        asked = self.look()
        while self._published_at <= asked and self._clock() - asked < patience and self.silence < LATE:
            time.sleep(0.02)
        return self.state


class Update(NamedTuple):
    """A state as a viewer gets it: the whole, or what is new in it."""

    version: int
    is_patch: bool
    json: bytes


class Feed:
    """States as JSON, and what each changed. Whoever comes first works it out, for all."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._state: State | None = None
        self._document: dict[str, Any] = {}
        self._version = 0
        self._patches: deque[Update] = deque(maxlen=PATCHES)
        self._whole: Update | None = None

    def after(self, version: int) -> list[Update]:
        """What a viewer who has that version lacks: patches, or the whole where they do not reach back so far."""
        with self._lock:
            self._catch_up()
            missing = [patch for patch in self._patches if patch.version > version]
            if version == self._version or (0 < version < self._version and len(missing) == self._version - version):
                return missing
            return [self._all()] if self._version else []

    def _catch_up(self) -> None:
        state = self._board.state
        if state is None or state is self._state:
            return
        document: dict[str, Any] = msgspec.to_builtins(state)
        if self._state is not None:
            patch = msgspec.json.encode(merge_patch(self._document, document))
            self._patches.append(Update(self._version + 1, True, patch))
        self._version += 1
        self._state, self._document, self._whole = state, document, None

    def _all(self) -> Update:
        if self._whole is None:
            self._whole = Update(self._version, False, msgspec.json.encode(self._document))
        return self._whole
