"""A question: a message on its way to an actor, and the place where its answer arrives."""

from __future__ import annotations

from typing import Generic, TypeVar

from actors.messages import Message
from supervisor.loops import Waiter, waiters

R = TypeVar("R")


class Question(Generic[R]):
    """A message whose sender waits for the answer. Whoever takes it settles it, once.

    Attributes:
        message: what the actor's handler is given.
        settled: whether there is an answer, or the error that takes its place.
    """

    __slots__ = ("_answer", "_arrival", "_error", "message", "settled")

    _answer: R

    def __init__(self, message: Message[R]) -> None:
        self.message = message
        self.settled = False
        self._error: BaseException | None = None
        self._arrival: Waiter | None = None

    def answer(self, value: R) -> None:
        """Settle it with the handler's result."""
        self._answer = value
        self._settle()

    def fail(self, error: BaseException) -> None:
        """Settle it with an error, to be raised where the answer is awaited."""
        self._error = error
        self._settle()

    def wake(self) -> None:
        """Let the asker look at the clock."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def result(self) -> R:
        """The answer of a settled question; raises the error instead if there is one."""
        if self._error is not None:
            raise self._error
        return self._answer

    async def wait(self) -> None:
        """Wait until it is settled, or `wake` is called. For one task, the asker's."""
        if not self.settled:
            self._arrival = waiters()()
            await self._arrival

    def _settle(self) -> None:
        self.settled = True
        self.wake()


QUESTION: type[Question[object]] = Question  # for `type(x) is`: the bare class tells a checker no type of answer
