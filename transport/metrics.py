"""A server's metrics, in Prometheus' terms: events are counted as they come, and what lives is looked at now and then.

Labels come from closed sets: codes of the catalogue, configured backends, places in the tree; never sessions, users or
texts. Where a set is known beforehand its counters are there from the start, at zero: Prometheus' `increase` does not
see the first rise of one that was not there before. Metrics of the error handler (`actors.speech.error_handler`) are in
the same registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio
import msgspec
from anyio.abc import TaskStatus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from actors.speech.backends.events import BackendDown, BreakerClosed, BreakerOpened, Health, PoolEvent, PoolState
from actors.speech.catalogue import CATALOGUE, UNKNOWN, Action
from actors.speech.error_handler import ErrorContext
from actors.speech.errors import (
    AudioLost,
    AudioNotKept,
    JournalDamaged,
    JournalFull,
    JournalUnavailable,
    SlowConsumer,
)
from actors.speech.journal.reports import BatchCommitted, BatchFailed, JournalReport
from actors.speech.reports import (
    AudioGivenUp,
    Ending,
    Recovered,
    Said,
    SessionEnded,
    SessionOpened,
    SessionReport,
    SessionResumed,
    StreamBegan,
)
from supervisor.breaker import BreakerState
from supervisor.names import static_path
from supervisor.reports import BudgetSpent, ChildRestarting, ErrorEscalated, Event, GaveUp
from transport.limits.gate import REASONS
from transport.observers import Observer
from transport.version import version

LOOK_SECONDS = 0.5
LATENCIES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
RECOVERIES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
ABSENCES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REJECTED = "rejected"  # the outcome of a session whose client asked for what it cannot have
REFUSALS = ("path", "plain_http", "handshake", "origin")  # of requests, besides what the limits refuse
EXEMPLAR = 100  # characters of a session's id: an exemplar has 128, its name included
COMMITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What lives at a moment.

    Attributes:
        connected, waiting: sessions with a client, and without.
        connections: of clients, those that have no session yet included.
        audio: seconds of audio that were received, by session.
        depth: messages in the fullest mailbox of a session.
        unsent: bytes in the fullest write buffer of a connection.
        newcomers: connections that have not begun a session.
        loop_lag: seconds that the event loop is late, on average; loop_is_late: so that nobody new is let in.
    """

    connected: int
    waiting: int
    connections: int
    audio: dict[str, float]
    depth: int
    unsent: int
    pool: PoolState
    newcomers: int = 0
    loop_lag: float = 0.0
    loop_is_late: bool = False


class Metrics(Observer):
    """Counts what it is told, and looks at what lives while `run` does.

    Args:
        registry: where the metrics are; once a registry.
        look: called in the event loop, twice a second.
        store: the journal's kind.
    """

    def __init__(self, registry: CollectorRegistry, look: Callable[[], Sample], *, store: str) -> None:
        self._look = look
        self._store = store
        self._audio: dict[str, float] = {}  # seconds that are counted already, by session
        self._backends: set[str] = set()  # that are shown

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"voxtree_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"voxtree_{name}", what, labels, registry=registry)

        def histogram(name: str, what: str, buckets: Iterable[float], *labels: str) -> Histogram:
            return Histogram(f"voxtree_{name}", what, labels, buckets=tuple(buckets), registry=registry)

        self._active = gauge("sessions_active", "Sessions that live, by whether their client is connected.", "state")
        self._sessions = counter("sessions", "Sessions that ended, by how.", "outcome")
        self._opened = counter("sessions_opened", "Sessions that began, or were claimed from another server.", "how")
        self._errors = counter("session_errors", "Errors that belong to a session.", "code", "category")
        self._connections = gauge("connections", "Clients that are connected.")
        self._resumes = counter("resumes", "Clients that came back, by whether they had been away.", "result")
        self._away = histogram("resume_gap_seconds", "Time that clients who came back had been away.", ABSENCES)
        self._replayed = counter("replayed_audio_seconds", "Audio that was sent to a backend once more.")
        self._received = counter("audio_received_seconds", "Audio that clients sent.")
        self._lost = counter("audio_lost_seconds", "Audio that was given up, and announced as a gap.", "reason")
        self._final = histogram("final_latency_seconds", "From audio's arrival to the final that covers it.", LATENCIES)
        self._partial = histogram("partial_latency_seconds", "The same to an interim result.", LATENCIES)
        self._failovers = counter("failovers", "Streams that were lost and recovered.", "source", "target")
        self._failover = histogram(
            "failover_duration_seconds", "From a stream's loss to the first words after it.", RECOVERIES
        )
        self._up = gauge("backend_up", "1: it answers.", "backend")
        self._streams = gauge("backend_streams", "Streams that are lent.", "backend")
        self._room = gauge("backend_streams_max", "Streams that may be lent now.", "backend")
        self._downs = counter("backend_rpc_errors", "Errors of a backend.", "backend", "code")
        self._waiting = gauge("backend_waiting_sessions", "Sessions that wait for a backend.")
        self._breaker = gauge("breaker_state", "1: the backend's breaker is in this state.", "backend", "state")
        self._breakers = counter("breaker_transitions", "Changes of a backend's breaker.", "backend", "state")
        self._restarts = counter("actor_restarts", "Restarts, by the place in the tree.", "supervisor")
        self._escalations = counter("supervisor_escalations", "Supervisors that gave up.", "supervisor")
        self._depth = gauge("mailbox_depth_max", "Messages in the fullest mailbox of a session.")
        self._lag = histogram("event_loop_lag_seconds", "How late the event loop runs what is due.", LAGS)
        self._commits = histogram("journal_append_seconds", "Time of a commit of the journal.", COMMITS, "store")
        self._commit_errors = counter("journal_errors", "Attempts of the journal that failed.", "code")
        self._fenced = counter("fenced_writes", "Writes of owners that had been deposed.")
        self._slow = counter("slow_consumer", "Clients that were ended because they read too slowly.")
        self._unsent = gauge("send_buffer_bytes_max", "Bytes in the fullest write buffer of a connection.")
        self._refused = counter("handshake_rejected", "Requests that were refused before a session.", "reason")
        self._newcomers = gauge("connections_without_session", "Connections that have not begun a session.")
        self._late_by = gauge("admission_loop_lag_seconds", "How late the event loop is, over the last second.")
        self._is_late = gauge("admission_loop_is_late", "1: new sessions are refused because of that.")
        self._expiry = gauge(
            "certificate_expiry_seconds",
            "Until the certificate that is shown is not valid any more.",
            "certificate",
        )
        self._reloaded = gauge("config_last_reload_successful", "0: the settings of the last reload were not usable.")
        self._reloaded.set(1)
        gauge("build_info", "Which voxtree this is.", "version").labels(version()).set(1)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        for state in ("connected", "waiting"):
            self._active.labels(state)
        for outcome in (*(ending.value for ending in Ending), REJECTED):
            self._sessions.labels(outcome)
        for lost in (AudioLost, AudioNotKept):
            self._lost.labels(lost.entry.code)
        for error in (JournalUnavailable, JournalFull, JournalDamaged):
            self._commit_errors.labels(error.entry.code)
        self._commits.labels(self._store)
        for reason in (*REFUSALS, *REASONS):
            self._refused.labels(reason)

    # ---- events

    def tree(self, event: Event) -> None:
        match event:
            case ChildRestarting(path=path):
                self._restarts.labels("/".join(static_path(path))).inc()
            case GaveUp(path=path) | ErrorEscalated(path=path) | BudgetSpent(path=path):
                self._escalations.labels("/".join(static_path(path))).inc()
            case _:
                pass

    def pool(self, event: PoolEvent) -> None:
        match event:
            case BreakerOpened(name=name):
                self._breakers.labels(name, BreakerState.OPEN.value).inc()
            case BreakerClosed(name=name):
                self._breakers.labels(name, BreakerState.CLOSED.value).inc()
            case BackendDown(name=name):
                self._up.labels(name).set(0)
            case _:
                pass

    def session(self, report: SessionReport) -> None:
        match report:
            case Said(session=session, is_final=is_final, latency=latency):
                if latency is not None and is_final:
                    self._final.observe(latency, {"session": session[:EXEMPLAR]})
                elif latency is not None:
                    self._partial.observe(latency)
            case SessionOpened(claimed=claimed):
                self._opened.labels("claimed" if claimed else "new").inc()
            case SessionResumed(away=away):
                self._resumes.labels("returned" if away else "took_over").inc()
                self._away.observe(away)
            case SessionEnded(session=session, ending=ending, code=code, audio=audio):
                self._sessions.labels(_outcome(ending, code)).inc()
                self._received.inc(max(0.0, audio - self._audio.pop(session, 0.0)))
            case StreamBegan(replayed=replayed):
                self._replayed.inc(replayed)
            case Recovered(seconds=seconds, source=source, target=target):
                self._failovers.labels(source or "none", target).inc()
                self._failover.observe(seconds)
            case AudioGivenUp(seconds=seconds, code=code):
                self._lost.labels(code).inc(seconds)
            case _:
                pass

    def error(self, error: ErrorContext) -> None:
        if error.session_id:
            self._errors.labels(error.error_code, error.error_code.partition("_")[0]).inc()
        if error.endpoint:
            self._downs.labels(error.endpoint, error.error_code).inc()
        if error.error_code == SlowConsumer.entry.code:
            self._slow.inc()

    def journal(self, report: JournalReport) -> None:
        match report:
            case BatchCommitted(seconds=seconds, fenced=fenced):
                self._commits.labels(self._store).observe(seconds)
                self._fenced.inc(fenced)
            case BatchFailed(code=code):
                self._commit_errors.labels(code).inc()

    def watch_certificate(self, expires_in: Callable[[], float]) -> None:
        """Expose how long the certificate that clients are shown is still valid."""
        self._expiry.labels("clients").set_function(expires_in)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def reloaded(self, ok: bool) -> None:
        self._reloaded.set(ok)

    # ---- what lives

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A supervised child: looks at what lives, and at how late the event loop is."""
        task_status.started()
        while True:
            due = anyio.current_time() + LOOK_SECONDS
            await anyio.sleep_until(due)
            self._lag.observe(max(0.0, anyio.current_time() - due))
            self.take(self._look())

    def take(self, sample: Sample) -> None:
        """Show what lives."""
        self._active.labels("connected").set(sample.connected)
        self._active.labels("waiting").set(sample.waiting)
        self._connections.set(sample.connections)
        self._depth.set(sample.depth)
        self._unsent.set(sample.unsent)
        self._newcomers.set(sample.newcomers)
        self._late_by.set(sample.loop_lag)
        self._is_late.set(sample.loop_is_late)
        for session, seconds in sample.audio.items():
            self._received.inc(max(0.0, seconds - self._audio.get(session, 0.0)))
        self._audio = dict(sample.audio)
        self._take_pool(sample.pool)

    def _take_pool(self, pool: PoolState) -> None:
        self._waiting.set(pool.waiting)
        # One that was replaced is there beside its successor of the same name for as long as it has streams.
        by_name = {each.name: each for each in sorted(pool.backends, key=lambda each: each.leaving, reverse=True)}
        for gone in self._backends - by_name.keys():
            self._hide(gone)
        self._backends = set(by_name)
        for backend in by_name.values():
            self._up.labels(backend.name).set(backend.health is Health.READY)
            self._streams.labels(backend.name).set(backend.streams)
            self._room.labels(backend.name).set(backend.cap)
            for state in BreakerState:
                self._breaker.labels(backend.name, state.value).set(backend.breaker is state)
            for state in (BreakerState.OPEN, BreakerState.CLOSED):
                self._breakers.labels(backend.name, state.value)

    def _hide(self, backend: str) -> None:
        for one in (self._up, self._streams, self._room):
            one.remove(backend)
        for state in BreakerState:
            self._breaker.remove(backend, state.value)


def _outcome(ending: Ending, code: str | None) -> str:
    """How a session ended, for the objective that few end by an error of ours: what a client has to mend is none."""
    if ending is Ending.FAILED and code and CATALOGUE.get(code, UNKNOWN).action is Action.FIX_CONFIG:
        return REJECTED
    return ending.value
