"""What a session knows, and must not lose while its actors crash and come back."""

from __future__ import annotations

from actors.speech.audio_log import AudioLog
from actors.speech.outbox import Outbox
from actors.speech.ports import RecognitionConfig
from actors.speech.timeline import Timeline


class SessionRecord:
    """Audio, finals and unsent events of one session. The session actor alone writes; every incarnation finds it again.

    Args:
        log_seconds: audio held unsettled before the client has to wait.
    """

    def __init__(self, session_id: str, config: RecognitionConfig, log_seconds: float) -> None:
        self.session_id = session_id
        self.config = config
        self.log = AudioLog(config.sample_rate, int(log_seconds * config.sample_rate))
        self.timeline = Timeline(config.sample_rate)
        self.outbox = Outbox()
        self.speaking_since: int | None = None  # the stream shows words that are not final; heard so far when it began
