"""All live sessions: opened on request, each a small supervision tree of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio

from actors.address import Ref
from actors.errors import ActorGone
from actors.hosting import actor_child
from actors.mailbox import Mailbox
from actors.speech.audio_log import SAMPLE_BYTES
from actors.speech.errors import ServerBusy, SessionInUse, SpeechError, UnexpectedError
from actors.speech.messages import (
    Audio,
    CacheMessage,
    ClientGone,
    Drain,
    Finalize,
    Problem,
    Ready,
    RecogniserDown,
    SessionEvent,
    SessionMessage,
    Stop,
)
from actors.speech.pace import Pace
from actors.speech.policies import SESSION_POLICIES
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig
from actors.speech.recaller import Recaller
from actors.speech.recogniser import Recogniser
from actors.speech.record import SessionRecord
from actors.speech.session import SessionActor
from supervisor.reports import ChildEnded, ChildFailed, Event, Exit
from supervisor.spec import AutoShutdown, Child, Intensity, Restart, Strategy
from supervisor.tree import Supervisor

PREFIX = "session:"  # of the trees' names
MAILBOX = Mailbox(64)  # over a second of 20 ms frames; a client ahead of that waits
SESSION_BUDGET = Intensity(restarts=20, seconds=10.0)  # a backend that flaps is paced by backoff long before this
BUSY_RETRY = 5.0  # seconds after which a refused client may find a place


class Session:
    """A client's end of one session: what it sends goes in here, what it is told comes out.

    One task may send while another waits in `next_event`.
    """

    def __init__(self, record: SessionRecord) -> None:
        self.record = record
        self.ref: Ref[SessionMessage] = Ref(PREFIX + record.session_id, MAILBOX)
        self._pace = Pace()
        self._untimed = 0  # samples the pace does not know of yet
        self._beat = record.config.sample_rate // 2  # … and after how many it is told: not the clock for each frame
        self._sent = record.log.end  # the position after the last sample handed over, be it appended yet or not
        self._piece = record.config.sample_rate * SAMPLE_BYTES

    async def audio(self, pcm: bytes) -> None:
        """Append PCM16 mono at the session's rate, in pieces of a second at most.

        It waits while the session's memory is full of unsettled audio, if the client is ahead of real time. Live
        speech cannot be made to wait: it goes to disk, and past the bounds of that the oldest is lost, with a `Gap`.
        """
        if len(pcm) <= self._piece:
            await self._audio(pcm)
        else:
            for start in range(0, len(pcm), self._piece):
                await self._audio(pcm[start : start + self._piece])

    async def finalize(self) -> None:
        """End the utterance here."""
        await self._send(Finalize())

    async def stop(self) -> None:
        """No more audio; the remaining finals follow, then `Done`."""
        await self._send(Stop())

    async def next_event(self) -> SessionEvent:
        """What to tell the client next; the last is `Done` or a fatal `Problem`."""
        return await self.record.outbox.next_event()

    def drain(self) -> None:
        """The server goes away: the words for what was heard follow, then a fatal `GoingAway`."""
        self._tell(Drain())

    def disconnected(self) -> None:
        """The connection is over, and nothing more is called."""
        if not self.record.outbox.over:
            self._tell(ClientGone())

    def recogniser_down(self, down: RecogniserDown) -> None:
        """The recogniser failed; the session decides what its client should know."""
        self._tell(down)

    def ended(self, error: SpeechError) -> None:
        """The session's tree is gone. If it could not say why itself, `error` is the client's last event."""
        self.ref.close()
        self.record.outbox.put(Problem(code=error.code, fatal=True))
        self.record.log.release(self.record.log.end)  # nobody will settle it any more
        self.record.log.released.notify()  # free whoever waits for room, also where there was nothing left to release

    async def _audio(self, pcm: bytes) -> None:
        samples = len(pcm) // SAMPLE_BYTES
        self._untimed += samples
        if self._untimed >= self._beat:
            self._pace.sent(self._untimed / self.record.config.sample_rate, anyio.current_time())
            self._untimed = 0
        if self._pace.ahead and not self._has_room(samples):
            await self._room(samples)
            self._pace.waited(anyio.current_time())
        self._sent += samples
        await self._send(Audio(pcm))

    async def _room(self, samples: int) -> None:
        log = self.record.log
        log.held = True
        try:
            while not self._has_room(samples):
                await log.released.wait()
        finally:
            log.held = False

    def _has_room(self, samples: int) -> bool:
        log = self.record.log
        if self.ref.depth == 0:
            self._sent = log.end  # what was handed over is appended, or was lost with a crash
        return self._sent + samples - log.start <= log.capacity or self._sent <= log.start or self.record.outbox.over

    async def _send(self, message: SessionMessage) -> None:
        with suppress(ActorGone):  # the session has ended; its last event, on its way to the client, says why
            await self.ref.send(message)

    def _tell(self, message: SessionMessage) -> None:
        with suppress(ActorGone):
            self.ref.tell(message, control=True)


class Sessions:
    """Opens sessions below a dynamic supervisor, refuses them past its limit, and tells each what befalls it.

    Args:
        supervisor: gives the running supervisor that `child` describes.
        pool: where the sessions' recognisers get their backends.
        max_sessions: how many may live at the same time; None: as many as the pool has streams for, then.
        log_seconds: unsettled audio a session holds in memory.
        spool_seconds: … and on disk, while no backend takes it.
        spool_dir: where on disk; None: the system's directory for temporary files.
        actor: makes the actor of a session, for each of its lives.
        cache: remembers what was said in finals, and is asked while no backend is left; None: nobody.
    """

    def __init__(
        self,
        supervisor: Callable[[], Supervisor],
        pool: BackendPool,
        *,
        max_sessions: int | None,
        log_seconds: float,
        spool_seconds: float = 0.0,
        spool_dir: str | None = None,
        actor: Callable[[SessionRecord], SessionActor] = SessionActor,
        cache: Ref[CacheMessage] | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._pool = pool
        self._max_sessions = max_sessions
        self._log_seconds = log_seconds
        self._actor = actor
        self._spool_seconds = spool_seconds
        self._spool_dir = spool_dir
        self._cache = cache
        self._live: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._live)

    def child(self) -> Child:
        """The supervisor of all sessions, as a child of the application's tree."""
        return Supervisor.child("sessions", strategy=Strategy.DYNAMIC, on_event=self._on_event)

    def ready(self) -> bool:
        """True while a new session would find a place."""
        return len(self._live) < self._limit()

    async def open(self, session_id: str, config: RecognitionConfig) -> Session:
        """Begin a session; its first event is `Ready`.

        Raises:
            SessionInUse: a session of this id is connected.
            ServerBusy: all places are taken; `retry_after` says when to try again.
        """
        if session_id in self._live:
            raise SessionInUse()
        if len(self._live) >= (limit := self._limit()):
            why = f"all {limit} sessions are taken" if limit else "no recogniser is there"
            raise ServerBusy(why, retry_after=BUSY_RETRY)
        session = self._live[session_id] = Session(self._record(session_id, config))
        session.record.outbox.put(Ready(session_id=session_id, config=config))
        try:
            await self._supervisor().start_child(self._tree(session))
        except Exception:
            self._live.pop(session_id, None)
            raise
        except BaseException:  # cancelled; but the tree is started all the same, so it is told that nobody wants it
            session.disconnected()
            raise
        return session

    def _record(self, session_id: str, config: RecognitionConfig) -> SessionRecord:
        return SessionRecord(
            session_id,
            config,
            self._log_seconds,
            spool_seconds=self._spool_seconds,
            spool_dir=self._spool_dir,
            cache=self._cache,
        )

    def _limit(self) -> int:
        return self._pool.capacity if self._max_sessions is None else self._max_sessions

    def _tree(self, session: Session) -> Child:
        record, ref = session.record, session.ref
        helpers: list[Child] = []
        if record.cache is not None:  # first, so that it stays when others are restarted; not worth a restart itself
            recaller = Recaller(record, ref, record.cache)
            helpers.append(Child("recaller", recaller.run, restart=Restart.TEMPORARY))
        return Supervisor.child(
            ref.name,
            [
                *helpers,
                actor_child(
                    "session",
                    lambda: self._actor(record),
                    ref=ref,
                    restart=Restart.TRANSIENT,
                    significant=True,
                ),
                Child("recogniser", Recogniser(record, ref, self._pool).run, restart=Restart.TRANSIENT),
            ],
            strategy=Strategy.REST_FOR_ONE,
            auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
            intensity=SESSION_BUDGET,
            policies=SESSION_POLICIES,
            restart=Restart.TEMPORARY,
        )

    def _on_event(self, event: Event) -> None:
        match event:
            case ChildFailed(path=(*_, tree, "recogniser"), exit=Exit(error=Exception() as error)):
                directive = SESSION_POLICIES.lookup(error).directive
                if (session := self._live.get(tree.removeprefix(PREFIX))) is not None:
                    session.recogniser_down(RecogniserDown(error, directive))
            case ChildEnded(path=(*_, tree)) if tree.startswith(PREFIX):
                if (session := self._live.pop(tree.removeprefix(PREFIX), None)) is not None:
                    session.ended(UnexpectedError())
            case _:
                pass
