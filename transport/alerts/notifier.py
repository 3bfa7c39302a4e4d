"""The built-in notifier: listens to what happens, asks its watch what is worth telling, and hands that to its sinks."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterable

import anyio
import msgspec
from prometheus_client import CollectorRegistry, Counter

from actors.speech.backends.events import PoolEvent
from actors.speech.error_handler import ErrorContext, ErrorHandler
from supervisor.incarnation import Incarnation
from supervisor.policy import Backoff, Directive, Policy, PolicyTable
from supervisor.spec import Child, Intensity, Restart
from supervisor.tree import Supervisor
from transport.alerts.making import make_dialects, make_manners
from transport.alerts.notices import Notice
from transport.alerts.posting import Poster
from transport.alerts.sink import Sink
from transport.alerts.watch import Watch
from transport.observers import Observer
from transport.settings import Alerts as AlertSettings

LAST_WORDS = 3.0  # seconds at the end, in which all sinks together are sent what waits
# A part that keeps crashing here must not use up the restarts of the server: it comes back, later each time.
_POLICIES = PolicyTable({}, default=Policy(Directive.BACKOFF, Backoff(initial=0.5, maximum=60.0)))
_BUDGET = Intensity(restarts=20, seconds=60.0)


class Alerts(Observer):
    """Tells of errors, conditions and rates, and of their ends. It listens as an observer and is a part of the tree.

    Metric: `voxtree_alerts_sent_total{sink,result}`.

    Args:
        errors: told of what could not be delivered.
        registry: where the metric is registered.
        clock: seconds since 1970.
        now: seconds of a clock that does not jump.

    Raises:
        SettingsError: a secret cannot be read.
    """

    def __init__(
        self,
        settings: AlertSettings,
        errors: ErrorHandler,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        sent = Counter("voxtree_alerts_sent", "Alerts by what became of them.", ["sink", "result"], registry=registry)
        self._clock = clock
        self._now = now
        self._watch = Watch(host_of(settings), now(), quiet=settings.quiet)
        self._woken = anyio.Event()
        self._sleeps_until = math.inf
        self._sinks = [
            Sink(
                wanted.name,
                dialect,
                make_manners(wanted, dialect),
                Poster(wanted.timeout).post,
                errors=errors,
                sent=sent,
                clock=clock,
                now=now,
            )
            for wanted, dialect in zip(settings.sinks, make_dialects(settings), strict=True)
        ]

    def error(self, error: ErrorContext) -> None:
        self._tell(self._watch.error(error, self._now()))

    def pool(self, event: PoolEvent) -> None:
        self._tell(self._watch.pool(event, self._now()))

    def child(self) -> Child:
        """To be started before whatever may fail, so that it is stopped after it."""
        children = [
            Child("watch", self._run),
            *(Child(f"sink:{sink.name}", sink.run) for sink in self._sinks),
            Child("last words", self._last_words, shutdown=LAST_WORDS),
        ]
        return Supervisor.child(
            "alerts", children, intensity=_BUDGET, policies=_POLICIES, restart=Restart.TEMPORARY
        )  # if it gives up in spite of all, the server goes on without it

    async def _run(self, *, task_status: Incarnation) -> None:
        """Tells what comes with time: digests, ends, and what had to wait."""
        task_status.started()
        while True:
            self._woken = anyio.Event()
            self._sleeps_until = self._watch.due
            with anyio.move_on_after(self._sleeps_until - self._now()):
                await self._woken.wait()
            self._tell(self._watch.tick(self._now()))

    async def _last_words(self, *, task_status: Incarnation) -> None:
        """Stopped first of all that is here, it lets the sinks have what still waits: why the process ends, perhaps."""
        asked = anyio.Event()
        task_status.on_stop(asked.set)
        task_status.started()
        await asked.wait()
        with anyio.move_on_after(0.9 * LAST_WORDS):
            async with anyio.create_task_group() as tasks:
                for sink in self._sinks:
                    tasks.start_soon(sink.finish)

    def _tell(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            stamped = msgspec.structs.replace(notice, when=self._clock())
            for sink in self._sinks:
                sink.offer(stamped)
        if self._watch.due < self._sleeps_until:
            self._woken.set()


def host_of(settings: AlertSettings) -> str:
    """What this server is called."""
    return settings.host or socket.gethostname()
