"""The engine without gRPC around it: a whole recording in, its finals out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from transport.embedded.audio import AudioDecoder
from transport.embedded.engine import Engine
from transport.embedded.timing import TimedWord, place_words
from transport.embedded.utterance import Command, Endpointing, Final, Utterances


class Utterance(msgspec.Struct, frozen=True):
    """A final: its text with punctuation, and its words with their times (samples at 16 kHz)."""

    text: str
    words: tuple[TimedWord, ...]
    confidence: float


class Recogniser:
    """Recognises recordings, one after another, on the calling thread.

    The result is what the gRPC service gives for the same audio, for both cut it into utterances alike.
    """

    def __init__(self, engine: Engine | None = None, *, endpointing: Endpointing | None = None) -> None:
        self._engine = engine or Engine()
        self._endpointing = endpointing or Endpointing()

    def transcribe(self, pcm16: bytes, sample_rate: int = 16_000) -> list[Utterance]:
        """The finals of a recording.

        Args:
            pcm16: 16-bit little-endian mono samples.
            sample_rate: in Hz, 8000 to 48000.

        Raises:
            UnsupportedRate: for any other rate.
        """
        utterances = Utterances(self._engine.listener(), self._endpointing)
        audio = AudioDecoder(None, sample_rate)
        finals = []
        for samples in (audio.decode(pcm16), audio.finish()):
            finals += list(self._recognise(utterances, utterances.receive(samples)))
        return [*finals, *self._recognise(utterances, utterances.finish())]

    def _recognise(self, utterances: Utterances, commands: list[Command]) -> Iterator[Utterance]:
        for command in commands:
            if isinstance(command, Final):
                samples = utterances.audio(command.start, command.end)
                hypothesis = self._engine.decode(samples)
                if not hypothesis.is_noise(command.seconds):
                    words = place_words(command, hypothesis, self._engine.align(samples, hypothesis))
                    yield Utterance(hypothesis.text, words, hypothesis.confidence)
