"""What a wire protocol is to the front door: a translation of messages, without I/O and without decisions."""

from __future__ import annotations

from typing import Protocol

import msgspec

from actors.speech.errors import SpeechError
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Done,
    Finalize,
    Gap,
    GoAway,
    Problem,
    Ready,
    Recalled,
    Resume,
    Status,
    Stop,
    Transcript,
)
from actors.speech.ports import RecognitionConfig
from transport.audio.formats import AudioFormat, DeclaredFormat

# ---- what a client can say


class Start(msgspec.Struct, frozen=True):
    """How the client wants its session. `audio` tells what was given from what was left open."""

    config: RecognitionConfig = RecognitionConfig()
    audio: DeclaredFormat = DeclaredFormat()
    resume: Resume | None = None


class AudioBytes(msgspec.Struct, frozen=True, gc=False):
    """Audio as the client encoded it."""

    data: bytes


class Ping(msgspec.Struct, frozen=True):
    """The client wants a `Pong` with the same `t`."""

    t: int | float | str | None = None


class Bad(msgspec.Struct, frozen=True):
    """A message that is not part of the protocol, or asks for what there is not; the error says which."""

    error: SpeechError


ClientEvent = Start | AudioBytes | Acknowledge | Finalize | Stop | Ping | Bad

# ---- what a client is told


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection may do: bytes of audio in one message, bytes of a message, seconds of silence."""

    max_chunk_bytes: int = 1024 * 1024
    max_message_bytes: int = 4 * 1024 * 1024
    idle_timeout: float = 60.0


class Opened(msgspec.Struct, frozen=True):
    """The session's `Ready`, with what only the connection knows."""

    ready: Ready
    audio: AudioFormat
    limits: Limits


class Failed(msgspec.Struct, frozen=True):
    """A `Problem`, with the short id under which the log has it too."""

    problem: Problem
    ref: str


class Pong(msgspec.Struct, frozen=True):
    """The answer to `Ping`."""

    t: int | float | str | None = None


ServerEvent = Opened | Transcript | Recalled | Gap | Ack | Status | GoAway | Failed | Done | Pong


class Codec(Protocol):
    """One wire protocol on one connection.

    Attributes:
        subprotocol: its WebSocket subprotocol.
    """

    subprotocol: str

    def decode(self, message: str | bytes) -> ClientEvent:
        """What a text (`str`) or binary message means. Never raises: what makes no sense is a `Bad`."""

    def encode(self, event: ServerEvent) -> str:
        """The text message that says `event`. Times are in the rate of the `Opened` encoded before."""
