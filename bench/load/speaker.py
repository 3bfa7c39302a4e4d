"""One client of the load: a connection, the frames it is told to send, and what came back."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import cast

from bench.load.report import ANSWER_SECONDS, FINAL, IN_TIME, INTERIM, UP, Tally
from bench.load.websocket import CLOSE, PING, PONG, TEXT, Answer, frame, request

RATE = 16_000
START = frame(b'{"event":"start","config":{"sample_rate":16000}}', TEXT)
STOP = frame(b'{"event":"stop"}', TEXT)
GOODBYE = frame((1000).to_bytes(2, "big"), CLOSE)
BUSY = (1013).to_bytes(2, "big")  # a server's close code for who is to come back later
_TENTH_MS = round(1000 * ANSWER_SECONDS)
_STEP = round(RATE * ANSWER_SECONDS)  # samples
_TRANSCRIPT = re.compile(rb'^\{"event":"transcript".*?"end":(\d+)')
_COUNTED = re.compile(rb'"at (\d{7})')
_STAMPED = re.compile(rb'"at (\d{7}) (\d+)"')
_RETRY = re.compile(rb'"retry_after_ms":(\d+)')

Reading = Callable[[bytes], int | None]


def by_position(message: bytes) -> int | None:
    """How many tenths of a second a message of `voxtree.v1` transcribes, from the session's start; None: it does not.

    A final ends with its last word, so a tenth that was begun counts.
    """
    found = _TRANSCRIPT.match(message)
    return None if found is None else -(-int(found[1]) // _STEP)


def by_count(message: bytes) -> int | None:
    """The same of the words that the stand-in for Riva says, whatever protocol they come in."""
    found = _COUNTED.search(message)
    return None if found is None else int(found[1])


# … and whether every tenth is answered. If not, as where silence has no transcript, the newest that is answered counts.
READINGS: Mapping[str, tuple[Reading, bool]] = {
    "position": (by_position, True),
    "count": (by_count, True),
    "newest": (by_position, False),
}


class State(Enum):
    """Where a client is."""

    CONNECTING = "connecting"
    OPEN = "open"
    REFUSED = "refused"
    OVER = "over"  # it has been told all, and has hung up
    LOST = "lost"


class Speaker(asyncio.Protocol):
    """One client, from its connection on.

    Args:
        path, host: of the server.
        key: who we are.
        frames: what it sends, again and again.
        frame_ms: how much audio each is.
        every: seconds between two.
        reading: how answers are told, and whether every tenth has one.
        tally: where what happens is counted.
        changed: called when it is open, refused, over or lost.

    Attributes:
        state: where it is.
        retry_after: seconds after which a refused one is to come back, if it was told.
    """

    def __init__(
        self,
        path: str,
        host: str,
        key: str | None,
        frames: Sequence[bytes],
        frame_ms: int,
        every: float,
        reading: tuple[Reading, bool],
        tally: Tally,
        changed: Callable[[Speaker], None],
    ) -> None:
        self.state = State.CONNECTING
        self.retry_after: float | None = None
        self._request = request(path, host, key)
        self._frames = frames
        self._frame_ms = frame_ms
        self._every = every
        self._reading, self._all_answered = reading
        self._tally = tally
        self._changed = changed
        self._dialled = time.monotonic()
        self._answer = Answer()
        self._said_last = b""
        self._began = 0.0
        self._sent = 0
        self._answered = 0  # tenths

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take what was said."""
        for opcode, payload in self._answer.feed(data):
            if opcode == PING:
                self._transport.write(frame(payload, PONG))
            elif opcode == CLOSE:
                self._closed(payload)
            else:
                self._heard(payload)
        status = self._answer.status
        if self.state is State.CONNECTING and status is not None:
            if status == 101:
                self._transport.write(START)
                self._become(State.OPEN)
            else:
                self.retry_after = self._answer.retry_after
                self._become(State.REFUSED if status in (429, 503) else State.LOST)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has ended."""
        self._become(State.LOST)

    @property
    def was_told_all(self) -> bool:
        """It stopped, and then everything came."""
        return self.state is State.OVER

    def speak(self, due: float) -> None:
        """Send a frame that was due then."""
        if not self._sent:
            self._began = due
        self._transport.write(self._frames[self._sent % len(self._frames)])
        self._sent += 1
        self._tally.sent += 1

    def stop(self) -> None:
        """Say that there is no more audio."""
        self._transport.write(STOP)

    def overdue(self, now: float) -> None:
        """Count the answers that have not come though they were due `IN_TIME` ago, with the time they have waited."""
        tenth = self._answered + 1
        if not self._all_answered:
            return
        while self.state is State.OPEN and self._sent and (waited := now - self.due(tenth)) >= IN_TIME:
            if self._frame(tenth) > self._sent:
                break
            self._tally.delays.add(waited)
            self._tally.unanswered += 1
            tenth += 1

    def due(self, tenth: int) -> float:
        """When the frame that completes a tenth of a second was due. They count from 1."""
        return self._began + (self._frame(tenth) - 1) * self._every

    def give_up(self) -> None:
        """Hang up on a server that does not answer."""
        self._become(State.LOST)

    def _frame(self, tenth: int) -> int:
        return -(-_TENTH_MS * tenth // self._frame_ms)

    def _heard(self, message: bytes) -> None:
        tenths = self._reading(message)
        if tenths is not None:
            now = time.monotonic()
            if not self._all_answered:
                self._answered = max(self._answered, tenths - 1)
            while self._answered < tenths:
                self._answered += 1
                self._tally.delays.add(now - self.due(self._answered))
            self._stage(message, now)
            return
        if message.startswith(b'{"event":"gap"'):
            self._tally.gaps += 1
        self._said_last = message

    def _stage(self, message: bytes, now: float) -> None:
        """Tell the parts of its delay, if the stand-in for Riva says when it had the audio."""
        if (found := _STAMPED.search(message)) is not None:
            at = int(found[2]) / 1e6
            self._tally.staged(UP, at - self.due(int(found[1])))
            self._tally.staged(FINAL if b'"is_final":true' in message else INTERIM, now - at)

    def _closed(self, payload: bytes) -> None:
        if self._said_last.startswith(b'{"event":"done"'):
            self._transport.write(GOODBYE)  # by which the server knows that all has been read
            self._become(State.OVER)
        elif payload[:2] == BUSY:
            found = _RETRY.search(self._said_last)
            self.retry_after = int(found[1]) / 1000 if found else None
            self._become(State.REFUSED)
        else:
            self._become(State.LOST)

    def _become(self, state: State) -> None:
        if self.state not in (State.CONNECTING, State.OPEN):
            return
        self.state = state
        if state is State.REFUSED:
            self._tally.refusals.add(time.monotonic() - self._dialled)
            self._tally.untold += self.retry_after is None
        self._tally.lost += state is State.LOST
        if state is not State.OPEN:
            self._transport.close()
        self._changed(self)
