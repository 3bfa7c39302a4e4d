"""What a session knows, and must not lose while its actors crash and come back."""

from __future__ import annotations

from actors.address import Ref
from actors.speech.audio_log import AudioGone, AudioLog
from actors.speech.messages import CacheMessage
from actors.speech.outbox import Outbox
from actors.speech.ports import RecognitionConfig, Utterance
from actors.speech.signal import Signal
from actors.speech.timeline import Timeline

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 31.0  # of audio by which it can be known again: less has too little to go by


class SessionRecord:
    """Audio, finals and unsent events of one session. The session actor alone writes; every incarnation finds it again.

    Args:
        log_seconds: unsettled audio held in memory.
        spool_seconds: … and on disk.
        spool_dir: where on disk; None: the system's directory for temporary files.
        cache: where finals are remembered, and asked for while the words are delayed; None: nowhere.

    Attributes:
        delayed: no backend has taken the audio for a while; `delays` tells when that begins.
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
        self.cache = cache
        self.delayed = False
        self.delays = Signal()
        self.speaking_since: int | None = None  # the stream shows words that are not final; heard so far when it began

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
