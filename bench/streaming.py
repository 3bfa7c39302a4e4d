"""A server, and a client that streams one recording to it and remembers when each final came."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bench.speech import Speech
from transport.app import App, serving
from transport.client import Client, Final
from transport.settings import Admin, Journal, Server, Settings

CHUNK_SECONDS = 0.1


class Heard(msgspec.Struct, frozen=True):
    """A final. Seconds from the recording's start: its first word's begin, its end, and when it arrived.

    In real-time streaming, `arrived - end` is how long after the end of its last word it came.
    """

    text: str
    start: float
    end: float
    arrived: float


@asynccontextmanager
async def server() -> AsyncGenerator[App, None]:
    """A server with the embedded recogniser, in this process; its journal goes with it."""
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        journal = Journal(path=str(Path(folder, "journal.db")))
        settings = Settings(server=Server(port=0), admin=Admin(port=0), journal=journal)
        async with serving(settings) as app:
            yield app


async def stream(url: str, speech: Speech, *, realtime: bool, trailing_silence: float = 0.0) -> list[Heard]:
    """Stream a recording; the finals that came back.

    Raises:
        transport.client.SessionFailed: the server refused or ended the session.
    """
    rate = speech.sample_rate
    pcm = speech.pcm + bytes(2 * int(trailing_silence * rate))
    size = 2 * int(CHUNK_SECONDS * rate)
    chunks = (pcm[start : start + size] for start in range(0, len(pcm), size))
    heard: list[Heard] = []
    async with Client(url).session(sample_rate=rate, live=realtime) as session:
        began = time.perf_counter()
        async for event in session.converse(chunks, pace=CHUNK_SECONDS if realtime else None):
            if isinstance(event, Final) and event.text:
                first = event.words[0].start_ms / 1000
                heard.append(Heard(event.text, first, event.end / rate, time.perf_counter() - began))
    return heard


async def transcript_of(url: str, speech: Speech, *, realtime: bool) -> str:
    """All words of a recording, as the server gave them."""
    return " ".join(final.text for final in await stream(url, speech, realtime=realtime))
