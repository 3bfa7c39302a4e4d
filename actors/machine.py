"""Actors whose handlers depend on a state, after OTP's gen_statem."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Generic, TypeVar, cast

import msgspec

from actors.base import Actor, handle_timer
from actors.dispatch import COROUTINE, Handler
from actors.errors import InvalidTransition, MailboxFull, Postpone
from actors.states import ENTERING, TIMED_OUT, Move, check_states, marked, moves_of
from actors.timers import Timer

S = TypeVar("S", bound=Enum)
M = TypeVar("M")


class TimeIsUp(msgspec.Struct, frozen=True):
    """What a state timeout delivers."""


class StateMachine(Actor[M], Generic[S, M]):
    """An actor that is always in one state of an enum.

        class Lock(StateMachine[Door, Code | Push], initial=Door.LOCKED):
            @in_state(Door.LOCKED)
            def on_code(self, message: Code) -> bool:
                if message.digits == "1234":
                    self.go(Door.OPEN)
                return self.going_to is Door.OPEN

            @in_state(Door.LOCKED)
            def wait_for_code(self, message: Push) -> None:
                raise Postpone

            @entering(Door.OPEN)
            def opened(self) -> None:
                self.state_timeout(10.0)

            @timed_out(Door.OPEN)
            def relock(self) -> None:
                self.go(Door.LOCKED)

    A change of state takes place when the handler has returned, not if it raises. Then the state timeout is
    cancelled, what is marked `entering` is done, and messages that were postponed come again, before all
    others but control messages. To go where one is already changes nothing.

    A message without a handler in the present state raises `InvalidTransition`. A handler that raises
    `Postpone` puts its message off, question or not, until the next change of state; a crash keeps it for the
    next life. There is room for as many such messages as a lane of the mailbox holds; beyond it `MailboxFull`
    is raised.

    `started` may `go` to begin in another state than the initial one. A batch cannot be taken here.

    Attributes:
        state: the present state.
        going_to: the state that follows when this handler returns; most often the present one.
    """

    _initial: ClassVar[Enum]
    _entries: ClassVar[dict[Enum, Handler]] = {}
    _timeouts: ClassVar[dict[Enum, Handler]] = {}
    _moves: ClassVar[dict[Move, Handler]] = {}

    state: S
    going_to: S
    _entering: bool = False
    _state_timer: Timer | None = None

    def __init_subclass__(cls, *, initial: Enum | None = None) -> None:
        if initial is not None:
            cls._initial = initial
        super().__init_subclass__()
        cls._check_complete(StateMachine)
        cls._entries = dict(marked(cls, ENTERING))
        cls._timeouts = dict(marked(cls, TIMED_OUT))
        states = [state for state, _ in cls._moves if state is not None]
        check_states(cls, [*states, *cls._entries, *cls._timeouts], getattr(cls, "_initial", None))

    def go(self, state: S) -> None:
        """Be in `state` once this handler has returned. The last call counts.

        Raises:
            RuntimeError: while a state is being entered.
        """
        if self._entering:
            raise RuntimeError(f"{self.ref!r} cannot leave {self.state.name} while it enters it")
        self.going_to = state

    def state_timeout(self, seconds: float) -> None:
        """Do what is marked `timed_out` if the present state lasts that long from now. Replaces an earlier one.

        Raises:
            RuntimeError: nothing is marked for this state.
            ValueError: a negative or infinite time.
        """
        if self.state not in self._timeouts:
            raise RuntimeError(f"{type(self).__name__} has nothing that is done when {self.state.name} times out")
        self._cancel_state_timer()
        self._state_timer = self._host.start_timer(seconds, TimeIsUp(), repeat=False)

    @classmethod
    def _make_handlers(cls) -> dict[type, Handler]:
        cls._moves = dict(moves_of(cls))
        return {
            Timer: handle_timer,
            TimeIsUp: cls._time_out,
            **dict.fromkeys((kind for _, kind in cls._moves), cls._move),
        }

    async def _start(self) -> None:
        self.state = self.going_to = cast("S", self._initial)
        await self.started()
        self.state = self.going_to
        await self._enter()

    async def _move(self, message: object) -> object:
        return await self._run(self._move_for(type(message)), message)

    async def _time_out(self, message: TimeIsUp) -> object:
        return await self._run(self._timeouts[self.state])

    async def _run(self, method: Handler, *args: object) -> object:
        """Call a method, and make the change of state that it has asked for."""
        try:
            result = method(self, *args)
            if type(result) is COROUTINE:
                result = await result
        except BaseException as error:
            self.going_to = self.state
            if isinstance(error, Postpone) and not self.ref._inbox.can_postpone:
                raise MailboxFull(self.ref.name, self.ref._inbox.capacity) from error
            raise
        if self.going_to is not self.state:
            self._cancel_state_timer()
            self.state = self.going_to
            self.ref._inbox.redeliver()
            await self._enter()
        return result

    async def _enter(self) -> None:
        entry = self._entries.get(self.state)
        if entry is None:
            return
        self._entering = True
        try:
            result = entry(self)
            if type(result) is COROUTINE:
                await result
        finally:
            self._entering = False

    def _move_for(self, kind: type) -> Handler:
        for base in kind.__mro__:
            move = self._moves.get((self.state, base)) or self._moves.get((None, base))
            if move is not None:
                return move
        raise InvalidTransition(self.ref.name, self.state.name, kind.__name__)

    def _cancel_state_timer(self) -> None:
        if self._state_timer is not None:
            self._state_timer.cancel()
            self._state_timer = None

    def _postpones(self, error: Exception) -> bool:
        return isinstance(error, Postpone)
