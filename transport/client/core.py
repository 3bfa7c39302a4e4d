"""What a client does about everything that happens to it. Pure: an event and the time in, commands out."""

from __future__ import annotations

import random as random_numbers
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto

from actors.speech.catalogue import Action
from transport.client import events
from transport.client.backoff import full_jitter
from transport.client.commands import Command, Connect, Deliver, Finish, HangUp
from transport.client.errors import CannotConnect, SessionFailed, connection_lost, failure, resume_failed
from transport.client.events import Done, Final, Gap, Problem, Reconnecting
from transport.client.track import Track
from transport.wire.voxtree_v1_schema import (
    AckMessage,
    ClientMessage,
    DoneMessage,
    ErrorMessage,
    GapMessage,
    GoawayMessage,
    PingMessage,
    PongMessage,
    ReadyMessage,
    ReceivedMessage,
    ResumeRequest,
    ServerMessage,
    StartConfig,
    StartMessage,
    StatusMessage,
    TranscriptMessage,
)

PING_SECONDS = 2.0  # without a word from the server until it is asked for one
DEAD_SECONDS = 5.0  # … until the connection counts as lost: a host that is gone resets nothing
READY_SECONDS = 10.0  # what `ready` may take; a thousand others may be coming back, too
HELD_UP_SECONDS = 60.0  # the same for a recording that the server lets wait: it may not read our ping either
MARGIN_SECONDS = 10.0  # tried beyond the server's resume window: clocks and networks are not exact
BEGINNINGS = 3  # connections that may break before a session has begun: there is a server, and others take over from it
AGAIN = (Action.RECONNECT.value, Action.RETRY.value)


class State(Enum):
    """Where a client is with its connection."""

    CONNECTING = auto()  # there is none, or it is being opened
    GREETING = auto()  # `start` is or will be sent, `ready` has not come
    OPEN = auto()
    OVER = auto()


class ClientCore:
    """The rules of one session over as many connections as it takes.

    Audio goes into a ring and leaves it when the server has settled it; `next_message` says what to send of it. A new
    connection gets it from the very sample that the server names.

    Args:
        config: how the session is to be.
        frame_bytes: bytes of a sample of all channels.
        live: the audio is being spoken: it cannot wait, so when the ring is full the oldest is dropped.
        keep: seconds of audio in the ring.
        give_up_after: seconds without a connection; None: what the server keeps sessions for, and a little more.
        random: numbers from 0 to 1.
    """

    def __init__(
        self,
        config: StartConfig,
        *,
        frame_bytes: int,
        sample_rate: int,
        live: bool,
        keep: float,
        give_up_after: float | None = None,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self.state = State.CONNECTING
        self.session_id = ""
        self._config = config
        self._live = live
        self._give_up_after = give_up_after
        self._random = random
        self._track = Track(frame_bytes=frame_bytes, sample_rate=sample_rate, keep=keep)
        # what has been heard
        self._token = ""
        self._seq = 0  # the last final's or gap's
        self._end = 0  # … and where it ended
        # the present connection
        self._received = 0  # samples that the server says it has
        self._seq_sent = 0  # the last that we said we have
        self._outgoing: deque[ClientMessage] = deque()
        self._heard_at = 0.0
        self._pinged = False
        # the search for the next one
        self._lost_at: float | None = None
        self._attempt = 0

    # ---- what the application says

    def begin(self) -> Iterable[Command]:
        """What comes first of all."""
        return (Connect(0.0),)

    @property
    def stopped(self) -> bool:
        """Whether the application has said `stop`."""
        return self._track.stopped

    def take(self, audio: bytes, now: float) -> tuple[int, Iterable[Command]]:
        """Keep audio and send it when possible: how many bytes were taken. All when live, else as many as fit.

        Raises:
            ValueError: it does not end with a whole sample.
        """
        taken = self._track.append(audio, drops=self._live)
        if self.state is State.OPEN and self._track.start > self._track.position:
            return taken, self._drop("the server takes no more audio", now)
        return taken, ()

    def finalize(self) -> None:
        """End the utterance at the last sample taken."""
        self._track.mark()

    def stop(self) -> None:
        """Nothing follows the last sample taken."""
        self._track.stopped = True

    # ---- what happens to the connection

    def connected(self, now: float) -> None:
        """A connection is open."""
        self.state = State.GREETING
        self._heard_at, self._pinged = now, False
        self._outgoing.clear()
        self._track.make_room()
        resume = None
        if self._token:
            resume = ResumeRequest(token=self._token, seq=self._seq, end=self._end, oldest=self._track.start)
        self._outgoing.append(StartMessage(self._config, resume))

    def unreachable(
        self,
        reason: str,
        now: float,
        *,
        for_good: bool = False,
        broke: bool = False,
        problem: Problem | None = None,
        retry_after: float | None = None,
    ) -> Iterable[Command]:
        """A connection could not be opened.

        Args:
            for_good: another attempt would end the same.
            broke: somebody had taken it, and was gone before the answer.
            problem: what the server said of it: of a first attempt the application hears that.
            retry_after: seconds that the server, or a proxy, wants to be left alone for.
        """
        if problem is not None and (for_good or not self.session_id):
            return self._finish(failure(problem))
        if for_good:
            return self._finish(CannotConnect(reason, action=Action.FIX_CONFIG.value))
        if problem is not None:
            reason = f"{problem.message} [{problem.code}]"
        return self._broken(reason, now) if broke else self._again(reason, now, retry_after)

    def lost(self, reason: str, now: float) -> Iterable[Command]:
        """The connection has ended."""
        return self._broken(reason, now) if self.state in (State.GREETING, State.OPEN) else ()

    def tick(self, now: float) -> Iterable[Command]:
        """Time passes: to be called about twice a second while there is a connection."""
        if self.state not in (State.GREETING, State.OPEN) or self._has_nowhere_to_go():
            return ()
        silent = now - self._heard_at
        if silent > self._patience():
            return self._drop(f"the server has said nothing for {silent:.0f} s", now, abort=True)
        if self.state is State.OPEN and silent >= PING_SECONDS and not self._pinged:
            self._pinged = True
            self._outgoing.append(PingMessage())
        return ()

    def received(self, message: ServerMessage, now: float) -> Iterable[Command]:
        """What follows from a message."""
        if self.state not in (State.GREETING, State.OPEN):
            return ()
        self._heard_at, self._pinged = now, False
        if isinstance(message, ErrorMessage):
            return self._problem(message, now)
        if self.state is State.GREETING:
            return self._ready(message, now) if isinstance(message, ReadyMessage) else ()
        return self._heard(message, now)

    def misunderstood(self, reason: str) -> Iterable[Command]:
        """The server says what is not part of the protocol."""
        return self._fail(SessionFailed(f"the server does not speak voxtree.v1: {reason}"))

    # ---- what is to be sent

    def next_message(self, now: float) -> ClientMessage | bytes | None:
        """What to send now; None: nothing, until something happens or `pause` is over."""
        if self._outgoing:
            return self._outgoing.popleft()
        if self.state is not State.OPEN:
            return None
        if self._seq_sent != self._seq and self._token:
            self._seq_sent = self._seq
            return ReceivedMessage(self._seq)
        return self._track.next_message(now)

    def pause(self, now: float) -> float:
        """Seconds until the server wants the next of the audio that was kept: it names how fast it may come."""
        return self._track.pause(now)

    # ---- what the server says

    def _ready(self, message: ReadyMessage, now: float) -> Iterable[Command]:
        position, resuming = message.position, bool(self._token)
        if resuming and not message.resumed:
            return self._fail(resume_failed("the server began another session"))
        if self._live and position < self._track.start:
            return self._drop("audio was dropped while the server took the session up", now)
        if not self._track.start <= position <= self._track.end:
            kept = f"samples {self._track.start} to {self._track.end} are kept"
            return self._fail(resume_failed(f"the server asks for audio from sample {position}, {kept}"))
        self.state = State.OPEN
        self.session_id, self._token = message.session_id, message.resume_token
        if self._give_up_after is None:
            self._give_up_after = message.resume_window_ms / 1000 + MARGIN_SECONDS
        self._received = position
        self._track.rewind(position, now, message.credit if resuming else 0)
        self._seq_sent = -1 if resuming else 0  # saying it also shows that this very message arrived
        return (Deliver(events.ready(message)),)

    def _heard(self, message: ServerMessage, now: float) -> Iterable[Command]:
        match message:
            case TranscriptMessage(is_final=False):
                commands: Iterable[Command] = (Deliver(events.interim(message)),)
            case TranscriptMessage():
                commands = self._settled(events.final(message), now)
            case GapMessage():
                commands = self._settled(events.gap(message), now)
            case AckMessage():
                self._received = max(self._received, message.received)
                self._track.settle(message.durable)
                commands = (Deliver(events.ack(message)),)
            case StatusMessage():
                commands = (Deliver(events.status(message)),)
            case GoawayMessage():
                commands = (Deliver(events.going_away(message)),)
            case DoneMessage():
                commands = self._done(message, now)
            case PongMessage() | ReadyMessage() | ErrorMessage():
                commands = ()
        if self.state is State.OPEN:  # so the connection works
            self._lost_at, self._attempt = None, 0
        return commands

    def _settled(self, event: Final | Gap, now: float) -> Iterable[Command]:
        if event.seq <= self._seq:
            return ()
        if event.seq > self._seq + 1:
            return self._drop(f"final {self._seq + 1} is missing", now)
        self._seq, self._end = event.seq, event.end
        return (Deliver(event),)

    def _done(self, message: DoneMessage, now: float) -> Iterable[Command]:
        if message.seq > self._seq:
            return self._drop(f"final {self._seq + 1} is missing", now)
        self.state = State.OVER
        return Deliver(Done(position=message.position, seq=message.seq)), HangUp(abort=False), Finish(None)

    def _problem(self, message: ErrorMessage, now: float) -> Iterable[Command]:
        problem = events.problem(message)
        if not message.fatal:
            return (Deliver(problem),)
        if problem.action in AGAIN and self._token:
            return self._drop(f"{problem.message} [{problem.code}]", now, retry_after=problem.retry_after)
        return self._fail(failure(problem))

    # ---- lost and found

    def _has_nowhere_to_go(self) -> bool:
        """Without a token the session ends with its connection, so however silent it is, it is the best there is."""
        return self.state is State.OPEN and not self._token

    def _patience(self) -> float:
        if self.state is State.GREETING:
            return READY_SECONDS
        held_up = not self._live and self._received < self._track.position
        return HELD_UP_SECONDS if held_up else DEAD_SECONDS

    def _drop(
        self, reason: str, now: float, *, abort: bool = False, retry_after: float | None = None
    ) -> Iterable[Command]:
        return HangUp(abort), *self._again(reason, now, retry_after)

    def _broken(self, reason: str, now: float) -> Iterable[Command]:
        if self.session_id or self._attempt + 1 >= BEGINNINGS:
            return self._again(reason, now)
        self.state = State.CONNECTING
        delay = full_jitter(self._attempt, self._random)
        self._attempt += 1
        return (Connect(delay),)

    def _again(self, reason: str, now: float, retry_after: float | None = None) -> Iterable[Command]:
        if not self.session_id:
            return self._finish(CannotConnect(reason, action=Action.RETRY.value))
        if self._lost_at is None:
            self._lost_at = now
        patience = (self._give_up_after or 0.0) if self._token else 0.0  # without a token nothing can be resumed
        left = self._lost_at + patience - now
        if left <= 0:
            return self._finish(connection_lost(reason, patience))
        self.state = State.CONNECTING
        delay = min(left, max(retry_after or 0.0, full_jitter(self._attempt, self._random)))
        self._attempt += 1
        return Deliver(Reconnecting(reason=reason, attempt=self._attempt, delay=delay)), Connect(delay)

    def _fail(self, failed: SessionFailed) -> Iterable[Command]:
        return HangUp(abort=False), *self._finish(failed)

    def _finish(self, failed: SessionFailed) -> Iterable[Command]:
        self.state = State.OVER
        return (Finish(failed),)
