"""Notices an event loop that stands still, while it does: a thread looks, since nothing else runs then."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

import anyio

from supervisor.errors import Path
from supervisor.incarnation import Incarnation
from supervisor.reports import LoopBlocked, LoopRecovered

logger = logging.getLogger("supervisor")
JOIN = 1.0  # seconds that the end waits for the thread, which may be inside the user's callback


class Watchdog:
    """A child that tells when the event loop it runs in has been blocked, by whom, and for how long.

        Supervisor([Child("watchdog", Watchdog(seconds=1.0).run), ...])

    It works in real time whatever clock the loop has. A thread cannot look while C code holds the interpreter's
    lock; such a block is told when it is over.

    Args:
        seconds: without a sign of life before the loop counts as blocked.
        on_blocked: called in the watchdog's thread, once a block, while the loop still stands: the place to write
            to what outlives the process. By default an error is logged. What it raises is logged.
    """

    def __init__(self, seconds: float = 1.0, *, on_blocked: Callable[[LoopBlocked], None] | None = None) -> None:
        if not seconds > 0:
            raise ValueError(f"a watchdog needs seconds above 0, not {seconds!r}")
        self._seconds = seconds
        self._on_blocked = on_blocked or _log

    async def run(self, *, task_status: Incarnation) -> None:
        """The child's life: four signs of life in each period."""
        watch = _Watch(self._seconds, self._on_blocked, task_status.path, task_status.number)
        watch.start()
        task_status.started()
        try:
            while True:
                await anyio.sleep(self._seconds / 4)
                for event in watch.beat():
                    task_status.emit(event)
        finally:
            watch.stop()


class _Watch:
    """The thread, and what it shares with the loop."""

    def __init__(self, seconds: float, on_blocked: Callable[[LoopBlocked], None], path: Path, number: int) -> None:
        self._seconds = seconds
        self._on_blocked = on_blocked
        self._path = path
        self._number = number
        self._loop_thread = threading.get_ident()
        self._last = time.monotonic()
        self._blocked: LoopBlocked | None = None  # since the last sign of life
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="/".join(path), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(JOIN)

    def beat(self) -> tuple[LoopBlocked | LoopRecovered, ...]:
        """A sign of life; what there is to tell about the time before it."""
        now = time.monotonic()
        silence, self._last = now - self._last, now
        blocked, self._blocked = self._blocked, None
        if blocked is None:
            return ()
        return blocked, LoopRecovered(path=self._path, number=self._number, seconds=silence)

    def _look(self) -> None:
        told = 0.0  # the sign of life after which it was last said that there is none
        while not self._end.wait(max(self._last + self._seconds - time.monotonic(), self._seconds / 4)):
            last = self._last
            silence = time.monotonic() - last
            if silence >= self._seconds and told != last:
                told = last
                self._tell(silence)

    def _tell(self, silence: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        self._blocked = event = LoopBlocked(path=self._path, number=self._number, seconds=silence, stack=stack)
        try:
            self._on_blocked(event)
        except Exception:
            extra = {"event": "listener.failed"}
            logger.exception("on_blocked of %s failed", "/".join(self._path), extra=extra)


def _log(event: LoopBlocked) -> None:
    text = "the event loop has stood still for %.1f s, in:\n%s"
    logger.error(text, event.seconds, event.stack, extra={"event": "tree.loop_blocked"})
