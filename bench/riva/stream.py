"""One streaming call: its audio in, its results out, and what the plan does to it between."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

from bench.riva.faults import (
    Action,
    Down,
    End,
    Freeze,
    GoAway,
    HalfOpen,
    NotReady,
    Queue,
    Slow,
    Stall,
    Status,
)
from bench.riva.plan import Plan
from bench.riva.recogniser import Recogniser, Result
from bench.riva.report import Counts
from bench.riva.responses import Responses
from bench.riva.script import StreamScript
from bench.riva.settings import Settings
from bench.riva.statuses import Refused
from bench.riva.tampering import Tampering


class Host(Protocol):
    """The server, as far as a fault that strikes a stream concerns all of it."""

    def goaway(self, grace: float) -> None:
        """Tell all connections to go."""

    def down(self, seconds: float) -> None:
        """End everything, and come back later."""

    def half_open(self, peer: str) -> None:
        """Let nothing more out to the connection of this peer."""


class Places:
    """How many streams are being served."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._changed = asyncio.Condition()

    async def take(self, below: float) -> None:
        """Take a place; waits while `below` or more are taken."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._counts.served < below)
            self._counts.served += 1

    async def leave(self) -> None:
        self._counts.served -= 1
        async with self._changed:
            self._changed.notify_all()


class ScriptedStream:
    """One stream that has begun.

    Args:
        script: what happens to it.
        context: gRPC's, of the call.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        script: StreamScript,
        host: Host,
        places: Places,
        counts: Counts,
        context: Any,
    ) -> None:
        self._settings = settings
        self._script = script
        self._host = host
        self._places = places
        self._counts = counts
        self._context = context
        self._step = plan.step
        self._recogniser = Recogniser(settings.rate, step=plan.step, pause=plan.pause)
        self._responses = Responses(settings, plan.in_silence)
        self._tampering = Tampering()
        self._counted = (0, 0, 0)  # samples, words and scraps
        self._finals = 0  # sent
        self._room = math.inf  # streams that may be served at the same time
        self._silent_until = self._frozen_until = 0.0
        self._factor = 0.0  # seconds of work for a second of audio
        self._busy_until = 0.0
        self._last_audio = _now()
        self._late: deque[_Late] = deque()
        self._delivery: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def converse(self, request_id: Any, requests: AsyncIterator[Any]) -> None:
        """Answer until the stream ends well.

        Raises:
            Refused: it ends with another status.
        """
        self._responses.request_id = request_id
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._strike()
                await self._places.take(self._room)
                try:
                    if self._script.next_time < math.inf:
                        self._tasks.create_task(self._watch_the_clock())
                    await self._answer(requests)
                finally:
                    await self._places.leave()
                raise _Over
        except BaseExceptionGroup as group:
            endings, others = group.split((_Over, Refused))
            if others is not None or endings is None:
                raise
            ending = endings.exceptions[0]
        if isinstance(ending, Refused):
            raise ending

    async def _answer(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            await _sleep_until(self._frozen_until)
            await self._take(request)
        last = list(self._recogniser.finish())
        self._count()
        await self._say(last)
        for result in self._tampering.end():
            await self._send(result)
        await _sleep_until(self._silent_until)
        if self._delivery is not None:
            await self._delivery

    async def _take(self, request: Any) -> None:
        if request.HasField("streaming_config"):
            raise Refused("INVALID_ARGUMENT", "Error: streaming_config may only be in the first message of a stream")
        if request.HasField("id"):
            self._responses.request_id = request.id
        if request.audio_content:
            await self._hear(self._settings.pcm(request.audio_content))
        if request.runtime_config.get("force_eou", "").lower() == "true":
            await self._say(self._recogniser.force())

    async def _hear(self, pcm: bytes) -> None:
        idle, self._last_audio = _now() - self._last_audio, _now()
        self._strike(idle=idle)
        for result in self._recogniser.hear(pcm):
            self._count()
            await self._work()
            await self._say((result,))
            self._strike()

    def _count(self) -> None:
        recogniser, (heard, spoken, scraps) = self._recogniser, self._counted
        self._counts.audio_seconds += (recogniser.heard - heard) / self._settings.rate
        self._counts.words += recogniser.spoken - spoken
        self._counts.scraps += recogniser.scraps - scraps
        self._counted = (recogniser.heard, recogniser.spoken, recogniser.scraps)

    async def _work(self) -> None:
        if self._factor:
            self._busy_until = max(self._busy_until, _now()) + self._factor * self._step
            await _sleep_until(self._busy_until)

    async def _say(self, results: Iterable[Result]) -> None:
        for result in self._tampering.apply(results):
            await self._send(result)

    async def _send(self, result: Result) -> None:
        """Write a result, now or when it is due; words do not overtake words."""
        message = self._responses.message(result)
        due = max(self._silent_until, _now() + result.delay)
        if message is None or due == math.inf:
            return
        has_words = bool(result.words) or result.is_final
        if due <= _now() and not (self._late and has_words):
            await self._write(message, is_final=result.is_final)
            return
        self._late.append(_Late(due, message, result.is_final))
        if self._delivery is None or self._delivery.done():
            self._delivery = self._tasks.create_task(self._deliver())

    async def _deliver(self) -> None:
        while self._late:
            await _sleep_until(self._late[0].due)
            await self._write(self._late[0].message, is_final=self._late[0].is_final)
            self._late.popleft()

    async def _write(self, message: Any, *, is_final: bool) -> None:
        await _sleep_until(self._frozen_until)
        async with self._writing:  # gRPC takes one message at a time
            await self._context.write(message)
        self._counts.responses += 1
        if is_final:
            self._counts.finals += 1
            self._finals += 1
            self._strike()

    async def _watch_the_clock(self) -> None:
        while (time := self._script.next_time) < math.inf:
            await _sleep_until(time)
            self._strike()

    def _strike(self, *, idle: float = 0.0) -> None:
        position = self._recogniser.heard / self._settings.rate
        for fault in self._script.strike(_now(), position=position, finals=self._finals, idle=idle):
            self._suffer(fault)

    def _suffer(self, fault: Action) -> None:
        match fault:
            case Status():
                raise fault.refusal()
            case End():
                raise _Over
            case Stall(seconds=seconds):
                self._silent_until = math.inf if seconds is None else _now() + seconds
            case Freeze(seconds=seconds):
                self._frozen_until = math.inf if seconds is None else _now() + seconds
            case Slow(factor=factor):
                self._factor = factor
            case Queue(over=over):
                self._room = min(self._room, over or 0)
            case HalfOpen():
                self._host.half_open(self._context.peer())
            case GoAway(grace=grace):
                self._host.goaway(grace)
            case Down(seconds=seconds):
                self._host.down(seconds)
            case NotReady():
                pass  # strikes no stream
            case _:
                self._tampering.add(fault)


class _Over(Exception):
    """The stream ends with OK."""


class _Late:
    """A message that waits."""

    def __init__(self, due: float, message: Any, is_final: bool) -> None:
        self.due, self.message, self.is_final = due, message, is_final


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _sleep_until(time: float) -> None:
    if time == math.inf:
        await asyncio.Event().wait()
    if (seconds := time - _now()) > 0:
        await asyncio.sleep(seconds)
