"""Speaking to a server as a client does, with the project's own recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from transport.audio.wav_file import read_wav
from transport.cli.recording import RECORDING, SENTENCES
from transport.client import Client, Final, SpeechEvent

PCM = b"".join(read_wav(RECORDING).chunks())
RATE = read_wav(RECORDING).format.sample_rate
CHUNK_SECONDS = 0.1


def words(*texts: str) -> list[str]:
    return re.findall(r"[a-z']+", " ".join(texts).lower())


SAID = words(*SENTENCES)


async def converse(
    url: str,
    audio: bytes = PCM,
    *,
    realtime: bool = False,
    on_event: Callable[[SpeechEvent], None] = lambda event: None,
    **config: Any,
) -> list[SpeechEvent]:
    """Send audio, as fast as the server takes it or in real time, stop, and return all events."""
    events: list[SpeechEvent] = []
    async with Client(url).session(**{"sample_rate": RATE, **config}) as session:
        async for event in session.converse(chunks(audio), pace=CHUNK_SECONDS if realtime else None):
            events.append(event)
            on_event(event)
    return events


def chunks(audio: bytes) -> Iterator[bytes]:
    size = int(2 * RATE * CHUNK_SECONDS)
    return (audio[start : start + size] for start in range(0, len(audio), size))


def finals(events: list[SpeechEvent]) -> Iterator[str]:
    return (event.text for event in events if isinstance(event, Final))
