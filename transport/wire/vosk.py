"""The protocol of vosk-server: binary messages with PCM16 mono, text messages with `config`, `eof` or `reset`.

Its clients work in lock-step: they send a message, then wait for the one that answers it. So each binary message and
each `reset` has exactly one answer, whatever happened meanwhile; `config` has none, and `eof` has the last result,
after which the connection closes. On the wire times are seconds.

What vosk-server cannot say is an `error` object in the answer that is due anyway: what was wrong with the message, or
with a part of the audio. Only an error that ends the connection is a message of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, assert_never

import msgspec

from actors.speech.catalogue import CATALOGUE, UNKNOWN
from actors.speech.errors import InvalidMessage, SpeechError
from actors.speech.messages import Ack, Done, Finalize, Gap, GoAway, Recalled, Status, Stop, Transcript
from actors.speech.ports import RecognitionConfig
from transport.audio.containers import recognise
from transport.audio.formats import DeclaredFormat, Encoding, require_supported
from transport.wire.port import (
    Accepted,
    AnswerDue,
    AudioBytes,
    Await,
    Bad,
    ClientEvent,
    Failed,
    Opened,
    Request,
    ServerEvent,
    Start,
    catalogue_close,
)
from transport.wire.reading import line

# An answer may wait for what its audio says, but half as long as that lasts: a client that speaks stays ahead, and one
# that reads a file still gets through it in half the time.
_SHARE_OF_CHUNK = 0.5
_LONGEST_WAIT = 0.1  # seconds; nobody sees words earlier for a longer one, since they can come with the next answer
_RESET_WAIT = 0.5  # seconds for the final that `reset` asks for; backends take some 0.1 to 0.3
_SAMPLE_BYTES = 2


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may set. `phrase_list` and `model` are not here: they name what only vosk has.

    `language` is an addition of ours: vosk's clients choose it by the server's port, or by its model.
    """

    sample_rate: int = 8000  # vosk-server's own default
    words: bool = True
    max_alternatives: int = 0
    language: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,5}$")] = "en-US"  # BCP-47


class _Message(msgspec.Struct, frozen=True):
    config: dict[str, object] | None = None
    eof: object = None
    reset: object = None


class _Word(msgspec.Struct, frozen=True, gc=False):
    conf: float
    start: float
    end: float
    word: str


class _Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """`message` is for the user, `detail` for the developer of the client; `retry_after` in seconds."""

    code: str
    message: str
    detail: str = ""
    ref: str = ""
    retry_after: float | None = None


class _Partial(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    partial: str
    error: _Error | None = None


class _Result(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    result: tuple[_Word, ...] = ()
    text: str
    error: _Error | None = None


class _Alternative(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    confidence: float
    result: tuple[_Word, ...] = ()
    text: str


class _Alternatives(msgspec.Struct, frozen=True, omit_defaults=True):
    alternatives: tuple[_Alternative, ...]
    error: _Error | None = None


_read = msgspec.json.Decoder(_Message).decode
_write = msgspec.json.Encoder().encode


def connect(_: Request, session_id: str) -> Accepted:
    """Who speaks to a client of vosk-server, as `transport.wire.port.Routes` has it."""
    return Accepted(Vosk())


class Vosk:
    """The codec of vosk-server's protocol for one connection. See `transport.wire.port.Codec`.

    An answer holds the finals that nobody was told of yet, as one, else the newest interim. `Status`, `Ack`, `GoAway`
    and `Recalled` are not said: the protocol has no place for them, and a client that counts has no use for more.
    """

    resumable = False

    def __init__(self) -> None:
        self._given: dict[str, object] = {}
        self._config = _Config()
        self._begun = False
        self._odd = b""  # the first half of a sample
        self._resetting = False
        self._rate = self._config.sample_rate
        self._untold: list[Transcript] = []  # finals
        self._partial = ""
        self._error: _Error | None = None

    # ---- from the client

    def connected(self) -> Sequence[ClientEvent]:
        """See `Codec.connected`."""
        return ()

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """See `Codec.decode`."""
        if isinstance(message, bytes):
            return self._audio(message)
        try:
            return self._meant(_read(message))
        except SpeechError as error:
            return (Bad(error),)
        except (ValueError, RecursionError) as exc:  # msgspec's errors are ValueErrors, and so is a lone surrogate's
            why = f"expected config, eof or reset: {line(exc)}; audio goes into binary messages"
            return (Bad(InvalidMessage(why)),)

    def _audio(self, data: bytes) -> Sequence[ClientEvent]:
        wait = Await(min(_SHARE_OF_CHUNK * len(data) / _SAMPLE_BYTES / self._rate, _LONGEST_WAIT))
        data = self._odd + data
        whole = len(data) - len(data) % _SAMPLE_BYTES
        self._odd = data[whole:]
        return (*self._start(data), AudioBytes(data[:whole]), wait) if whole else (wait,)

    def _meant(self, message: _Message) -> Sequence[ClientEvent]:
        if message.config is not None:
            return self._configure(message.config)
        if message.eof:
            return (*self._start(), Stop())
        if message.reset:
            self._resetting = True
            return (Finalize(), Await(_RESET_WAIT))
        raise InvalidMessage("a message without config, eof or reset")

    def _configure(self, given: Mapping[str, object]) -> Sequence[ClientEvent]:
        if self._begun:
            raise InvalidMessage("config: the audio has begun; open another connection for other settings")
        given = self._given | {name: given[name] for name in _Config.__struct_fields__ if name in given}
        try:
            config = msgspec.convert(given, _Config, strict=False)  # as loose with numbers as vosk-server
        except msgspec.ValidationError as exc:
            raise InvalidMessage(f"config: {line(exc)}") from exc
        require_supported(sample_rate=config.sample_rate)
        self._given, self._config, self._rate = given, config, config.sample_rate
        return ()

    def _start(self, audio: bytes = b"") -> Sequence[ClientEvent]:
        """The session's start, once: not before there is audio, since a second `config` may come until then."""
        if self._begun:
            return ()
        self._begun = True
        config = self._config
        recognition = RecognitionConfig(
            sample_rate=config.sample_rate,
            language=config.language,
            word_times=config.words,
            punctuate=False,  # vosk's text has neither capitals nor full stops, and commands are compared with it
        )
        if "sample_rate" not in self._given and recognise(audio) == "WAV":
            return (Start(recognition, None),)  # clients that send a file as it is have never needed a `config`
        audio_format = DeclaredFormat(encoding=Encoding.PCM16, sample_rate=config.sample_rate, channels=1)
        return (Start(recognition, audio_format),)

    # ---- to the client

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """See `Codec.encode`."""
        match event:
            case AnswerDue():
                return (self._answer(),)
            case Done():
                return (self._result(),)
            case Failed():
                self._error = _failed(event)
                return (self._answer(),) if event.problem.fatal else ()
            case Opened():
                self._rate = event.ready.config.sample_rate
            case Transcript(is_final=False):
                self._partial = event.text
            case Transcript():
                self._untold.append(event)
                self._partial = ""
            case Gap():
                self._partial = ""
                self._error = self._missing(event)
            case Recalled() | Ack() | Status() | GoAway():
                pass
            case _:
                assert_never(event)
        return ()

    def close_code(self, code: str) -> int:
        """See `Codec.close_code`."""
        return catalogue_close(code)

    def _answer(self) -> str:
        if self._untold or self._resetting:
            return self._result()
        error, self._error = self._error, None
        return _write(_Partial(partial=self._partial, error=error)).decode()

    def _result(self) -> str:
        """The finals that were not told yet, as one; empty if there are none."""
        finals, self._untold = self._untold, []
        error, self._error = self._error, None
        self._resetting = False
        text = " ".join(final.text for final in finals if final.text)
        words = self._words(finals) if self._config.words else ()
        if self._config.max_alternatives <= 0:
            return _write(_Result(text=text, result=words, error=error)).decode()
        # No surer than its least sure part.
        confidence = min((final.confidence for final in finals if final.text), default=0.0)
        best = _Alternative(confidence=round(confidence, 4), result=words, text=text)
        return _write(_Alternatives((best,), error)).decode()

    def _words(self, finals: Iterable[Transcript]) -> tuple[_Word, ...]:
        rate = self._rate
        return tuple(
            _Word(round(word.confidence, 4), round(word.start / rate, 3), round(word.end / rate, 3), word.text)
            for final in finals
            for word in final.words
        )

    def _missing(self, gap: Gap) -> _Error:
        entry = CATALOGUE.get(gap.code, UNKNOWN)
        return _Error(entry.code, entry.message, f"from {gap.start / self._rate:g} s to {gap.end / self._rate:g} s")


def _failed(event: Failed) -> _Error:
    problem = event.problem
    entry = CATALOGUE.get(problem.code, UNKNOWN)
    return _Error(entry.code, entry.message, problem.detail, event.ref, problem.retry_after)
