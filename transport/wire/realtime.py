"""/v1/realtime, where clients of two systems come: OpenAI's, and those of NVIDIA Riva's Realtime API, a relative of it.

Most are known by how they come. One that is not is greeted as Riva does, and known by its first message: Riva's clients
wait for that greeting before they say anything, while OpenAI's that come so plainly mostly do not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum

import msgspec

from transport.wire import openai_realtime, openai_secrets, riva_realtime
from transport.wire.client_secrets import ClientSecrets, offered
from transport.wire.port import Accepted, Answer, ClientEvent, Codec, Request, ServerEvent, catalogue_close

# Of a session object: what is Riva's alone.
_RIVA_FIELDS = frozenset({
    "input_audio_params", "recognition_config", "speaker_diarization", "word_boosting", "endpointing_config",
    "custom_configuration",
})  # fmt: skip
_OPENAI_FIELDS = frozenset({"turn_detection", "input_audio_noise_reduction", "include"})  # … and what is OpenAI's
_OPENAI_MODELS = ("gpt-", "whisper-")  # how names of its models begin
_OPENAI_KEYS = ("sk-", "ek_")  # how keys of OpenAI's begin


class System(Enum):
    """Whose protocol is spoken. The values are those in `transport.settings.Dialects`."""

    RIVA = "riva"
    OPENAI = "openai"


class Realtime:
    """Finds out who comes, among those that are `enabled`, of which there is at least one.

    Args:
        secrets: those that both systems' clients may have been given.
    """

    def __init__(self, enabled: Collection[str], secrets: ClientSecrets) -> None:
        self._enabled = [system for system in System if system.value in enabled]
        self._secrets = secrets

    def connect(self, request: Request, session_id: str) -> Accepted | Answer:
        """Who speaks to a client, as `transport.wire.port.Routes` has it."""
        match self._only(_known(request)):
            case System.OPENAI:
                return openai_realtime.connect(request, session_id, secrets=self._secrets)
            case System.RIVA:
                return riva_realtime.connect(request, session_id, secrets=self._secrets)
        accepted = riva_realtime.connect(request, session_id, secrets=self._secrets)
        if isinstance(accepted, Answer):
            return accepted

        def openai(is_beta: bool) -> Codec | None:
            other = openai_realtime.connect(request, session_id, secrets=self._secrets, is_beta=is_beta)
            return other.codec if isinstance(other, Accepted) else None

        return msgspec.structs.replace(accepted, codec=Undecided(accepted.codec, openai))

    def transcription_session(self, request: Request) -> Answer:
        """The answer to a POST to /v1/realtime/transcription_sessions."""
        if self._only(_known(request) or _posted(request.body)) is System.OPENAI:
            return openai_secrets.transcription_session(request, secrets=self._secrets)
        return riva_realtime.mint(request, secrets=self._secrets)

    def _only(self, system: System | None) -> System | None:
        return self._enabled[0] if len(self._enabled) == 1 else system


class Undecided:
    """The codec of a client of which nobody knows yet whose it is. See `transport.wire.port.Codec`.

    Args:
        riva: what it is until it turns out otherwise.
        openai: makes the other one, for a client of the beta or for one of today; None: it is not to have one.
    """

    resumable = False

    def __init__(self, riva: Codec, openai: Callable[[bool], Codec | None]) -> None:
        self._codec = riva
        self._openai = openai
        self._is_decided = False

    def connected(self) -> Sequence[ClientEvent]:
        """See `Codec.connected`."""
        return self._codec.connected()

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """See `Codec.decode`."""
        if self._is_decided or (first := _first(message)) is None:
            return self._codec.decode(message)
        self._is_decided = True
        is_beta = first.type == "transcription_session.update"
        if first.system is System.RIVA or (codec := self._openai(is_beta)) is None:
            return self._codec.decode(message)
        self._codec = codec
        return (*codec.connected(), *codec.decode(message))

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """See `Codec.encode`."""
        return self._codec.encode(event)

    def close_code(self, code: str) -> int:
        """See `Codec.close_code`."""
        return catalogue_close(code)


class _Message(msgspec.Struct, frozen=True):
    """A client's first, as far as it tells whose it is."""

    type: str
    session: dict[str, object] = {}

    @property
    def system(self) -> System:
        if self.type == "session.update":
            return System.OPENAI
        if self.type == "transcription_session.update" and _is_openais(self.session):
            return System.OPENAI
        return System.RIVA  # also in doubt: OpenAI's clients of the beta have to say in their request that they are


def _first(message: str | bytes) -> _Message | None:
    """The message, if it is one at all."""
    try:
        return msgspec.json.decode(message, type=_Message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        return None


def _known(request: Request) -> System | None:
    """Whose client it is, as far as its request tells."""
    if offered(request, riva_realtime.TOKEN_PREFIX) is not None:
        return System.RIVA
    is_openais = (
        offered(request, openai_realtime.KEY_PREFIX) is not None
        or "openai-beta" in request.headers
        or "model" in request.query
        or "openai" in request.header("user-agent").lower()
        or any(name.startswith("x-stainless-") for name in request.headers)
        or openai_realtime.key_of(request).startswith(_OPENAI_KEYS)
    )
    return System.OPENAI if is_openais else None


def _posted(body: bytes) -> System | None:
    """Whose settings are posted: Riva's clients post none."""
    try:
        session = msgspec.json.decode(body or b"{}", type=dict[str, object])
    except (ValueError, RecursionError):
        return None
    return System.OPENAI if session and not _is_rivas(session) else None


def _is_rivas(session: dict[str, object]) -> bool:
    return not _RIVA_FIELDS.isdisjoint(session) or session.get("input_audio_format") == "none"


def _is_openais(session: dict[str, object]) -> bool:
    if _is_rivas(session):
        return False
    wanted = session.get("input_audio_transcription")
    model = wanted.get("model") if isinstance(wanted, dict) else None
    return not _OPENAI_FIELDS.isdisjoint(session) or str(model).startswith(_OPENAI_MODELS)
