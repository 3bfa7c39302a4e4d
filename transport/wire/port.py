"""What a wire protocol is to the front door: a translation of messages, without I/O and without decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from actors.speech.catalogue import CATALOGUE, UNKNOWN
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
    """How the client wants its session. `audio` tells what was given from what was left open.

    Without `audio` the session begins when its first audio has told the format, in a file's header or by having none.
    """

    config: RecognitionConfig = RecognitionConfig()
    audio: DeclaredFormat | None = DeclaredFormat()
    resume: Resume | None = None


class AudioBytes(msgspec.Struct, frozen=True, gc=False):
    """Audio as the client encoded it."""

    data: bytes


class Reply(msgspec.Struct, frozen=True):
    """The codec itself has the answer: a text message, to be sent at once."""

    text: str


class Await(msgspec.Struct, frozen=True):
    """The client says nothing more until it is answered: by `AnswerDue`, after so many seconds or the next event."""

    seconds: float


class Remind(msgspec.Struct, frozen=True):
    """Let the codec know that time passes: by `AnswerDue`, every so many seconds. The client goes on meanwhile."""

    seconds: float


class Bad(msgspec.Struct, frozen=True):
    """A message that is not part of the protocol, or asks for what there is not; the error says which."""

    error: SpeechError


ClientEvent = Start | AudioBytes | Acknowledge | Finalize | Stop | Reply | Await | Remind | Bad

# ---- what a client is told


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection may do: bytes of audio in one message, bytes of a message, seconds of silence.

    `gather`: seconds of audio that is taken in at a time; 0: each message by itself.
    """

    max_chunk_bytes: int = 1024 * 1024
    max_message_bytes: int = 4 * 1024 * 1024
    idle_timeout: float = 60.0
    gather: float = 0.0


class Opened(msgspec.Struct, frozen=True):
    """The session's `Ready`, with what only the connection knows."""

    ready: Ready
    audio: AudioFormat
    limits: Limits


class Failed(msgspec.Struct, frozen=True):
    """A `Problem`, with the short id under which the log has it too."""

    problem: Problem
    ref: str


class AnswerDue(msgspec.Struct, frozen=True):
    """The time of an `Await` is over, or of a `Remind`."""


Told = Opened | Transcript | Recalled | Gap | Ack | Status | GoAway | Failed | Done
ServerEvent = Told | AnswerDue


class Codec(Protocol):
    """One wire protocol on one connection.

    Attributes:
        resumable: a client that was lost may come back to its session, and says which finals it has. Otherwise the
            session ends with the connection, and what was sent counts as received.
    """

    resumable: bool

    def connected(self) -> Sequence[ClientEvent]:
        """What follows from the client's being there, before it has said anything."""

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """What a text (`str`) or binary message means. Never raises: what makes no sense is a `Bad`."""

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """The text messages that say `event`; none if the protocol cannot.

        Positions are in samples of the rate in the `Opened` that was encoded before.
        """

    def close_code(self, code: str) -> int:
        """With which WebSocket close code a connection ends for an error of this code."""


_DEFECT = 1011  # close code of an error whose entry names none


def catalogue_close(code: str) -> int:
    """The close code that the catalogue has for an error."""
    return CATALOGUE.get(code, UNKNOWN).close or _DEFECT


# ---- how a client comes


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request, for a WebSocket or by POST. Names in `headers` are in small letters; `path` has no query.

    `user` is who has been let in with it; empty: nobody was asked.
    """

    path: str
    method: str = "GET"
    user: str = ""
    query: Mapping[str, Sequence[str]] = {}
    headers: Mapping[str, Sequence[str]] = {}
    body: bytes = b""

    def header(self, name: str) -> str:
        """All values of a header as one, comma-separated; empty if there is none."""
        return ", ".join(self.headers.get(name, ()))

    @property
    def subprotocols(self) -> list[str]:
        """The WebSocket subprotocols that are offered."""
        return [each for part in self.header("sec-websocket-protocol").split(",") if (each := part.strip())]


class Accepted(msgspec.Struct, frozen=True):
    """The client gets its WebSocket, spoken to by `codec`; the response names the subprotocol and has these headers."""

    codec: Codec
    subprotocol: str | None = None
    headers: Mapping[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """A response with JSON in it: to a POST, or the refusal of a WebSocket."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Routes(msgspec.Struct, frozen=True):
    """Which protocols are spoken at which paths: who is asked for WebSockets (with the session's id), and for POSTs."""

    sockets: Mapping[str, Callable[[Request, str], Accepted | Answer]] = {}
    posts: Mapping[str, Callable[[Request], Answer]] = {}
