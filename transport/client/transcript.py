"""A recording's whole transcript."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import msgspec

from transport.audio.wav_file import WavFile, read_wav
from transport.client.client import Client
from transport.client.errors import ResumeFailed
from transport.client.events import Final, Gap, SpeechEvent, Word, moved

CHUNK_SECONDS = 0.1


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Some words that were said in one go. `start` and `end` are seconds."""

    start: float
    end: float
    text: str
    confidence: float | None
    words: tuple[Word, ...]


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What is said in a recording of `duration` seconds."""

    text: str
    language: str
    duration: float
    segments: tuple[Segment, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """All words with their times."""
        return tuple(word for segment in self.segments for word in segment.words)


def transcribe_file(
    path: str | os.PathLike[str], *, url: str, language: str = "en-US", token: str | None = None
) -> Transcript:
    """The transcript of a WAV file, by a server that runs. For scripts: it blocks, and runs an event loop of its own.

    Args:
        url: `ws://HOST:PORT/transcribe`.
        language: BCP-47.
        token: a key or token, if the server asks for one.

    Raises:
        UnreadableAudio: the file is no WAV that voxtree can decode.
        SessionFailed: the server could not be reached, refused, or stayed away for too long.
    """
    return asyncio.run(transcribe(Client(url, token), read_wav(path), language=language))


async def transcribe(
    client: Client,
    wav: WavFile,
    *,
    language: str = "en-US",
    realtime: bool = False,
    listener: Callable[[SpeechEvent], None] = lambda event: None,
) -> Transcript:
    """The transcript of a WAV file.

    Should the server have lost the session, with its journal or for want of one, the rest of the file is transcribed in
    another session: what follows the last final is still there, after all.

    Args:
        realtime: send the audio at the pace it was spoken.
        listener: is told each event as it comes, with positions in the file.

    Raises:
        SessionFailed: see `transcribe_file`.
    """
    finals: list[Final] = []
    began = reached = 0  # samples of the file: where the present session began, and where its last final ended
    audio = wav.format
    while True:
        session = client.session(
            language=language, encoding=audio.encoding.value, sample_rate=audio.sample_rate, channels=audio.channels
        )
        chunks = wav.chunks(CHUNK_SECONDS, start=began)
        try:
            async with session:
                async for event in session.converse(chunks, pace=CHUNK_SECONDS if realtime else None):
                    event = moved(event, began, audio.sample_rate)
                    listener(event)
                    if isinstance(event, Final | Gap):
                        reached = event.end
                    if isinstance(event, Final) and event.text:
                        finals.append(event)
            break
        except ResumeFailed:
            if reached == began:
                raise  # it would only happen again
            began = reached
    segments = tuple(_segment(final, audio.sample_rate) for final in finals)
    text = " ".join(final.text for final in finals)
    return Transcript(text=text, language=language, duration=round(wav.seconds, 3), segments=segments)


def _segment(final: Final, rate: int) -> Segment:
    return Segment(
        start=round(final.start / rate, 3),
        end=round(final.end / rate, 3),
        text=final.text,
        confidence=final.confidence,
        words=final.words,
    )
