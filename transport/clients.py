"""The clients that are connected, whichever way they came, and what a way in is to the rest of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from actors.speech.error_handler import ErrorHandler
from actors.speech.errors import SpeechError
from actors.speech.injection import Faults
from actors.speech.signal import Signal
from transport.admission import NOBODY, Admission, Caller, Refused
from transport.connection import Connection
from transport.limits.accounts import Pace
from transport.sessions import Sessions
from transport.settings import Limits as LimitSettings
from transport.settings import Session as SessionSettings
from transport.sockets import Socket
from transport.wire.port import Codec, Limits

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
LAST_WORDS = 0.8  # seconds for the last errors and closes: 1 s after a cancel a supervisor gives a child up


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a client may take, in seconds.

    Attributes:
        handshake: to ask for its WebSocket.
        close: to take in what it is told last, and to close.
        reading: to take any byte when it is behind by a whole write buffer.
    """

    handshake: float = 5.0
    close: float = 5.0
    reading: float = 30.0


DEFAULT_PATIENCE = Patience()


class Life(Protocol):
    """What a supervised child has of its supervisor (`supervisor.Incarnation`)."""

    def started(self, value: object = None) -> None:
        """It runs."""

    async def stop_requested(self) -> None:
        """Wait until it is to stop."""


class Door(Protocol):
    """A way in for clients."""

    @property
    def connections(self) -> int:
        """How many clients are connected."""

    @property
    def unsent(self) -> int:
        """Bytes in the fullest write buffer of a client."""

    @property
    def is_draining(self) -> bool:
        """It takes no new clients, because it is to stop."""

    @property
    def url(self) -> str:
        """Where clients connect; empty: nobody knows."""

    @property
    def newcomers(self) -> int:
        """How many connections have not begun a session."""

    def adopt(self, session: SessionSettings, limits: LimitSettings) -> None:
        """Let these limits hold for whoever connects from now on; nothing else of the settings."""

    async def serve(self, *, task_status: Life) -> None:
        """A supervised child: serve until asked to stop."""


class Clients:
    """The connected ones. Each is served where it came in; all are looked at, and sent away, from here.

    Attributes:
        limits: what whoever connects now may do.
        draining: whoever connects now is told to go elsewhere.

    Args:
        faults: what befalls clients on purpose.
    """

    def __init__(
        self,
        session: SessionSettings,
        sessions: Sessions,
        errors: ErrorHandler,
        admission: Admission,
        *,
        patience: Patience = DEFAULT_PATIENCE,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        faults: Faults | None = None,
    ) -> None:
        self._sessions = sessions
        self._errors = errors
        self._admission = admission
        self._patience = patience
        self._max_message_bytes = max_message_bytes
        self._faults = faults
        self._connections: set[Connection] = set()
        self._left = Signal()
        self.draining = False
        self.adopt(session)

    def adopt(self, session: SessionSettings) -> None:
        """Let these limits hold for whoever connects from now on."""
        self.limits = Limits(
            max_chunk_bytes=session.max_chunk_bytes,
            max_message_bytes=self._max_message_bytes,
            idle_timeout=session.idle_timeout,
            gather=session.gather,
        )

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def unsent(self) -> int:
        """Bytes in the fullest write buffer of a client."""
        return max((connection.unsent for connection in self._connections), default=0)

    @property
    def pause(self) -> float:
        """Seconds between two calls of `check`."""
        return min(self.limits.idle_timeout, self._patience.reading, 8.0) / 4

    async def serve(
        self,
        socket: Socket,
        session_id: str,
        codec: Codec,
        caller: Caller | Refused,
        *,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve one client until one side has enough, or tell it why not. Raises nothing but cancellation.

        Args:
            on_begin: called when it wants a session.
        """
        if isinstance(caller, Refused):
            await self._serve(socket, session_id, codec, NOBODY, None, on_begin, refusal=caller.error)
            return
        with self._admission.present(caller, session_id) as pace:
            await self._serve(socket, session_id, codec, caller, pace, on_begin)

    async def _serve(
        self,
        socket: Socket,
        session_id: str,
        codec: Codec,
        caller: Caller,
        pace: Pace | None,
        on_begin: Callable[[], None],
        *,
        refusal: SpeechError | None = None,
    ) -> None:
        connection = Connection(
            socket,
            session_id,
            self._sessions,
            codec,
            self.limits,
            self._errors,
            caller=caller,
            pace=pace,
            on_begin=on_begin,
            close_timeout=self._patience.close,
            write_timeout=self._patience.reading,
            faults=self._faults,
        )
        self._connections.add(connection)
        try:
            if refusal is not None:
                connection.refuse(refusal)
            elif self.draining:
                connection.drain(0.0)
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._left.notify()

    def check(self, now: float) -> None:
        """End the connections that have sent or read nothing for too long: one timer for all, none per frame."""
        for connection in tuple(self._connections):
            connection.check(now)

    def drain(self, seconds: float) -> None:
        """Let all have the words for what they said, then send them elsewhere, within so many seconds."""
        self.draining = True
        for connection in tuple(self._connections):
            connection.drain(seconds)

    async def gone(self) -> None:
        """Wait until nobody is connected."""
        while self._connections:
            await self._left.wait()

    def go_away(self) -> None:
        """Send all elsewhere now."""
        self.draining = True
        for connection in tuple(self._connections):
            connection.go_away()


def drain_time(in_all: float) -> float:
    """Of the seconds for stopping in all, those for the words; what is left is for closes that take their time."""
    return max(in_all - 2 * LAST_WORDS, in_all / 2)
