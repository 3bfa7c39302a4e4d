"""What a session knows, and must not lose while its actors crash and come back."""

from __future__ import annotations

from collections import deque
from enum import Enum

from actors.address import Ref
from actors.speech.audio_log import AudioGone, AudioLog
from actors.speech.messages import CacheMessage, SessionEvent
from actors.speech.outbox import Outbox
from actors.speech.ports import RecognitionConfig, Utterance
from actors.speech.signal import Signal
from actors.speech.timeline import Timeline

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 31.0  # of audio by which it can be known again: less has too little to go by


class State(Enum):
    """How the words are getting on."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    RECOVERING = "recovering"
    DELAYED = "delayed"
    OVER = "over"


class SessionRecord:
    """Audio, finals and unsent events of one session. The session actor alone writes; every incarnation finds it again.

    Attributes:
        decided: events that follow from what is in the record already, and are not in the outbox yet.
        state: how the words are getting on.
        degraded: the client was told that a substitute is at work.
        draining: the session ends because its server does.
        speaking_since: where the words began that the stream shows and that are not final; None: there are none.
        delays: tells when the state becomes `delayed`.

    Args:
        log_seconds: unsettled audio held in memory.
        spool_seconds: … and on disk.
        spool_dir: where on disk; None: the system's directory for temporary files.
        cache: where finals are remembered, and asked for while the words are delayed; None: nowhere.
    """

    def __init__(
        self,
        session_id: str,
        config: RecognitionConfig,
        log_seconds: float,
        *,
        spool_seconds: float = 0.0,
        spool_dir: str | None = None,
        cache: Ref[CacheMessage] | None = None,
    ) -> None:
        self.session_id = session_id
        self.config = config
        self.log = AudioLog(
            config.sample_rate,
            int(log_seconds * config.sample_rate),
            spool_capacity=int(spool_seconds * config.sample_rate),
            spool_directory=spool_dir,
        )
        self.timeline = Timeline(config.sample_rate)
        self.outbox = Outbox()
        self.decided: deque[SessionEvent] = deque()
        self.state = State.CONNECTING
        self.degraded = False
        self.draining = False
        self.speaking_since: int | None = None
        self.cache = cache
        self.delays = Signal()

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
