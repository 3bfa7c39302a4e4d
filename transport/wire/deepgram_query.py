"""The query of Deepgram's `/v1/listen`: what a client asks for, and which of it there is.

What only adds to a transcript, or formats it, is ignored where voxtree does not have it (`diarize`, `keyterm`, …). What
a client relies on is refused instead: `redact` hides words, `callback` says where results go, `multichannel` which
speaker is whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from actors.speech.errors import InvalidAudioFormat, ModelNotFound
from actors.speech.ports import RecognitionConfig
from transport.audio.formats import DeclaredFormat, Encoding, require_supported
from transport.wire.reading import require_language

_ENCODINGS = {"linear16": Encoding.PCM16, "mulaw": Encoding.MULAW, "alaw": Encoding.ALAW}
_OURS = "riva:"  # before a model's name: the others are Deepgram's, which do not exist here
_MOST_DIGITS = 9
_MAX_SHOWN = 60  # characters of a value that are said back
# Deepgram's clients name a language alone, Riva's models are for a region: the one of Riva's own.
_REGIONS = {
    "de": "de-DE",
    "en": "en-US",
    "es": "es-US",
    "fr": "fr-FR",
    "hi": "hi-IN",
    "it": "it-IT",
    "ja": "ja-JP",
    "ko": "ko-KR",
    "nl": "nl-NL",
    "pt": "pt-BR",
    "ru": "ru-RU",
    "zh": "zh-CN",
}


class BadParameter(Exception):
    """A parameter that is refused; the text names it and says what would do, in one line of ASCII."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for.

    Attributes:
        audio: the format of the raw audio; None: a container will say.
        interim_results: it wants results that may change.
        endpointing: it wants to know at which final an utterance ends.
        utterance_end, vad_events: it wants messages about where speech ends and begins.
    """

    config: RecognitionConfig = RecognitionConfig()
    audio: DeclaredFormat | None = None
    interim_results: bool = False
    endpointing: bool = True
    utterance_end: bool = False
    vad_events: bool = False


def read(query: Mapping[str, Sequence[str]]) -> Options:
    """What a query asks for. Parameters that nobody knows, and those without a value, are ignored.

    Raises:
        BadParameter: one of those that matter is malformed, or asks for what there is not.
    """
    _require_possible(query)
    audio = _audio(query)
    interim_results, vad_events = _flag(query, "interim_results"), _flag(query, "vad_events")
    punctuate, smart_format = _flag(query, "punctuate"), _flag(query, "smart_format")
    config = RecognitionConfig(
        sample_rate=(audio or DeclaredFormat()).filled().sample_rate,
        language=_language(query),
        interim_results=interim_results or vad_events,  # the first interim tells that somebody speaks
        punctuate=punctuate or smart_format,
        model=_model(query),
    )
    return Options(
        config=config,
        audio=audio,
        interim_results=interim_results,
        endpointing=_is_timed(query, "endpointing", default=True),
        utterance_end=_is_timed(query, "utterance_end_ms", default=False),
        vad_events=vad_events,
    )


def _require_possible(query: Mapping[str, Sequence[str]]) -> None:
    if _flag(query, "multichannel"):
        raise BadParameter("multichannel=true: channels are mixed; open one connection for each to keep them apart")
    if _text(query, "callback") is not None:
        raise BadParameter("callback: results are sent over this connection only")
    if _text(query, "redact") not in (None, "false"):
        raise BadParameter("redact: nothing is redacted here, so leave it out only if the words may be seen")


def _audio(query: Mapping[str, Sequence[str]]) -> DeclaredFormat | None:
    name = _text(query, "encoding")
    if name is None:
        return None  # and so neither of the other two matters
    encoding = _ENCODINGS.get(name)
    if encoding is None:
        raise _bad("encoding", name, f"there are {', '.join(_ENCODINGS)}; none for a WAV file")
    sample_rate, channels = _integer(query, "sample_rate"), _integer(query, "channels")
    if sample_rate is None:
        raise BadParameter(f"sample_rate is missing: encoding={name} takes one, in Hz")
    try:
        require_supported(sample_rate=sample_rate, channels=channels)
    except InvalidAudioFormat as exc:
        raise BadParameter(exc.detail) from exc
    return DeclaredFormat(encoding=encoding, sample_rate=sample_rate, channels=channels or 1)


def _language(query: Mapping[str, Sequence[str]]) -> str:
    language = _text(query, "language")
    if language is None:
        return RecognitionConfig().language
    try:
        require_language(language)
    except ModelNotFound as exc:
        raise BadParameter(exc.detail) from exc
    return _REGIONS.get(language.lower(), language)


def _model(query: Mapping[str, Sequence[str]]) -> str:
    model = _text(query, "model") or ""
    return model.removeprefix(_OURS)[:200] if model.startswith(_OURS) else ""


def _is_timed(query: Mapping[str, Sequence[str]], name: str, *, default: bool) -> bool:
    """Whether something is on that comes after so many milliseconds. How many is the recogniser's affair."""
    match _text(query, name):
        case None:
            return default
        case "true" | "false" as value:
            return value == "true"
        case _:
            return _integer(query, name, "a number of milliseconds, or false") is not None


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    match _text(query, name):
        case None | "false":
            return False
        case "true":
            return True
        case value:
            raise _bad(name, value, "expected true or false")


def _integer(query: Mapping[str, Sequence[str]], name: str, what: str = "a whole number") -> int | None:
    value = _text(query, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
        raise _bad(name, value, f"expected {what}")
    return int(value)


def _text(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    """A parameter's value. Old clients write `True`, and what has no value was not meant."""
    value = query.get(name, ("",))[-1]
    return {"True": "true", "False": "false"}.get(value, value) or None


def _bad(name: str, value: str, expected: str) -> BadParameter:
    return BadParameter(f"{name} {value[:_MAX_SHOWN]!a}: {expected}")
