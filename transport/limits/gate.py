"""Whether there is room for one more, and whether it is this caller's turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from actors.speech.errors import ServerBusy, SpeechError, TooManyRequests
from transport.limits.accounts import Accounts, Allowance, Excess, Key, Pace
from transport.limits.load import LoopLoad
from transport.limits.returns import ReturnTimes
from transport.settings import Limits

SESSIONS, LOOP, CONNECTIONS = "sessions", "loop", "connections"
# Of refusals by the gate, for metrics. `crowd` is not its: a connection that had to make way for a newer one.
CROWD = "crowd"
REASONS = (
    SESSIONS,
    LOOP,
    CONNECTIONS,
    CROWD,
    *(f"{kind}_{what}" for kind in ("user", "address") for what in ("sessions", "rate")),
)


class Denied(NamedTuple):
    """Not now: why, and the same in a word of `REASONS`. The error says when to come back."""

    error: SpeechError
    reason: str


class Gate:
    """Refuses at the handshake, before anything is spent, who would be refused or would do harm later.

    In this order: whoever comes back to a session that lives here is let in, however full it is: its place is taken
    already, and its words are at stake. Then the caller's own limits; then what the server can carry: connections,
    places for sessions, and how late its loop is. Whoever comes back to a session of another server or another life of
    this one is not refused for a late loop, nor for want of streams, and there are places besides the usual ones: its
    words are at stake, and it cannot go elsewhere.

    Args:
        lives: whether a session of this id is here.
        has_room: whether a new one would find a place and a recogniser.
        has_room_to_return: whether one that is of another server would find a place.
        connections: how many clients are connected.
        load: how late the loop is.
        returns: when to come back.
        clock: seconds; not anyio's, which is known in tasks only, and requests are also read outside of any.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        lives: Callable[[str], bool],
        has_room: Callable[[], bool],
        has_room_to_return: Callable[[], bool],
        connections: Callable[[], int],
        load: LoopLoad,
        returns: ReturnTimes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lives = lives
        self._has_room = has_room
        self._has_room_to_return = has_room_to_return
        self._connections = connections
        self._load = load
        self._returns = returns
        self._clock = clock
        self.accounts = Accounts(lives, clock)
        self._adopt(limits, now=0.0)

    def adopt(self, limits: Limits) -> None:
        """Let these hold from now on."""
        self._adopt(limits, self._clock())

    def _adopt(self, limits: Limits, now: float) -> None:
        self._most = limits.connections
        self._load.limit = limits.loop_lag
        self.accounts.adopt(
            Allowance(
                sessions=limits.sessions_per_user,
                handshakes=limits.handshakes_per_user,
                burst=limits.handshake_burst,
                audio=limits.audio_per_user,
                credit=limits.audio_credit,
            ),
            Allowance(
                sessions=limits.sessions_per_address,
                handshakes=limits.handshakes_per_address,
                burst=limits.handshake_burst,
                audio=limits.audio_per_address,
                credit=limits.audio_credit,
            ),
            now,
        )

    def refusal(self, user: str, network: str, session_id: str = "", *, resumes: bool = False) -> Denied | None:
        """Why somebody is not let in; None: it is.

        Args:
            user: who it is; empty: nobody in particular.
            network: where it comes from, as `network_of` has it; empty: unknown.
            session_id: the session that it asks for; empty: a new one.
            resumes: it says that it comes back to it.
        """
        if session_id and self._lives(session_id):
            return None
        now = self._clock()
        excess = self.accounts.excess(_keys(user, network), session_id, now)
        if excess is not None:
            return self._too_many(excess, now)
        if self._most is not None and self._connections() >= self._most:
            return self._busy(CONNECTIONS, f"all {self._most} connections are taken", now)
        if not (self._has_room_to_return() if resumes else self._has_room()):
            return self._busy(SESSIONS, "there is no place for another session", now)
        if self._load.is_over and not resumes:
            return self._busy(LOOP, "the server is late with what it has", now)
        return None

    def present(self, user: str, network: str, session_id: str) -> AbstractContextManager[Pace | None]:
        """Somebody who was let in is connected while the context is open."""
        return self.accounts.present(_keys(user, network), session_id, self._clock())

    def retry_after(self) -> float:
        """Seconds until one who is refused now may find a place."""
        return self._returns.next(self._clock())

    def _busy(self, reason: str, why: str, now: float) -> Denied:
        return Denied(ServerBusy(why, retry_after=self._returns.next(now)), reason)

    def _too_many(self, excess: Excess, now: float) -> Denied:
        kind, what = excess.key.kind, excess.what
        why = f"this {kind} has too many sessions" if what == "sessions" else f"this {kind} connects too often"
        after = self._returns.next(now) if excess.wait is None else max(1.0, excess.wait)
        return Denied(TooManyRequests(why, retry_after=after), f"{kind}_{what}")


def _keys(user: str, network: str) -> tuple[Key, Key]:
    return Key("address", network), Key("user", user)
