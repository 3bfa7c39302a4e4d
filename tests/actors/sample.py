"""The actor that these tests run: it counts, fails and waits on demand, and keeps a diary over its lives."""

from __future__ import annotations

import anyio
import msgspec

from actors import Actor, Down, Message, handler


class Tally(Message[list[int]], frozen=True):
    """Answered with all numbers that this life has heard."""


class Add(Message[int], frozen=True):
    """Answered with the sum of this life."""

    number: int


class Fail(Message[None], frozen=True):
    error: Exception


class Wait(Message[str], frozen=True):
    """Answered when the gate is open."""

    gate: anyio.Event


class Finish(Message[str], frozen=True):
    """Answered, and then the actor ends normally."""


class Unknown(Message[None], frozen=True):
    pass


class FailBeside(msgspec.Struct, frozen=True):
    """Fail in a task of its own, `after` seconds from now."""

    error: Exception
    after: float = 0.0


class Broken(Exception):
    """What these tests fail with."""


class Harmless(Exception):
    """What the policy passes over."""

    code = "HARMLESS_001"


Command = Tally | Add | Fail | Wait | Finish | FailBeside | Down


class Sample(Actor[Command]):
    def __init__(self, diary: list[object] | None = None) -> None:
        self.diary: list[object] = [] if diary is None else diary
        self.numbers: list[int] = []

    async def started(self) -> None:
        self.diary.append("started")

    async def stopped(self, error: BaseException | None) -> None:
        self.diary.append(("stopped", error if error is None else type(error).__name__))

    @handler
    def on_tally(self, message: Tally) -> list[int]:
        return self.numbers

    @handler
    async def on_add(self, message: Add) -> int:
        self.numbers.append(message.number)
        return sum(self.numbers)

    @handler
    def on_fail(self, message: Fail) -> None:
        raise message.error

    @handler
    async def on_wait(self, message: Wait) -> str:
        await message.gate.wait()
        self.diary.append("waited")
        return "opened"

    @handler
    def on_finish(self, message: Finish) -> str:
        self.stop()
        return "bye"

    @handler
    def on_fail_beside(self, message: FailBeside) -> None:
        self.spawn(self._fail, message.error, message.after)

    @handler
    def on_down(self, message: Down) -> None:
        self.diary.append(message)

    async def _fail(self, error: Exception, after: float) -> None:
        try:
            await anyio.sleep(after)
        finally:
            self.diary.append("task over")
        raise error
