"""What a session knows, and must not lose while its actors crash and come back."""

from __future__ import annotations

from collections import deque
from enum import Enum

from actors.speech.audio_log import AudioLog
from actors.speech.messages import SessionEvent
from actors.speech.outbox import Outbox
from actors.speech.ports import RecognitionConfig
from actors.speech.timeline import Timeline


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

    Args:
        log_seconds: audio held unsettled before the client has to wait.
    """

    def __init__(self, session_id: str, config: RecognitionConfig, log_seconds: float) -> None:
        self.session_id = session_id
        self.config = config
        self.log = AudioLog(config.sample_rate, int(log_seconds * config.sample_rate))
        self.timeline = Timeline(config.sample_rate)
        self.outbox = Outbox()
        self.decided: deque[SessionEvent] = deque()
        self.state = State.CONNECTING
        self.degraded = False
        self.draining = False
        self.speaking_since: int | None = None
