"""What a session does about everything it is told. Pure: a message and the time in, commands out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import assert_never

import msgspec

from actors.speech.catalogue import CATALOGUE
from actors.speech.errors import AudioLost, GoingAway, NoBackend, SpeechError, UnexpectedError
from actors.speech.messages import (
    Ack,
    Audio,
    ClientGone,
    Done,
    Drain,
    Finalize,
    Heard,
    Learn,
    NoBackendFree,
    Problem,
    Recalled,
    RecogniserDown,
    SessionEvent,
    SessionMessage,
    Status,
    StillLost,
    Stop,
    StreamDrained,
    StreamOpened,
    Transcript,
)
from actors.speech.ports import Tier
from actors.speech.record import SessionRecord, State
from supervisor.policy import Directive

ACK_SECONDS = 0.5  # how often a talking client learns what it may forget
DELAYED_SECONDS = 3.0  # how long a recovery may take before the client is told that words come late
SILENCE_SECONDS = 10.0  # silence is settled in stretches of at least this length, so that the log can let go of it
ONSET_SECONDS = 1.0  # … but its last second is kept: a word may have begun there that no result shows yet
ONSET_KEPT = 0.1  # seconds before an utterance's first word that are remembered with it


class Cause(Enum):
    """What moves a session from one state to another."""

    RESTARTED = auto()  # the session's actor, and its recogniser with it
    STREAM_OPENED = auto()
    STREAM_LOST = auto()
    WAITED_LONG = auto()
    ENDED = auto()


class InvalidTransition(Exception):
    """A cause that cannot occur in the state the session is in: a defect of voxtree."""


TRANSITIONS: Mapping[tuple[State, Cause], State] = {
    (State.CONNECTING, Cause.RESTARTED): State.CONNECTING,
    (State.CONNECTING, Cause.STREAM_OPENED): State.STREAMING,
    (State.CONNECTING, Cause.STREAM_LOST): State.RECOVERING,
    (State.CONNECTING, Cause.WAITED_LONG): State.DELAYED,
    (State.CONNECTING, Cause.ENDED): State.OVER,
    (State.STREAMING, Cause.RESTARTED): State.CONNECTING,  # which the client need not know, unless it lasts
    (State.STREAMING, Cause.STREAM_OPENED): State.STREAMING,  # rotated to a fresh stream
    (State.STREAMING, Cause.STREAM_LOST): State.RECOVERING,
    (State.STREAMING, Cause.ENDED): State.OVER,
    (State.RECOVERING, Cause.RESTARTED): State.RECOVERING,
    (State.RECOVERING, Cause.STREAM_OPENED): State.STREAMING,
    (State.RECOVERING, Cause.STREAM_LOST): State.RECOVERING,
    (State.RECOVERING, Cause.WAITED_LONG): State.DELAYED,
    (State.RECOVERING, Cause.ENDED): State.OVER,
    (State.DELAYED, Cause.RESTARTED): State.DELAYED,
    (State.DELAYED, Cause.STREAM_OPENED): State.STREAMING,
    (State.DELAYED, Cause.STREAM_LOST): State.DELAYED,
    (State.DELAYED, Cause.ENDED): State.OVER,
}


class Send(msgspec.Struct, frozen=True):
    """Put this into the client's outbox."""

    event: SessionEvent


class Report(msgspec.Struct, frozen=True):
    """Let the operator know of an error that the session survives."""

    error: SpeechError


class Remind(msgspec.Struct, frozen=True):
    """Have the session told this in so many seconds."""

    seconds: float
    message: StillLost


class End(msgspec.Struct, frozen=True):
    """The session is over; nothing follows."""


Command = Send | Report | Remind | Learn | End


class SessionCore:
    """The rules of one session over its record. A new one may take over the record at any time, also in mid-speech."""

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._log = record.log
        self._timeline = record.timeline
        self._rate = record.config.sample_rate
        self._stream = -1  # the number of the stream that speaks
        self._tier = Tier.PRIMARY
        self._lost_at = 0.0
        self._acked_at = 0.0

    @property
    def state(self) -> State:
        return self._record.state

    def begin(self, now: float) -> Iterable[Command]:
        """What comes before any message: of a session's first life, and of each later one."""
        if self.state is State.OVER:
            return (End(),)
        self._move(Cause.RESTARTED)
        self._record.speaking_since = None
        return self._wait(now)

    def receive(self, message: SessionMessage, now: float) -> Iterable[Command]:
        """What follows from a message at the time `now` (seconds of any steady clock)."""
        if self.state is State.OVER:
            return ()
        match message:
            case Audio(pcm):
                return self._audio(pcm, now)
            case Heard(number):
                return self._heard(message, now) if number == self._stream else ()
            case Finalize():
                self._log.mark()
                return ()
            case Stop():
                self._log.close()
                return ()
            case StreamOpened():
                return self._opened(message, now)
            case StreamDrained(number, position):
                return self._drained(position, now) if number == self._stream else ()
            case NoBackendFree():
                return self._lost(NoBackend(), now)
            case RecogniserDown(error, directive):
                return self._down(error, directive, now)
            case StillLost(since):
                return self._still_lost(since)
            case Recalled():
                return self._recalled(message)
            case Drain():
                self._record.draining = True
                self._log.close()
                return ()
            case ClientGone():
                return self._end()
            case _:
                assert_never(message)

    # ---- the client

    def _audio(self, pcm: bytes, now: float) -> Iterable[Command]:
        if self._log.ended:
            return ()  # it was on its way when the client, or the server, said stop
        self._log.append(pcm)
        commands = self._forced_out(now)
        if now - self._acked_at >= ACK_SECONDS:
            commands.append(self._ack(now))
        return commands

    # ---- the recogniser

    def _opened(self, message: StreamOpened, now: float) -> Iterable[Command]:
        commands = self._forced_out(now)
        self._stream = message.number
        self._timeline.stream_opened()
        self._tier = message.tier
        self._record.speaking_since = None
        was_away, was_degraded = self.state in (State.RECOVERING, State.DELAYED), self._record.degraded
        self._record.degraded = message.degraded
        self._move(Cause.STREAM_OPENED)
        if message.degraded and (was_away or not was_degraded):
            commands.append(Send(Status(state="degraded", message="A substitute speech service is in use.")))
        elif not message.degraded and (was_away or was_degraded):
            commands.append(Send(Status(state="streaming", message="The speech service is back.")))
        return commands

    def _heard(self, message: Heard, now: float) -> Iterable[Command]:
        result = message.result
        if result.is_final:
            self._record.speaking_since = None
            final = self._timeline.final(result, sent=message.sent, source=self._tier, cut=message.cut)
            return self._settled(final, now)
        if not result.text:
            return self._quiet(result.processed, now)
        if self._record.speaking_since is None:
            self._record.speaking_since = result.processed
        if not self._record.config.interim_results:
            return ()
        return (Send(self._timeline.interim(result, source=self._tier)),)

    def _quiet(self, heard: int, now: float) -> Iterable[Command]:
        position = heard - int(ONSET_SECONDS * self._rate)
        if (
            self._record.speaking_since is not None
            or position - self._timeline.confirmed < SILENCE_SECONDS * self._rate
        ):
            return ()
        return self._settled(self._timeline.silence(min(position, self._log.end), self._tier), now)

    def _drained(self, position: int, now: float) -> Iterable[Command]:
        if self._log.ended and position == self._log.end:
            done = Done(position=position, seq=self._timeline.seq)
            return (Send(_problem(GoingAway(), fatal=True) if self._record.draining else done), *self._end())
        heard = position - int(ONSET_SECONDS * self._rate)
        return (*self._settled(self._timeline.silence(heard, self._tier), now), *self._forced_out(now))

    def _down(self, error: Exception, directive: Directive, now: float) -> Iterable[Command]:
        if directive in (Directive.STOP, Directive.ESCALATE):
            return (Send(_problem(error, fatal=True)), *self._end())
        return self._lost(error, now)

    def _lost(self, error: Exception, now: float) -> Iterable[Command]:
        self._stream = -1
        if self.state in (State.CONNECTING, State.STREAMING):
            return (*self._move(Cause.STREAM_LOST, error), *self._wait(now))
        return self._move(Cause.STREAM_LOST)

    def _still_lost(self, since: float) -> Iterable[Command]:
        if self.state not in (State.CONNECTING, State.RECOVERING) or since != self._lost_at:
            return ()  # there was a stream in between
        self._record.delays.notify()
        return self._move(Cause.WAITED_LONG, NoBackend())

    def _wait(self, now: float) -> Iterable[Command]:
        """There is no stream from now on."""
        self._lost_at = now
        return (Remind(DELAYED_SECONDS, StillLost(now)),)

    # ---- the cache

    def _recalled(self, message: Recalled) -> Iterable[Command]:
        wanted = self.state is State.DELAYED and self._record.config.interim_results
        return (Send(message),) if wanted and message.start >= self._timeline.confirmed else ()

    def _learned(self, final: Transcript) -> Iterable[Command]:
        """What the cache may learn from a final, before its audio is let go."""
        if self._record.cache is None or not final.words:
            return ()
        start = max(self._log.start, final.words[0].start - int(ONSET_KEPT * self._rate))
        utterance = self._record.utterance(start, final.end)
        return () if utterance is None else (Learn(utterance, final.text),)

    # ---- what follows

    def _settled(self, final: Transcript | None, now: float) -> Iterable[Command]:
        if final is None:
            return ()
        learned = self._learned(final)
        self._log.release(final.end)
        return (Send(final), self._ack(now), *learned)

    def _forced_out(self, now: float) -> list[Command]:
        """Announce what the log could not hold, and why if it knows more."""
        log, commands = self._log, list[Command]()
        if log.trouble is not None:
            commands.append(Report(log.trouble))
            log.trouble = None
        if (gap := self._timeline.gap(log.start)) is not None:
            lost = AudioLost(f"{(gap.end - gap.start) / self._rate:.1f} s were given up", position=gap.start)
            commands += Report(lost), Send(gap), self._ack(now)
        return commands

    def _ack(self, now: float) -> Command:
        self._acked_at = now
        timeline = self._timeline
        return Send(Ack(durable=timeline.confirmed, received=self._log.end, seq=timeline.seq))

    def _end(self) -> Iterable[Command]:
        self._move(Cause.ENDED)
        return (End(),)

    def _move(self, cause: Cause, error: Exception | None = None) -> Iterable[Command]:
        """Change the state; an error that explains the new one is told to the client."""
        try:
            self._record.state = TRANSITIONS[self.state, cause]
        except KeyError:
            raise InvalidTransition(f"{cause.name} in state {self.state.name}") from None
        if error is None:
            return ()
        entry = CATALOGUE[_spoken(error).code]
        return (Send(Status(state=self.state.value, code=entry.code, message=entry.message)),)


def _spoken(error: Exception) -> SpeechError:
    return error if isinstance(error, SpeechError) else UnexpectedError()


def _problem(error: Exception, *, fatal: bool = False) -> Problem:
    known = _spoken(error)
    return Problem(code=known.code, detail=known.detail, retry_after=known.retry_after, fatal=fatal)
