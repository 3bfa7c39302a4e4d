"""What a session knows, and must not lose while its actors crash and come back."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from actors.address import Ref
from actors.speech.audio_log import AudioGone, AudioLog
from actors.speech.client import Client
from actors.speech.messages import Attach, CacheMessage, SessionMessage, Status
from actors.speech.ports import RecognitionConfig, Utterance
from actors.speech.publication import Publication
from actors.speech.reports import Ending, Listener
from actors.speech.session_commands import Command
from actors.speech.signal import Signal
from actors.speech.timeline import Timeline

ARRIVALS = 240  # that are remembered: of two minutes, with one every half second
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 31.0  # of audio by which it can be known again: less has too little to go by


class State(Enum):
    """How the words are getting on."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    RECOVERING = "recovering"
    DELAYED = "delayed"
    OVER = "over"


class Origin(NamedTuple):
    """Where a session begins for who owns it.

    `epoch` is the owner's, the rest of what others left: the last final's number, where it ended, and the first sample
    that the client can send (what lies between is lost).
    """

    epoch: int = 1
    seq: int = 0
    end: int = 0
    audio: int = 0


_BEGINNING = Origin()


class SessionRecord:
    """Audio, finals and unsent events of one session. The session actor alone writes; every incarnation finds it again.

    Its queues are lists, since they are short: a deque takes 0.7 KiB, even if it is empty.

    Attributes:
        user: whose it is; empty: nobody's in particular.
        epoch: under which the journal takes entries.
        log: the audio that is heard now.
        later: audio behind it that does not join it: what lies between was never received.
        publication: what was decided and is not said yet.
        in_hand: the message that is being applied.
        todo: what follows from those that were, and is not done yet.
        client: the number of the one that is connected; None: there is none.
        clients: all that have anything to do with the session, by number.
        claims: those that want the session, while the journal is asked whether they may have it.
        state: how the words are getting on.
        status: what the client was told of that last, if all is not well.
        degraded: the client was told that a substitute is at work.
        journal_late: … and that its finals wait for the journal.
        window: seconds that the session waits for a client, 0 if none can come back …
        alone_since: … and since when it has none; None: it has one.
        renewing: the journal was told that the session lives, and has not answered.
        draining: the session ends because its server does …
        cut_at: … and so takes no audio from this position on; None: it has all there is.
        speaking_since: where the words began that the stream shows and that are not final; None: there are none.
        delays: tells when the state becomes `delayed`.
        first: the first sample that it takes here.
        began: when the session was made here, by anyio's clock; None: it is only being made.
        resumes: how often a client has come back to it here.
        endpoint: the backend that hears it, or did last.
        unended: streams that did not end although their audio had, and had not heard the last of it.
        arrivals: when audio arrived: positions in the session, and the times by anyio's clock.
        ending: how it ended, and the code of the error that ended it; None: it has not.

    Args:
        log_seconds: unsettled audio held in memory.
        spool_seconds: … and on disk.
        spool_dir: where on disk; None: the system's directory for temporary files.
        cache: where finals are remembered, and asked for while the words are delayed; None: nowhere.
        origin: where it begins.
        window: see above.
        keeps_words: see `Publication`.
        listener: told what happens to the session; called synchronously, so it must be quick, and must not raise.
    """

    __slots__ = (
        "_capacity",
        "_spool_capacity",
        "_spool_directory",
        "alone_since",
        "arrivals",
        "began",
        "cache",
        "claims",
        "client",
        "clients",
        "config",
        "cut_at",
        "degraded",
        "delays",
        "draining",
        "ending",
        "endpoint",
        "epoch",
        "first",
        "in_hand",
        "journal_late",
        "later",
        "listener",
        "log",
        "publication",
        "renewing",
        "resumes",
        "session_id",
        "speaking_since",
        "state",
        "status",
        "timeline",
        "todo",
        "unended",
        "user",
        "window",
    )

    def __init__(
        self,
        session_id: str,
        config: RecognitionConfig,
        log_seconds: float,
        *,
        user: str = "",
        spool_seconds: float = 0.0,
        spool_dir: str | None = None,
        cache: Ref[CacheMessage] | None = None,
        origin: Origin = _BEGINNING,
        window: float = 60.0,
        keeps_words: bool = True,
        listener: Listener = lambda report: None,
    ) -> None:
        self.session_id = session_id
        self.config = config
        self.user = user
        self.epoch = origin.epoch
        self._capacity = int(log_seconds * config.sample_rate)
        self._spool_capacity = int(spool_seconds * config.sample_rate)
        self._spool_directory = spool_dir
        self.first = origin.audio
        self.log = self._empty_log(origin.audio)
        self.later: list[AudioLog] = []
        self.timeline = Timeline(config.sample_rate, seq=origin.seq, confirmed=origin.end)
        self.publication = Publication(origin.seq, origin.end, keeps_words=keeps_words)
        self.in_hand: SessionMessage | None = None
        self.todo: list[Command] = []
        self.client: int | None = None
        self.clients: dict[int, Client] = {}
        self.claims: dict[int, Attach] = {}
        self.state = State.CONNECTING
        self.status: Status | None = None
        self.degraded = False
        self.journal_late = False
        self.window = window
        self.alone_since: float | None = None
        self.renewing = False
        self.draining = False
        self.cut_at: int | None = None
        self.speaking_since: int | None = None
        self.cache = cache
        self.delays = Signal()
        self.began: float | None = None
        self.resumes = 0
        self.endpoint = ""
        self.unended = 0
        self.arrivals: list[tuple[int, float]] = []
        self.ending: tuple[Ending, str | None] | None = None
        self.listener = listener

    @property
    def resumable(self) -> bool:
        """Whether somebody may go on with the session when its client, or this server, is gone."""
        return self.window > 0

    @property
    def intake(self) -> AudioLog:
        """The log that takes what is received."""
        return self.later[-1] if self.later else self.log

    @property
    def taken(self) -> float:
        """Seconds of audio that were received here."""
        return (self.intake.end - self.first) / self.config.sample_rate

    def skip(self, position: int) -> None:
        """What is received next begins at `position`; what lies between will never come."""
        self.intake.close()
        self.later.append(self._empty_log(position))

    def next_log(self) -> bool:
        """Go on to the audio behind what was never received, if there is any."""
        if not self.later:
            return False
        self.log.release(self.log.end)
        self.log = self.later.pop(0)
        return True

    def note_arrival(self, position: int, at: float) -> None:
        """The audio below a position has arrived."""
        self.arrivals.append((position, at))
        if len(self.arrivals) > ARRIVALS:
            del self.arrivals[0]

    def arrived(self, position: int) -> float | None:
        """About when the audio below a position had arrived; None: nobody remembers."""
        later: tuple[int, float] | None = None
        for end, at in reversed(self.arrivals):
            if end < position:
                if later is None:  # since then, as fast as it is spoken
                    return at + (position - end) / self.config.sample_rate
                share = (position - end) / (later[0] - end)
                return at + share * (later[1] - at)
            later = end, at
        return None

    @property
    def delayed(self) -> bool:
        """No backend has taken the audio for a while."""
        return self.state is State.DELAYED

    def utterance(self, start: int, end: int) -> Utterance | None:
        """The audio between two positions; None if it is not (all) held, or of a length that cannot be found again."""
        rate = self.config.sample_rate
        if not SHORTEST_SECONDS <= (end - start) / rate <= LONGEST_SECONDS:
            return None
        try:
            pcm = self.log.copy(start, end)
        except AudioGone:
            return None
        return Utterance(pcm, rate, self.config.language)

    def _empty_log(self, start: int) -> AudioLog:
        return AudioLog(
            self.config.sample_rate,
            self._capacity,
            spool_capacity=self._spool_capacity,
            spool_directory=self._spool_directory,
            start=start,
        )
