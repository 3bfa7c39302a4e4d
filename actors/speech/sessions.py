"""All live sessions: opened and resumed on request, each a small supervision tree of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count

import anyio

from actors.address import Ref
from actors.hosting import actor_child
from actors.speech.audience import refusal
from actors.speech.client import Client
from actors.speech.errors import (
    GoingAway,
    InvalidMessage,
    ResumeFailed,
    ServerBusy,
    SessionGaveUp,
    SessionInUse,
)
from actors.speech.journal.port import Claimed, Refused
from actors.speech.keeping import Keeping, new_token
from actors.speech.link import Link
from actors.speech.live_session import PREFIX, Session
from actors.speech.messages import (
    Ack,
    CacheMessage,
    Done,
    RecogniserDown,
    Resume,
    SessionEvent,
)
from actors.speech.policies import SESSION_POLICIES
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig
from actors.speech.recaller import Recaller
from actors.speech.recogniser import Recogniser
from actors.speech.record import Origin, SessionRecord
from actors.speech.reports import Ending, Listener, SessionEnded, SessionOpened
from actors.speech.session import SessionActor, ready
from supervisor.reports import ChildEnded, ChildFailed, Event, Exit
from supervisor.spec import AutoShutdown, Child, Intensity, Restart, Strategy
from supervisor.tree import Supervisor

SESSION_BUDGET = Intensity(restarts=20, seconds=10.0)  # a backend that flaps is paced by backoff long before this
CLAIMS = 2  # times as many sessions as usual may be here when those of others come
BUSY_RETRY = 5.0  # seconds after which a refused client may find a place

_numbers = count(1)  # of clients


class Sessions:
    """Opens and resumes sessions below a dynamic supervisor, and tells each what befalls it.

    Args:
        supervisor: gives the running supervisor that `child` describes.
        pool: where the sessions' recognisers get their backends.
        keeping: the journal.
        max_sessions: how many may live at the same time; None: as many as the pool has streams for, then.
        log_seconds: unsettled audio a session holds in memory.
        spool_seconds: … and on disk, while no backend takes it.
        spool_dir: where on disk; None: the system's directory for temporary files.
        window: seconds that a session waits for a client that was lost.
        actor: makes the actor of a session, for each of its lives.
        cache: remembers what was said in finals, and is asked while no backend is left; None: nobody.
        retry_after: seconds after which a refused client may find a place.
        listener: told what happens to sessions; called synchronously, so it must be quick, and must not raise.
    """

    def __init__(
        self,
        supervisor: Callable[[], Supervisor],
        pool: BackendPool,
        keeping: Keeping,
        *,
        max_sessions: int | None,
        log_seconds: float,
        spool_seconds: float = 0.0,
        spool_dir: str | None = None,
        window: float = 60.0,
        actor: Callable[[SessionRecord, Keeping], SessionActor] = SessionActor,
        cache: Ref[CacheMessage] | None = None,
        retry_after: Callable[[], float] = lambda: BUSY_RETRY,
        listener: Listener = lambda report: None,
    ) -> None:
        self._supervisor = supervisor
        self._pool = pool
        self._keeping = keeping
        self._max_sessions = max_sessions
        self._log_seconds = log_seconds
        self._actor = actor
        self._spool_seconds = spool_seconds
        self._spool_dir = spool_dir
        self._window = window
        self._cache = cache
        self._retry_after = retry_after
        self._report = listener
        self._live: dict[str, Session] = {}
        self._turns: dict[str, _Turns] = {}
        self._arriving: set[str] = set()  # who has a place, and may not live yet

    def adopt(self, *, max_sessions: int | None, window: float) -> None:
        """Let these limits hold for whoever comes from now on."""
        self._max_sessions = max_sessions
        self._window = window

    def __len__(self) -> int:
        return len(self._live)

    @property
    def limit(self) -> int:
        """How many may live now: as many as there are streams for, so that none waits for one, and as many as set.

        While no backend works at all, a number that was set counts alone: sessions then hold their audio and wait.
        """
        streams = self._pool.capacity
        return min(self._max_sessions or streams, streams or self._max_sessions or 0)

    def live(self) -> tuple[Session, ...]:
        """Those there are now."""
        return tuple(self._live.values())

    def get(self, session_id: str) -> Session | None:
        """The one of this id, if it lives here."""
        return self._live.get(session_id)

    def child(self) -> Child:
        """The supervisor of all sessions, as a child of the application's tree."""
        return Supervisor.child("sessions", strategy=Strategy.DYNAMIC, on_event=self._on_event)

    def ready(self) -> bool:
        """True while a new session would find a place."""
        return self._taken < self.limit

    def ready_to_claim(self) -> bool:
        """True while a session of another server, or of another life of this one, would find a place.

        Its words are at stake, so it does not matter whether a stream is free: it holds its audio and waits. And when a
        server dies, those that are left have all its sessions to take, besides their own.
        """
        pool = self._pool.snapshot()
        usual = self._max_sessions or sum(each.max_streams for each in pool.backends if not each.leaving)
        return self._taken < CLAIMS * usual

    @property
    def _taken(self) -> int:
        return len(self._live.keys() | self._arriving)

    async def open(self, session_id: str, config: RecognitionConfig, *, user: str = "", resumable: bool = True) -> Link:
        """Begin a session; its first event is `Ready`.

        Args:
            user: whose it is; empty: nobody's in particular.
            resumable: whether it waits for a client that was lost. Otherwise it ends with its client.

        Raises:
            SessionInUse: a session of this id is connected, or is another user's who may come back to it.
            ServerBusy: all places are taken; `retry_after` says when to try again.
        """
        async with self._turn(session_id), self._place(session_id):
            left = self._live.get(session_id)
            if left is not None and (left.record.client is not None or left.record.user != user):
                raise SessionInUse()
            token = new_token()
            epoch = await self._keeping.begin(session_id, config, token, user)
            if epoch is None:
                raise SessionInUse()
            if left is not None:
                await left.give_up()
            window = self._window if resumable else 0.0
            return await self._start(session_id, config, Origin(epoch=epoch), token, user=user, window=window)

    async def resume(self, session_id: str, resume: Resume, config: RecognitionConfig, *, user: str = "") -> Link:
        """Go on with a session; its first event is `Ready`, then comes what the client has missed.

        Args:
            config: what the client says of it. Its audio has to be as it was.
            user: who wants it.

        Raises:
            ResumeFailed: there is no such session, any more, or the token or the user is not its.
            TakenOver: its client is connected, and nobody else has its token.
            GoingAway: the server stops.
            ServerBusy: all places are taken, or the journal cannot be asked.
        """
        async with self._turn(session_id):
            session = self._live.get(session_id)
            if session is not None:
                if session.record.user != user:
                    raise ResumeFailed()  # as if there were none: whose it is, and whether it lives, is told to nobody
                if (link := await self._take_over(session, resume, config)) is not None:
                    return link
            return await self._claim(session_id, resume, config, user)

    # ---- a session that lives here

    async def _take_over(self, session: Session, resume: Resume, config: RecognitionConfig) -> Link | None:
        _check_audio(session.record.config, config)
        number, client = next(_numbers), Client(new_token())
        session.record.clients[number] = client
        try:
            if await session.attach(number, resume):
                return self._link(session, number, client)
        except BaseException:
            session.left(number)
            raise
        session.left(number)
        return None

    # ---- a session that the journal knows

    async def _claim(self, session_id: str, resume: Resume, config: RecognitionConfig, user: str) -> Link:
        token = new_token()
        async with self._place(session_id, claims=True):
            claimed = await self._keeping.claim(session_id, resume, token, user)
            if isinstance(claimed, Refused):
                raise refusal(claimed)
            try:
                if (session := self._live.get(session_id)) is not None:
                    await session.give_up()  # what its client lacks can only be recognised again
                begun = self._keeping.config(claimed)
                _check_audio(begun, config)
                origin = _origin(claimed, resume)
                missed = self._keeping.events(session_id, claimed.entries)
                if claimed.position is not None:
                    return self._finished(session_id, begun, origin, token, [*missed, _done(claimed)], user=user)
                return await self._start(session_id, begun, origin, token, missed, user=user)
            except BaseException:
                self._keeping.leave(session_id, claimed.epoch)
                raise

    def _finished(
        self,
        session_id: str,
        config: RecognitionConfig,
        origin: Origin,
        token: str,
        missed: list[SessionEvent],
        *,
        user: str,
    ) -> Link:
        """All was said; only the client has not heard it all."""
        session = Session(self._record(session_id, config, origin, user))
        client = Client(token)
        client.welcome(ready(session.record, token, origin.audio, self._keeping, resumed=True), missed[:-1])
        client.outbox.put(missed[-1])
        session.ref.close()
        return self._link(session, next(_numbers), client)

    # ---- both

    async def _start(
        self,
        session_id: str,
        config: RecognitionConfig,
        origin: Origin,
        token: str,
        missed: Iterable[SessionEvent] | None = None,
        *,
        user: str,
        window: float | None = None,
    ) -> Link:
        session = self._live[session_id] = Session(self._record(session_id, config, origin, user, window))
        record, number, client = session.record, next(_numbers), Client(token)
        record.client = number
        record.clients[number] = client
        first = ready(record, token, origin.audio, self._keeping, resumed=missed is not None)
        client.welcome(first, missed or ())
        if missed is not None:  # a client that keeps as much as it can waits for this before it sends
            client.outbox.put(Ack(durable=origin.end, received=origin.audio, seq=origin.seq))
        try:
            await self._supervisor().start_child(self._tree(session))
        except Exception:
            self._live.pop(session_id, None)
            self._keeping.forget(session_id, record.epoch)
            raise
        except BaseException:  # cancelled; but the tree is started all the same, so it is told that nobody wants it
            session.left(number)
            raise
        record.began = anyio.current_time()
        opened = SessionOpened(session=session_id, epoch=record.epoch, claimed=missed is not None)
        self._report(opened)
        return self._link(session, number, client)

    def _link(self, session: Session, number: int, client: Client) -> Link:
        record, first = session.record, client.ready
        assert first is not None
        return Link(
            record,
            session.ref,
            client,
            first,
            on_confirmed=lambda: self._keeping.confirm(record.session_id, first.epoch),
            on_disconnected=lambda: session.left(number),
            on_delivered=lambda: self._keeping.forget(record.session_id, record.epoch),
        )

    def _record(
        self, session_id: str, config: RecognitionConfig, origin: Origin, user: str, window: float | None = None
    ) -> SessionRecord:
        return SessionRecord(
            session_id,
            config,
            self._log_seconds,
            user=user,
            spool_seconds=self._spool_seconds,
            spool_dir=self._spool_dir,
            cache=self._cache,
            origin=origin,
            window=self._window if window is None else window,
            keeps_words=self._keeping.keeps_words,
            listener=self._report,
        )

    @asynccontextmanager
    async def _place(self, session_id: str, *, claims: bool = False) -> AsyncGenerator[None, None]:
        """Hold a place for a session until it lives. One that takes the place of another of its id needs none."""
        if session_id not in self._live and not (self.ready_to_claim() if claims else self.ready()):
            limit = self.limit
            why = f"all {limit} sessions are taken" if limit else "no recogniser is there"
            raise ServerBusy(why, retry_after=self._retry_after())
        self._arriving.add(session_id)
        try:
            yield
        finally:
            self._arriving.discard(session_id)

    @asynccontextmanager
    async def _turn(self, session_id: str) -> AsyncGenerator[None, None]:
        """One at a time opens or resumes a session."""
        turns = self._turns.setdefault(session_id, _Turns())
        turns.wanted += 1
        try:
            async with turns.lock:
                yield
        finally:
            turns.wanted -= 1
            if not turns.wanted:
                del self._turns[session_id]

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
                    lambda: self._actor(record, self._keeping),
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
                    session.tell(RecogniserDown(error, directive))
            case ChildEnded(path=(*_, tree), exit=exit) if tree.startswith(PREFIX):
                if (session := self._live.pop(tree.removeprefix(PREFIX), None)) is not None:
                    stopped = exit.error is None  # if not by itself, then with all the others
                    self._say_ended(session.record, Ending.DRAINED if stopped else Ending.FAILED)
                    session.ended(GoingAway() if stopped else SessionGaveUp())
            case _:
                pass

    def _say_ended(self, record: SessionRecord, otherwise: Ending) -> None:
        """Tell how it ended: as it says itself, or `otherwise`."""
        if record.began is None:
            return  # nobody was told that it is there
        ending, code = record.ending or (otherwise, SessionGaveUp.entry.code if otherwise is Ending.FAILED else None)
        age, audio = anyio.current_time() - record.began, record.taken
        self._report(SessionEnded(session=record.session_id, ending=ending, code=code, age=age, audio=audio))


class _Turns:
    """Those who want one session id."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.wanted = 0


def _origin(claimed: Claimed, resume: Resume) -> Origin:
    """Where to go on: where the journal ends, or the client's finals, if the journal has lost its own end."""
    seq, end = claimed.seq, claimed.end
    if resume.seq > seq:
        if resume.end is None or resume.end < end:
            raise ResumeFailed(f"resume.seq {resume.seq} is not known here, and resume.end does not say where it ended")
        seq, end = resume.seq, resume.end
    return Origin(epoch=claimed.epoch, seq=seq, end=end, audio=max(end, resume.oldest or 0))


def _done(claimed: Claimed) -> Done:
    assert claimed.position is not None
    return Done(position=claimed.position, seq=claimed.seq)


def _check_audio(begun: RecognitionConfig, said: RecognitionConfig) -> None:
    if begun.sample_rate != said.sample_rate:
        raise InvalidMessage(f"config.sample_rate {said.sample_rate}: the session was begun with {begun.sample_rate}")
