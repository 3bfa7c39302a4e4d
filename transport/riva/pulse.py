"""Tells an endpoint that hangs from one that is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Pulse:
    """Whether an endpoint answers anything at all, for those of its streams that wait for an answer.

    What a stream waits for may be a busy GPU. What an endpoint has loaded it can say without one: if that stays
    unanswered too, its process has frozen, or nothing passes between us. All streams that doubt share the question.

    Time is an argument, and should be that of the `Watch`: it stands still while our own event loop does.

    Args:
        ask: put the question; True if any answer came, be it a refusal. Must not raise.
    """

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self._since: float | None = None  # when the first question was asked of those that had no answer yet

    def missing(self, now: float, *, every: float) -> float:
        """Seconds for which the endpoint has answered no question; 0.0 if it answered the last one.

        Asks anew, unless a question is out, or was asked less than `every` seconds ago.
        """
        if self._asking is None and now - self._asked_at >= every:
            self._asked_at = now
            self._since = now if self._since is None else self._since
            self._asking = asyncio.get_running_loop().create_task(self._question())
        return 0.0 if self._since is None else now - self._since

    async def aclose(self) -> None:
        """End the question that may be out."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _question(self) -> None:
        try:
            if await self._ask():
                self._since = None
        finally:
            self._asking = None
