"""What a session knows, and must not lose while its actors crash and come back."""

from __future__ import annotations

from actors.speech.audio_log import AudioLog
from actors.speech.outbox import Outbox
from actors.speech.ports import RecognitionConfig
from actors.speech.timeline import Timeline


class SessionRecord:
    """Audio, finals and unsent events of one session. The session actor alone writes; every incarnation finds it again.

    Args:
        log_seconds: unsettled audio held in memory.
        spool_seconds: … and on disk.
        spool_dir: where on disk; None: the system's directory for temporary files.
    """

    def __init__(
        self,
        session_id: str,
        config: RecognitionConfig,
        log_seconds: float,
        *,
        spool_seconds: float = 0.0,
        spool_dir: str | None = None,
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
        self.speaking_since: int | None = None  # the stream shows words that are not final; heard so far when it began
