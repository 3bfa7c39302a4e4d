"""The settings of an OpenAI transcription session: what clients may ask for, and what voxtree makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import UNSET

from actors.speech.errors import InvalidAudioFormat, InvalidMessage
from actors.speech.ports import RecognitionConfig
from transport.audio.formats import DeclaredFormat, Encoding, require_supported
from transport.wire.openai_realtime_schema import (
    AudioInput,
    BetaSession,
    BetaSessionRequest,
    EffectiveAudio,
    EffectiveInput,
    Format,
    NoiseReduction,
    SecretValue,
    Session,
    SessionRequest,
    Transcription,
    TurnDetection,
)
from transport.wire.port import Start
from transport.wire.reading import require_language

OUR_MODELS = "riva:"  # before the name of a model that is meant for us; all others are OpenAI's, and stand for none

# OpenAI's clients name a language (ISO 639-1), Riva's models a locale (BCP-47): the one that Riva has for it, or has
# most speech of. What is not here is passed on as it is.
LOCALES: Mapping[str, str] = MappingProxyType({
    "ar": "ar-AR", "cs": "cs-CZ", "da": "da-DK", "de": "de-DE", "en": "en-US", "es": "es-US", "fr": "fr-FR",
    "he": "he-IL", "hi": "hi-IN", "it": "it-IT", "ja": "ja-JP", "ko": "ko-KR", "nb": "nb-NO", "nl": "nl-NL",
    "nn": "nn-NO", "no": "nb-NO", "pl": "pl-PL", "pt": "pt-BR", "ru": "ru-RU", "sv": "sv-SE", "th": "th-TH",
    "tr": "tr-TR", "uk": "uk-UA", "zh": "zh-CN",
})  # fmt: skip

_RATE = 24_000  # Hz; OpenAI's only one for PCM
_ENCODINGS = {
    "audio/pcm": (Encoding.PCM16, None),
    "audio/pcmu": (Encoding.MULAW, 8000),
    "audio/pcma": (Encoding.ALAW, 8000),
}
_BETA_FORMATS = {
    "pcm16": Format("audio/pcm", _RATE),
    "g711_ulaw": Format("audio/pcmu"),
    "g711_alaw": Format("audio/pcma"),
}
_DETECTIONS = ("server_vad", "semantic_vad")


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for so far, over OpenAI's defaults."""

    format: Format = Format("audio/pcm", _RATE)
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = TurnDetection(type="server_vad")
    noise_reduction: NoiseReduction | None = None

    @classmethod
    def carried(cls, content: bytes) -> SessionSettings:
        """Those that a client secret carries; the defaults if it was not made for any."""
        return msgspec.json.decode(content, type=cls) if content else DEFAULTS

    def carry(self) -> bytes:
        """What a client secret is to carry: all that has an effect, so that it stays short."""
        wanted = self.transcription
        if wanted is not None:
            wanted = msgspec.structs.replace(wanted, prompt=None)
        return msgspec.json.encode(msgspec.structs.replace(self, transcription=wanted, noise_reduction=None))

    @property
    def is_manual(self) -> bool:
        """The client says where an utterance ends."""
        return self.turn_detection is None

    def updated(self, request: SessionRequest | BetaSessionRequest) -> SessionSettings:
        """These settings with those of an update.

        Raises:
            SpeechError: naming the field that asks for what there is not.
        """
        given = _input(request)
        changes = {name: value for name in given.__struct_fields__ if (value := getattr(given, name)) is not UNSET}
        if changes.get("format", UNSET) is None:
            changes["format"] = DEFAULTS.format
        settings = msgspec.structs.replace(self, **changes)
        settings.start()  # for its complaints
        if settings.turn_detection is not None and settings.turn_detection.type not in _DETECTIONS:
            raise InvalidMessage(
                f"turn_detection.type {settings.turn_detection.type!r}: allowed are {', '.join(_DETECTIONS)}, "
                "or null for turn_detection"
            )
        return settings

    def start(self, default_model: str = "") -> Start:
        """How a session begins that has these settings. `default_model`: what is asked for outside of them.

        Raises:
            SpeechError: naming the field that asks for what there is not.
        """
        wanted = self.transcription or Transcription()
        encoding, rate = _encoding(self.format)
        require_supported(sample_rate=rate)
        config = RecognitionConfig(
            sample_rate=rate, language=_locale(wanted.language), model=_model(wanted.model or default_model)
        )
        return Start(config, DeclaredFormat(encoding=encoding, sample_rate=rate, channels=1))

    def session(self, identity: str) -> Session:
        """The session as clients are shown it."""
        shown = EffectiveInput(
            format=self.format,
            transcription=self.transcription,
            noise_reduction=self.noise_reduction,
            turn_detection=self.turn_detection,
        )
        return Session(id=identity, audio=EffectiveAudio(shown))

    def beta_session(self, identity: str, secret: SecretValue | None = None) -> BetaSession:
        """The same, as clients of the beta are."""
        names = {form.type: name for name, form in _BETA_FORMATS.items()}
        return BetaSession(
            id=identity,
            input_audio_format=names[self.format.type],
            input_audio_transcription=self.transcription,
            input_audio_noise_reduction=self.noise_reduction,
            turn_detection=self.turn_detection,
            client_secret=secret,
        )


DEFAULTS = SessionSettings()


def _input(request: SessionRequest | BetaSessionRequest) -> AudioInput:
    if isinstance(request, SessionRequest):
        if request.type != "transcription":
            raise InvalidMessage(f"session.type {request.type!r}: only 'transcription' sessions are served here")
        return request.audio.input
    name = request.input_audio_format
    if isinstance(name, str) and name not in _BETA_FORMATS:
        raise InvalidAudioFormat(f"input_audio_format {name!r}: allowed are {', '.join(_BETA_FORMATS)}")
    return AudioInput(
        format=_BETA_FORMATS[name] if isinstance(name, str) else name,
        transcription=request.input_audio_transcription,
        turn_detection=request.turn_detection,
        noise_reduction=request.input_audio_noise_reduction,
    )


def _encoding(form: Format) -> tuple[Encoding, int]:
    if form.type not in _ENCODINGS:
        raise InvalidAudioFormat(f"format.type {form.type!r}: allowed are {', '.join(_ENCODINGS)}")
    encoding, rate = _ENCODINGS[form.type]
    return encoding, rate or (_RATE if form.rate is None else form.rate)


def _locale(language: str | None) -> str:
    if not language:
        return RecognitionConfig().language
    require_language(language)
    return LOCALES.get(language.lower(), language)


def _model(name: str) -> str:
    return name.removeprefix(OUR_MODELS) if name.startswith(OUR_MODELS) else ""
