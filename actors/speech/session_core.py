"""What a session does about everything it is told. Pure: a message and the time in, commands out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from actors.speech.account import Account
from actors.speech.audience import Audience, AudienceMessage
from actors.speech.audio_log import SAMPLE_BYTES, AudioLog
from actors.speech.catalogue import CATALOGUE
from actors.speech.errors import AudioLost, AudioNotKept, GoingAway, NoBackend, SpeechError, UnexpectedError
from actors.speech.messages import (
    Audio,
    Cut,
    Done,
    Drain,
    Finalize,
    GoAway,
    Heard,
    Learn,
    NoBackendFree,
    Problem,
    Recalled,
    RecogniserDown,
    SessionMessage,
    Status,
    StillLost,
    Stop,
    StreamDrained,
    StreamOpened,
    Transcript,
)
from actors.speech.ports import Recognised, Tier
from actors.speech.record import SessionRecord, State
from actors.speech.session_commands import Command, Decision, End, Remind, Report, Say, Send
from actors.speech.timeline import SEAM_SECONDS
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


class SessionCore:
    """The rules of one session over its record. A new one may take over the record at any time, also in mid-speech."""

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._audience = Audience(record)
        self._timeline = record.timeline
        self._rate = record.config.sample_rate
        self._stream = -1  # the number of the stream that speaks
        self._tier = Tier.PRIMARY
        self._lost_at = 0.0
        self._acked_at = 0.0
        self._sent = 0  # the position up to which a stream was given audio, as far as its results tell
        self._account = Account(record)

    @property
    def state(self) -> State:
        return self._record.state

    def begin(self, now: float) -> Iterable[Command]:
        """What comes before any message: of a session's first life, and of each later one."""
        if self.state is State.OVER:
            return (End(),)
        self._move(Cause.RESTARTED)
        self._record.speaking_since = None
        decisions = [*self._not_kept(), *self._wait(now)]
        return self._ended_by([*self._audience.begin(now), *self._audience.publish(decisions)])

    def receive(self, message: SessionMessage, now: float) -> Iterable[Command]:
        """What follows from a message at the time `now` (seconds of any steady clock)."""
        if self.state is State.OVER:
            return ()
        decisions = self._decide(message, now)
        if not decisions and isinstance(message, Audio):
            return ()  # as of nearly every frame: nothing is new, so nothing more can be said than before
        return self._ended_by(self._audience.publish(decisions))

    def _decide(self, message: SessionMessage, now: float) -> Iterable[Decision]:
        if self._record.publication.closing and not isinstance(message, AudienceMessage):
            return ()
        match message:
            case Audio(pcm, start):
                return self._audio(pcm, start, now)
            case Heard(number):
                return self._heard(message, now) if number == self._stream else ()
            case Finalize():
                self._record.intake.mark()
                return ()
            case Stop():
                self._record.intake.close()
                return ()
            case StreamOpened():
                return self._opened(message)
            case StreamDrained(number, position):
                return self._drained(position) if number == self._stream else ()
            case NoBackendFree():
                return (*self._lost(none := NoBackend(), now), *self._account.without_backend(none))
            case RecogniserDown(error, directive):
                return self._down(error, directive, now)
            case StillLost(since):
                return self._still_lost(since)
            case Recalled():
                return self._recalled(message)
            case Drain(seconds):
                return self._drain(seconds)
            case _:
                return self._audience.receive(message, now)

    def _ended_by(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            if isinstance(command, End):
                self._move(Cause.ENDED)
                break
        return commands

    # ---- the client

    def _not_kept(self) -> Iterable[Decision]:
        """What was said before a session came here, and is neither in the journal nor with its client."""
        return self._forced_out(AudioNotKept) if self._timeline.confirmed < self._record.first else ()

    def _audio(self, pcm: bytes, start: int, now: float) -> Iterable[Decision]:
        log = self._record.intake
        if log.ended:
            return ()  # it was on its way when the client, or the server, said stop
        missing = start - log.end
        if missing > 0:  # what was before it died with an actor that had it in hand
            self._record.skip(start)
            log = self._record.intake
        elif missing < 0:  # a client that came back is faster than its old connection
            pcm = pcm[SAMPLE_BYTES * -missing :]
        log.append(pcm)
        log.awaited = False
        forced_out = self._log.start > self._timeline.confirmed or self._log.trouble is not None
        commands = self._forced_out() if forced_out else []
        if now - self._acked_at >= ACK_SECONDS:
            self._acked_at = now
            self._record.note_arrival(log.end, now)
            commands.append(Say(self._audience.ack()))
        return commands

    def _drain(self, seconds: float) -> Iterable[Decision]:
        intake = self._record.intake
        if not intake.ended and self._record.resumable:  # a word that is cut in two is for who goes on to say
            self._record.cut_at = intake.end
        self._record.draining = True
        intake.close()
        return (Say(GoAway(seconds)),)

    # ---- the recogniser

    def _opened(self, message: StreamOpened) -> Iterable[Decision]:
        commands = self._forced_out()
        self._stream = message.number
        self._timeline.stream_opened()
        self._tier = message.tier
        self._record.speaking_since = None
        was_away, was_degraded = self.state in (State.RECOVERING, State.DELAYED), self._record.degraded
        self._record.degraded = message.degraded
        self._move(Cause.STREAM_OPENED)
        commands.append(self._account.began(message, self._sent))
        if message.degraded and (was_away or not was_degraded):
            commands.append(Send(Status(state="degraded", message="A substitute speech service is in use.")))
        elif not message.degraded and (was_away or was_degraded):
            commands.append(Send(Status(state="streaming", message="The speech service is back.")))
        return commands

    def _heard(self, message: Heard, now: float) -> Iterable[Decision]:
        result, self._sent = message.result, message.sent
        if not result.text and not result.is_final:
            return self._quiet(result.processed)
        told = self._account.said(result, self._tier, now) if result.text else ()
        return (*told, *self._words(message))

    def _words(self, heard: Heard) -> Iterable[Decision]:
        result = heard.result
        if result.is_final:
            self._record.speaking_since = None
            cut = Cut.LEFT if self._is_cut_off(result) else heard.cut
            return self._settled(self._timeline.final(result, sent=heard.sent, source=self._tier, cut=cut))
        if self._record.speaking_since is None:
            self._record.speaking_since = result.processed
        if not self._record.config.interim_results:
            return ()
        return (Send(self._timeline.interim(result, source=self._tier)),)

    def _is_cut_off(self, result: Recognised) -> bool:
        """Whether its last word may go on in the audio that only the next owner of the session will get."""
        cut_at, words = self._record.cut_at, result.words
        return cut_at is not None and bool(words) and cut_at - words[-1].end <= SEAM_SECONDS * self._rate

    def _quiet(self, heard: int) -> Iterable[Decision]:
        position = heard - int(ONSET_SECONDS * self._rate)
        if (
            self._record.speaking_since is not None
            or position - self._timeline.confirmed < SILENCE_SECONDS * self._rate
        ):
            return ()
        return self._settled(self._timeline.silence(min(position, self._log.end), self._tier))

    def _drained(self, position: int) -> Iterable[Decision]:
        if self._log.ended and position == self._log.end:
            return (*self._rest(position), *self._beyond())
        heard = position - int(ONSET_SECONDS * self._rate)
        return (*self._settled(self._timeline.silence(heard, self._tier)), *self._forced_out())

    def _rest(self, position: int) -> Iterable[Decision]:
        """Settle what is left when all was heard; but not a word that goes on where this server stops listening."""
        if self._record.cut_at is not None:
            position -= int(ONSET_SECONDS * self._rate)
        return self._settled(self._timeline.silence(position, self._tier))

    def _beyond(self) -> Iterable[Decision]:
        """What follows when all of a log was heard."""
        if self._record.next_log():
            return self._forced_out(AudioNotKept)
        if self._record.draining:
            return (Send(_problem(GoingAway(), fatal=True)),)
        return (Send(Done(position=self._log.end, seq=self._timeline.seq)),)

    def _down(self, error: Exception, directive: Directive, now: float) -> Iterable[Decision]:
        if directive in (Directive.STOP, Directive.ESCALATE):
            return (Send(_problem(error, fatal=True, known=True)),)
        return (*self._lost(error, now), self._account.failed(_spoken(error).code, now))

    def _lost(self, error: Exception, now: float) -> Iterable[Decision]:
        self._stream = -1
        self._account.lost(_spoken(error).code, now)
        if self.state in (State.CONNECTING, State.STREAMING):
            return (*self._move(Cause.STREAM_LOST, error), *self._wait(now))
        return self._move(Cause.STREAM_LOST)

    def _still_lost(self, since: float) -> Iterable[Decision]:
        if self.state not in (State.CONNECTING, State.RECOVERING) or since != self._lost_at:
            return ()  # there was a stream in between
        self._record.delays.notify()
        none = NoBackend()
        return (*self._move(Cause.WAITED_LONG, none), *self._account.without_backend(none))

    def _wait(self, now: float) -> Iterable[Decision]:
        """There is no stream from now on."""
        self._lost_at = now
        return (Remind(DELAYED_SECONDS, StillLost(now)),)

    # ---- the cache

    def _recalled(self, message: Recalled) -> Iterable[Decision]:
        wanted = self.state is State.DELAYED and self._record.config.interim_results
        return (Send(message),) if wanted and message.start >= self._timeline.confirmed else ()

    def _learned(self, final: Transcript) -> Iterable[Decision]:
        """What the cache may learn from a final, before its audio is let go."""
        if self._record.cache is None or not final.words:
            return ()
        start = max(self._log.start, final.words[0].start - int(ONSET_KEPT * self._rate))
        utterance = self._record.utterance(start, final.end)
        return () if utterance is None else (Learn(utterance, final.text),)

    # ---- what follows

    @property
    def _log(self) -> AudioLog:
        """The one that is heard."""
        return self._record.log

    def _settled(self, final: Transcript | None) -> Iterable[Decision]:
        if final is None:
            return ()
        learned = self._learned(final)
        self._log.release(final.end)
        return (Send(final), *learned)

    def _forced_out(self, why: type[SpeechError] = AudioLost) -> list[Decision]:
        """Announce what the log could not hold, and why if it knows more."""
        log, commands = self._log, list[Decision]()
        if log.trouble is not None:
            commands.append(Report(log.trouble))
            log.trouble = None
        if (gap := self._timeline.gap(log.start, why.entry.code)) is not None:
            lost = why(f"{(gap.end - gap.start) / self._rate:.1f} s were given up", position=gap.start)
            commands += self._account.given_up(gap), Report(lost), Send(gap)
        return commands

    def _move(self, cause: Cause, error: Exception | None = None) -> Iterable[Decision]:
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


def _problem(error: Exception, *, fatal: bool = False, known: bool = False) -> Problem:
    spoken = _spoken(error)
    return Problem(code=spoken.code, detail=spoken.detail, retry_after=spoken.retry_after, fatal=fatal, known=known)
