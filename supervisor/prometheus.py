"""Supervision events as Prometheus metrics, with as many series as the code has places for children.

    Supervisor(children, on_event=PrometheusListener())

Opt-in: no other module imports this one, nor `prometheus_client`.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from supervisor.errors import Path
from supervisor.names import static_path
from supervisor.reports import (
    BreakerClosed,
    BreakerOpened,
    BreakerProbed,
    BudgetSpent,
    ChildEnded,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildUnstoppable,
    ErrorEscalated,
    ErrorSurvived,
    Event,
    GaveUp,
    LoopRecovered,
)

BREAKER_STATES = ("closed", "half_open", "open")  # the values 0, 1, 2 of the gauge


class PrometheusListener:
    """Counts what happens in a tree.

    The label `path` is the static path: a child that came by `start_child` is `*`, with all below it named as ever.
    `error` is the class of the error; of which there are as many as the code raises.

    Args:
        registry: where the metrics are registered; once a registry.
        reduce: another way from a path to a label's value, for trees whose supervisors are made with ever new ids.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        reduce: Callable[[Path], str] = lambda path: "/".join(static_path(path)),
    ) -> None:
        self._reduce = reduce

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"supervisor_{name}", what, labels, registry=registry)

        self._running = Gauge("supervisor_children", "Children that run.", ["path"], registry=registry)
        self._starts = counter("starts", "Incarnations that started.", "path")
        self._failed_starts = counter("failed_starts", "Starts that failed.", "path", "error")
        self._exits = counter("exits", "Incarnations that ended, by kind of exit.", "path", "kind")
        self._restarts = counter("restarts", "Restarts, counted in a window.", "path", "error")
        self._survived = counter("survived_errors", "Errors that a child reported and survived.", "path", "error")
        self._ends = counter("gave_up", "Budgets used up and errors escalated.", "path", "how")
        self._leaks = counter("unstoppable", "Children given up that still run.", "path")
        self._opened = counter("breaker_opened", "Times a circuit breaker opened.", "breaker")
        self._breakers = Gauge(
            "supervisor_breaker_state", "0 closed, 1 half open, 2 open.", ["breaker"], registry=registry
        )
        self._blocked = Counter(
            "supervisor_loop_blocked_seconds", "Seconds that the event loop stood still.", registry=registry
        )

    def __call__(self, event: Event) -> None:
        path = self._reduce(event.path)
        match event:
            case ChildStarted():
                self._starts.labels(path).inc()
                self._running.labels(path).inc()
            case ChildEnded(exit=exit):
                self._exits.labels(path, exit.kind.value).inc()
                self._running.labels(path).dec()
            case ChildStartFailed(error=error):
                self._failed_starts.labels(path, type(error).__name__).inc()
            case ChildRestarting(error=error):
                self._restarts.labels(path, _name(error)).inc()
            case ErrorSurvived(error=error):
                self._survived.labels(path, _name(error)).inc()
            case GaveUp() | ErrorEscalated() | BudgetSpent():
                self._ends.labels(path, _HOW[type(event)]).inc()
            case ChildUnstoppable():
                self._leaks.labels(path).inc()
            case BreakerOpened() | BreakerProbed() | BreakerClosed():
                self._on_breaker(event)
            case LoopRecovered(seconds=seconds):
                self._blocked.inc(seconds)
            case _:
                pass

    def _on_breaker(self, event: BreakerOpened | BreakerProbed | BreakerClosed) -> None:
        state = {BreakerOpened: "open", BreakerProbed: "half_open", BreakerClosed: "closed"}[type(event)]
        self._breakers.labels(event.breaker).set(BREAKER_STATES.index(state))
        if isinstance(event, BreakerOpened):
            self._opened.labels(event.breaker).inc()


_HOW: dict[type[Event], str] = {GaveUp: "intensity", ErrorEscalated: "escalated", BudgetSpent: "budget"}


def _name(error: BaseException | None) -> str:
    return "none" if error is None else type(error).__name__
