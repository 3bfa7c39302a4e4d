"""The composition root: builds the tree of a server. The one place that names every concrete class."""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import msgspec
from prometheus_client import CollectorRegistry

from actors.address import Ref
from actors.hosting import actor_child
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import NotReloaded, SpeechError
from actors.speech.injection import Faults, FaultyBackend, FaultySessionActor
from actors.speech.keeping import Keeping
from actors.speech.messages import CacheMessage
from actors.speech.policies import SERVER_POLICIES
from actors.speech.ports import RecognitionBackend
from actors.speech.record import SessionRecord
from actors.speech.session import SessionActor
from actors.speech.sessions import Sessions
from actors.speech.transcript_cache import MAILBOX, TranscriptCache
from supervisor.errors import Path as TreePath
from supervisor.reports import ChildFailed, ChildStarted, Event, Exit
from supervisor.spec import Child, Intensity, Restart
from supervisor.tree import Supervisor
from supervisor.watchdog import Watchdog
from transport.admin.admin import Admin
from transport.admin.chronicle import Chronicle
from transport.admin.orders import OwnClerk
from transport.admin.survey import Parts, Survey
from transport.admission import Admission
from transport.alerts import Alerts
from transport.asgi_door import AsgiDoor
from transport.auth import Authentication
from transport.backends import Backends, Changes
from transport.cache.similar import SimilarAudio
from transport.clients import Door
from transport.embedded_backend import embedded_endpoint, make_embedded
from transport.front_door import Address, FrontDoor
from transport.grpc_door import GrpcDoor
from transport.grpc_door.door import DEFAULT_LIMITS
from transport.journal import make_bodies, make_journal
from transport.limits import Gate, LoopLoad, ReturnTimes
from transport.listener import Turns
from transport.logs import Logging
from transport.metrics import Metrics, Sample
from transport.observers import Observer, Observers
from transport.reporting import Reporting
from transport.riva.channel import Endpoint, with_secrets
from transport.riva.client import RivaBackend
from transport.settings import EMBEDDED_NAME, Cache, Inject, Journal, Session, Settings, SettingsError
from transport.starting import explained
from transport.tls import Certificate
from transport.tracing import Tracing
from transport.web import site
from transport.wire.client_secrets import ClientSecrets
from transport.wire.dialects import doors, routes
from transport.wire.port import Limits

_log = logging.getLogger(__name__)

BUDGET = Intensity(restarts=10, seconds=10.0)  # of a part of the server; backoff keeps a crash loop below it


class Place(NamedTuple):
    """A process among others that are one server to their clients.

    Attributes:
        secrets: makes secrets that the others know too.
        sockets: to listen on, by port, as the others do.
        turns: which of them accepts.
    """

    secrets: ClientSecrets
    sockets: Mapping[int, Sequence[socket.socket]]
    turns: Turns


class App:
    """One server: watchdog, alerts, journal, recogniser, backends, sessions, front door; it stops in reverse order.

    Run it with `async with app.tree`.

    Attributes:
        cache: the address of the cache of transcripts, which starts before the sessions; None: not wanted.

    Args:
        listener: told what happens in the tree, besides the log.
        on_leak: see `Supervisor`; for a process that is nothing but this server, the place to end it.
        mounted: clients come through somebody else's web server (`transport.asgi`), and nothing is listened on.
        place: among other processes that are one server to their clients; None: it is the only one.
        observer: told of everything, besides.
    """

    def __init__(
        self,
        settings: Settings,
        listener: Callable[[Event], None] | None = None,
        on_leak: Callable[[list[TreePath]], None] | None = None,
        *,
        mounted: bool = False,
        place: Place | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._listener = listener
        self._place = place
        self._has_vosk_door = settings.dialects.vosk_port is not None and not mounted
        self.registry = CollectorRegistry()
        self.errors = ErrorHandler(self.registry, listener=lambda error: self._observers.error(error))
        self.chronicle = Chronicle()
        self.admin = self._admin(settings) if settings.admin.enabled else None
        console = [] if self.admin is None else [self.chronicle]
        self.alerts = Alerts(settings.alerts, self.errors, self.registry) if settings.alerts.sinks else None
        alerts = [] if self.alerts is None else [self.alerts]
        self.metrics = Metrics(self.registry, self._sample, store=settings.journal.store)
        self.tracing = Tracing(settings.tracing) if settings.tracing.enabled else None
        others = [] if observer is None else [observer]
        traces = [] if self.tracing is None else [self.tracing]
        self._observers = Observers(
            [Reporting(self.errors, self._whose), Logging(), self.metrics, *console, *alerts, *traces, *others]
        )
        self.faults = _faults(settings.inject)
        self.embedded = make_embedded(settings.embedded) if settings.uses_embedded else None
        self.backends = Backends(
            self._endpoints(settings),
            lambda: self.tree.value("backends"),
            listener=self._observers.pool,
            disguise=self._disguised,
        )
        self.pool = self.backends.pool
        self.cache = Ref[CacheMessage]("cache", MAILBOX) if settings.cache.enabled else None
        self.journal = make_journal(settings, self._observers.journal)
        self.load = LoopLoad()
        self.sessions = Sessions(
            lambda: self.tree.value("sessions"),
            self.pool,
            Keeping(self.journal, make_bodies(settings)),
            max_sessions=settings.session.max_sessions,
            log_seconds=settings.session.log_seconds,
            spool_seconds=settings.session.spool_seconds,
            spool_dir=settings.session.spool_dir,
            window=settings.session.resume_window,
            actor=self._session_actor,
            cache=self.cache,
            retry_after=lambda: self.gate.retry_after(),
            listener=self._observers.session,
        )
        self.gate = Gate(
            settings.limits,
            lives=lambda session_id: self.sessions.get(session_id) is not None,
            has_room=self.sessions.ready,
            has_room_to_return=self.sessions.ready_to_claim,
            connections=lambda: self._connections,
            load=self.load,
            returns=ReturnTimes(),
        )
        self.certificate = self._certificate(settings)
        self._secrets = ClientSecrets() if place is None else place.secrets
        self.authentication = Authentication(settings.auth, self._secrets)
        self.admission = Admission(settings.server, self.authentication, self.gate)
        self.front_door: Door = self._asgi_door(settings) if mounted else self._front_door(settings)
        self.riva_door = self._riva_door(settings)
        self.tree = Supervisor(
            self._children(settings),
            name="voxtree",
            intensity=BUDGET,
            policies=SERVER_POLICIES,
            on_event=self._on_event,
            on_leak=on_leak,
        )

    @property
    def url(self) -> str:
        """Where clients connect, once the tree runs; empty if they come through another server."""
        return self.front_door.url

    def other_doors(self) -> dict[str, Address]:
        """Where else clients of other systems connect, by name, once the tree runs."""
        found = {"riva over gRPC": self.tree.value("riva door")} if self.riva_door is not None else {}
        if self._has_vosk_door:
            found["vosk"] = self.tree.value("front door")[-1]
        return found

    async def reload(self, settings: Settings) -> Changes:
        """Use what can be used of other settings: backends, keys, origins and limits. No session is dropped.

        Raises:
            SettingsError: they cannot be used; everything is as it was then.
        """
        endpoints = self._endpoints(settings)
        if not endpoints:
            raise SettingsError("no backends are left, and the embedded recogniser does not run: that needs a restart")
        authority = self.authentication.read()
        if self.certificate is not None:
            self.certificate.reload()
        try:
            changes = await self.backends.reconfigure(endpoints)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        self.authentication.adopt(authority)
        self.admission.adopt(settings.server)
        self.gate.adopt(settings.limits)
        self.front_door.adopt(settings.session, settings.limits)
        if self.riva_door is not None:
            self.riva_door.adopt(_call_limits(settings.session))
        self.sessions.adopt(max_sessions=settings.session.max_sessions, window=settings.session.resume_window)
        return changes

    def reloaded(self, ok: bool) -> None:
        """Let everybody who observes know that the settings were read again."""
        self._observers.reloaded(ok)

    def _certificate(self, settings: Settings) -> Certificate | None:
        if settings.tls.cert_file is None:
            return None
        certificate = Certificate(settings.tls, on_refused=self._not_replaced)
        self.metrics.watch_certificate(certificate.expires_in)
        return certificate

    def _not_replaced(self, error: SettingsError) -> None:
        problem = NotReloaded(f"the certificate in use stays: {error}")
        self.errors.report(problem, ErrorContext(path="certificate"))

    def _riva_door(self, settings: Settings) -> GrpcDoor | None:
        if settings.dialects.riva_port is None:
            return None
        return GrpcDoor(
            settings.server.host,
            settings.dialects.riva_port,
            self.sessions,
            self.errors,
            models=self.backends.models,
            admission=self.admission,
            limits=_call_limits(settings.session),
            shutdown_timeout=settings.server.shutdown_timeout,
            credentials=None if self.certificate is None else self.certificate.grpc_credentials,
            shared=self._place is not None,
            on_refused=self._observers.refused,
        )

    def _drain_riva_door(self) -> None:
        """Both doors drain at the same time, though the supervisor stops one after the other."""
        if self.riva_door is not None:
            self.riva_door.drain()

    def _front_door(self, settings: Settings) -> FrontDoor:
        return FrontDoor(
            settings.server,
            settings.session,
            self.sessions,
            self.errors,
            limits=settings.limits,
            admission=self.admission,
            faults=self.faults,
            site=site() if settings.server.page else {},
            routes=routes(settings.dialects.enabled, self._secrets),
            doors=doors(settings.dialects.vosk_port),
            on_refused=self._observers.refused,
            on_drain=self._drain_riva_door,
            tls=None if self.certificate is None else self.certificate.context,
            sockets={} if self._place is None else self._place.sockets,
            turns=None if self._place is None else self._place.turns,
        )

    def _asgi_door(self, settings: Settings) -> AsgiDoor:
        return AsgiDoor(
            settings.server,
            settings.session,
            self.sessions,
            self.errors,
            admission=self.admission,
            faults=self.faults,
            on_refused=self._observers.refused,
        )

    def _admin(self, settings: Settings) -> Admin:
        parts = Parts(
            tree=lambda: self.tree,
            pool=lambda: self.pool,
            sessions=lambda: self.sessions,
            journal=lambda: self.journal,
            front_door=lambda: self.front_door,
            mailboxes=self._mailboxes,
        )
        survey = Survey(parts, self.chronicle, actions=settings.admin.actions)
        return Admin(settings.admin, survey, self.registry, self.chronicle.timeline, OwnClerk(parts))

    def _sample(self) -> Sample:
        """What lives now, in numbers; some 1 µs a session."""
        sessions = self.sessions.live()
        connected = sum(session.record.client is not None for session in sessions)
        return Sample(
            connected=connected,
            waiting=len(sessions) - connected,
            connections=self._connections,
            newcomers=self.front_door.newcomers,
            loop_lag=self.load.level,
            loop_is_late=self.load.is_over,
            audio={session.record.session_id: session.record.taken for session in sessions},
            depth=max((session.ref.depth for session in sessions), default=0),
            unsent=self.front_door.unsent,
            pool=self.pool.snapshot(),
        )

    @property
    def _connections(self) -> int:
        return self.front_door.connections + (0 if self.riva_door is None else self.riva_door.calls)

    def _whose(self, session_id: str) -> str:
        """The user of a session that lives here."""
        session = self.sessions.get(session_id)
        return "" if session is None else session.record.user

    def _mailboxes(self) -> dict[str, int]:
        """How much waits for parts outside sessions, by their paths."""
        waiting = {"journal": len(self.journal)}
        if self.cache is not None:
            waiting["cache/index"] = self.cache.depth
        return {f"{self.tree.name}/{path}": depth for path, depth in waiting.items()}

    def _endpoints(self, settings: Settings) -> list[Endpoint]:
        try:
            backends = [with_secrets(backend) for backend in settings.backends]
        except ValueError as error:
            raise SettingsError(str(error)) from error
        return backends if self.embedded is None else [*backends, embedded_endpoint(self.embedded)]

    def _disguised(self, backend: RivaBackend) -> RecognitionBackend:
        return backend if self.faults is None else FaultyBackend(backend, self.faults)

    def _session_actor(self, record: SessionRecord, keeping: Keeping) -> SessionActor:
        if self.faults is None:
            return SessionActor(record, keeping)
        return FaultySessionActor(record, keeping, self.faults)

    def _children(self, settings: Settings) -> list[Child]:
        children = [Child(EMBEDDED_NAME, self.embedded.run)] if self.embedded is not None else []
        return [
            Child("watchdog", Watchdog().run),
            Child("load", self.load.run),
            *([] if self.admin is None else [self.admin.child()]),
            Child("errors", self.errors.run),
            Child("metrics", self.metrics.run),
            *([] if self.alerts is None else [self.alerts.child()]),
            self.journal.child(),
            *children,
            self.backends.child(),
            *([] if self.cache is None else [_cache(settings.cache, self.cache)]),
            self.sessions.child(),
            *([] if self.certificate is None else [Child("certificate", self.certificate.run)]),
            *([] if self.authentication.key_set is None else [Child("token keys", self.authentication.key_set.run)]),
            *([] if self.riva_door is None else [_door("riva door", self.riva_door, settings)]),
            _door("front door", self.front_door, settings),
        ]

    def _on_event(self, event: Event) -> None:
        self._observers.tree(event)
        if event.path == (self.tree.name, EMBEDDED_NAME):
            match event:
                case ChildFailed(exit=Exit(error=SpeechError() as error)):
                    self.pool.down(EMBEDDED_NAME, error)
                case ChildStarted():
                    self.pool.ready(EMBEDDED_NAME)
        if self._listener is not None:
            self._listener(event)


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    private: bool = False,
    mounted: bool = False,
    place: Place | None = None,
    observer: Observer | None = None,
    listener: Callable[[Event], None] | None = None,
    on_leak: Callable[[list[TreePath]], None] | None = None,
) -> AsyncGenerator[App, None]:
    """A server that runs while the context is open.

    Args:
        private: for whoever starts it alone: on any free port of this machine, and with a journal that ends with it.
        mounted, place, observer, listener, on_leak: see `App`.

    Raises:
        CannotStart: with what to say to whoever wanted it.
    """
    if private:
        server = msgspec.structs.replace(settings.server, host="127.0.0.1", port=0)
        admin = msgspec.structs.replace(settings.admin, host="127.0.0.1", port=0)
        settings = msgspec.structs.replace(settings, server=server, admin=admin, journal=Journal(store="memory"))
    app = App(settings, listener, on_leak, mounted=mounted, place=place, observer=observer)
    with explained():
        async with _flushed(app.tracing), app.tree:
            yield app


@asynccontextmanager
async def _flushed(tracing: Tracing | None) -> AsyncGenerator[None, None]:
    """What was traced in the context is sent when it ends."""
    try:
        yield
    finally:
        if tracing is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(tracing.close)


def _faults(wanted: Inject) -> Faults | None:
    if not any(wanted.rates.values()):
        return None
    faults = Faults(wanted.rates, random=random.Random(wanted.seed).random, on_fault=_log_fault)
    _log.warning("ERRORS ARE INJECTED ON PURPOSE: %s", faults, extra={"event": "inject.enabled"})
    return faults


def _log_fault(error: SpeechError, whom: str) -> None:
    _log.warning("injected into %s: %s", whom, error, extra={"event": "inject.fault", "code": error.code})


def _cache(wanted: Cache, ref: Ref[CacheMessage]) -> Child:
    """The cache of transcripts below a supervisor of its own: if it keeps failing, the server goes on without."""

    def make() -> TranscriptCache:
        return TranscriptCache(
            SimilarAudio(max_entries=wanted.max_entries, max_bytes=wanted.max_megabytes * 1_000_000, ttl=wanted.ttl)
        )

    return Supervisor.child("cache", [actor_child("index", make, ref=ref)], restart=Restart.TEMPORARY)


def _door(name: str, door: Door | GrpcDoor, settings: Settings) -> Child:
    return Child(name, door.serve, shutdown=settings.server.shutdown_timeout)


def _call_limits(wanted: Session) -> Limits:
    return msgspec.structs.replace(
        DEFAULT_LIMITS, max_chunk_bytes=wanted.max_chunk_bytes, idle_timeout=wanted.idle_timeout
    )
