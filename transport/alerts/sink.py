"""One sink as a supervised child: does what its delivery decides. Sessions know nothing of it and wait for nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskStatus
from prometheus_client import Counter

from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import AlertNotDelivered
from transport.alerts.delivery import Delivery, Manners, Result
from transport.alerts.notices import Notice
from transport.alerts.port import Answer, Dialect, Request, Unreachable, Verdict, verdict

COMPLAINT_SECONDS = 60.0  # between two complaints of the same; a sink that is down for a day need not fill the log


class Sink:
    """A queue and whoever empties it. The queue outlives crashes.

    What it cannot deliver is an error like any other, but one of which no alert is made.

    Args:
        post: sends a request.
        sent: counts, by `sink` and `result`.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        manners: Manners,
        post: Callable[[Request], Awaitable[Answer]],
        *,
        errors: ErrorHandler,
        sent: Counter,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.dialect = dialect
        self._post = post
        self._errors = errors
        self._sent = {result: sent.labels(name, result.value) for result in Result}
        self._clock = clock
        self._now = now
        self._delivery = Delivery(manners, now())
        self._woken = anyio.Event()
        self._emptied = anyio.Event()
        self._hurries = False
        self._complained: dict[str, float] = {}

    def offer(self, notice: Notice) -> None:
        """Have something told. Never waits."""
        dropped = self._delivery.offer(notice, self._now())
        if dropped:
            self._sent[Result.DROPPED].inc(len(dropped))
            self._complain("too many alerts wait; the oldest are dropped")
        self._woken.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A supervised child: sends what is offered."""
        task_status.started()
        while True:
            self._woken = anyio.Event()
            now = self._now()
            if notices := self._delivery.hurry() if self._hurries else self._delivery.take(now):
                await self._send(notices)
                continue
            if not len(self._delivery):
                self._emptied.set()
            with anyio.move_on_after(self._delivery.due(now) - now):
                await self._woken.wait()

    async def finish(self) -> None:
        """Send what waits, without the pauses that are usual; until that is done, or has failed once."""
        self._emptied = anyio.Event()
        self._hurries = True
        self._woken.set()
        await self._emptied.wait()

    async def _send(self, notices: Sequence[Notice]) -> None:
        try:
            answer = await self._post(self.dialect.request(notices, self._clock()))
        except Unreachable as error:
            self._failed(notices, str(error))
            return
        match verdict(answer):
            case Verdict.DELIVERED:
                self._delivery.delivered(notices)
                self._sent[Result.DELIVERED].inc(len(notices))
            case Verdict.REFUSED:
                self._delivery.refused(notices)
                self._sent[Result.REFUSED].inc(len(notices))
                self._complain(f"it answered {answer.status}: it does not want this alert")
            case Verdict.AGAIN:
                self._failed(notices, f"it answered {answer.status}", answer.retry_after)

    def _failed(self, notices: Sequence[Notice], why: str, retry_after: float | None = None) -> None:
        self._delivery.failed(self._now(), retry_after)
        self._sent[Result.FAILED].inc(len(notices))
        self._complain(why)
        if self._hurries:
            self._hurries = False
            self._emptied.set()

    def _complain(self, why: str) -> None:
        """Tell of it, but not again and again."""
        now = self._now()
        if now - self._complained.get(why, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._complained[why] = now
            error = AlertNotDelivered(f"sink {self.name!r}: {why}")
            self._errors.report(error, ErrorContext(path=f"voxtree/alerts/{self.name}"))
