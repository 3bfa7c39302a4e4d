"""Who may decode next: a few threads, a queue by urgency, and nothing that matters ever dropped."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator
from enum import IntEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Priority(IntEnum):
    """Smaller goes first."""

    FINAL = 0
    EARLY_END = 1  # most often the final of a moment later
    OFFLINE = 2
    FIRST_INTERIM = 3  # a speaker who sees nothing doubts that anybody listens
    INTERIM = 4


class Job(Generic[T]):
    """A piece of work that may wait. Await it for its result; None when it was dropped.

    Only the event loop's thread may touch it, except for `run`.
    """

    def __init__(self, work: Callable[[], T], priority: Priority, loop: asyncio.AbstractEventLoop) -> None:
        self.priority = priority
        self._work = work
        self._loop = loop
        self._outcome: asyncio.Future[T | None] = loop.create_future()
        self.begun = False  # a thread has taken it

    def __await__(self) -> Generator[Any, None, T | None]:
        return self._outcome.__await__()

    @property
    def is_interim(self) -> bool:
        return self.priority >= Priority.FIRST_INTERIM

    @property
    def done(self) -> bool:
        return self._outcome.done()

    def on_done(self, callback: Callable[[Job[T]], object]) -> None:
        self._outcome.add_done_callback(lambda _: callback(self))

    def drop(self) -> None:
        """Its result is wanted no more. If it has not begun it never will."""
        if not self._outcome.done():
            self._outcome.set_result(None)

    def run(self) -> None:
        """Do the work, on a decode thread."""
        try:
            result = self._work()
        except Exception as exc:  # a crash of the model is the result: it is raised where the job is awaited
            self._deliver(self._fail, exc)
        else:
            self._deliver(self._succeed, result)

    def _deliver(self, callback: Callable[..., None], value: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, value)

    def _succeed(self, result: T) -> None:
        if not self._outcome.done():
            self._outcome.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)


class Backlog:
    """The jobs that wait. Most urgent first, then first come; pure, and not thread-safe."""

    def __init__(self) -> None:
        self._heap: list[tuple[Priority, int, Job[Any]]] = []
        self._order = itertools.count()
        self._waiting: set[Job[Any]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, job: Job[Any]) -> None:
        """Add a job, or move one that waits to its changed priority."""
        self._waiting.add(job)
        heapq.heappush(self._heap, (job.priority, next(self._order), job))

    def discard(self, job: Job[Any]) -> None:
        self._waiting.discard(job)

    def promote(self, job: Job[Any], priority: Priority) -> None:
        """Make a job more urgent; nothing happens when it has begun."""
        if job in self._waiting and priority < job.priority:
            job.priority = priority
            self.push(job)

    def pop(self, *, interims: bool = True) -> Job[Any] | None:
        """The next job to do; unless `interims`, one that is not an interim's."""
        while self._heap:
            _, _, job = self._heap[0]
            waits = job in self._waiting  # else dropped, or an older entry of a promoted job
            if waits and job.is_interim and not interims:
                return None
            heapq.heappop(self._heap)
            if waits:
                self._waiting.remove(job)
                return job
        return None


class Scheduler:
    """Runs jobs on `threads` threads. Use it as an async context manager, from one event loop.

    A final never waits for an interim: those leave one thread free, where there are several, and after each one
    they leave theirs free as long as it took, so that crowded cores still finish finals in time.
    Leaving the context waits for the jobs in hand, at most a few hundred milliseconds, and drops the others.
    """

    def __init__(self, threads: int) -> None:
        self._backlog = Backlog()
        self._changed = threading.Condition()
        self._closing = False
        self._interims = 0  # being decoded
        self._max_interims = max(1, threads - 1)
        self._interims_rest_until = 0.0
        self._threads = [threading.Thread(target=self._work, name=f"decode-{n}", daemon=True) for n in range(threads)]

    async def __aenter__(self) -> Scheduler:
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def submit(self, work: Callable[[], T], priority: Priority, *, max_wait: float | None = None) -> Job[T]:
        """Queue `work`; with `max_wait` it is dropped when it has not begun after so many seconds."""
        job = Job(work, priority, self._loop)
        with self._changed:
            self._backlog.push(job)
            self._changed.notify()
        if max_wait is not None:
            timer = self._loop.call_later(max_wait, self._expire, job)
            job.on_done(lambda _: timer.cancel())
        return job

    def promote(self, job: Job[Any], priority: Priority) -> None:
        with self._changed:
            self._backlog.promote(job, priority)

    def drop(self, job: Job[Any]) -> None:
        """Forget a job: unless it has begun it never will, and its result is None."""
        with self._changed:
            self._backlog.discard(job)
        job.drop()

    def _expire(self, job: Job[Any]) -> None:
        if not job.begun:
            self.drop(job)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            began = time.monotonic()
            job.run()
            self._done(job, time.monotonic() - began)

    def _take(self) -> Job[Any] | None:
        """The next job, when there is one; None at the end."""
        with self._changed:
            while not self._closing:
                rest = self._interims_rest_until - time.monotonic()
                allowed = self._interims < self._max_interims and rest <= 0
                job = self._backlog.pop(interims=allowed)
                if job is not None:
                    job.begun = True
                    self._interims += job.is_interim
                    return job
                self._changed.wait(rest if rest > 0 and self._backlog else None)
        return None

    def _done(self, job: Job[Any], seconds: float) -> None:
        with self._changed:
            if job.is_interim:
                self._interims -= 1
                self._interims_rest_until = time.monotonic() + seconds
            self._changed.notify()
