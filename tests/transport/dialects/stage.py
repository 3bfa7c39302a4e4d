"""A server before two Rivas, of which one can be killed, and speech whose words can be counted in any client's text."""

from __future__ import annotations

import wave
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from actors.speech.ports import Tier
from bench.riva import CodedSpeech, Ledger, RivaProcess, ScriptedRiva
from bench.riva.ledger import Score
from transport.app import App, serving
from transport.client import Client, Final
from transport.riva.channel import Endpoint
from transport.settings import Settings


class Stage:
    """The running server, and what it recognises with.

    Attributes:
        address: `HOST:PORT`, for WebSockets and HTTP.
        primary: the Riva that is used while it lives, in a process of its own.
    """

    def __init__(self, app: App, primary: RivaProcess) -> None:
        self.app = app
        self.primary = primary
        self.address = app.url.partition("//")[2].partition("/")[0]

    async def native(self, speech: CodedSpeech) -> str:
        """The words of some speech as voxtree's own client gets them."""
        text: list[str] = []
        async with Client(self.app.url).session(sample_rate=speech.rate) as session:
            for chunk in speech.chunks():
                await session.send(chunk)
            session.stop()
            async for event in session:
                if isinstance(event, Final):
                    text.append(event.text)
        return " ".join(" ".join(text).split())

    async def kill_when(self, is_due: Callable[[], bool]) -> None:
        """Kill the primary Riva in mid-stream: as soon as something is so, asked for every few milliseconds."""
        while not is_due():  # noqa: ASYNC110 (what is waited for is anything)
            await anyio.sleep(0.005)
        await self.primary.kill()


@asynccontextmanager
async def stage(**settings: Any) -> AsyncGenerator[Stage, None]:
    """A server with a primary Riva and a fallback. `settings`: further fields of `Settings`."""
    async with RivaProcess() as primary, ScriptedRiva() as fallback:
        backends = (
            Endpoint(name="riva-a", address=primary.address, max_streams=50, catch_up=50.0),
            Endpoint(name="riva-b", address=fallback.address, tier=Tier.FALLBACK, max_streams=50, catch_up=50.0),
        )
        async with serving(Settings(backends=backends, **settings), private=True) as app:
            yield Stage(app, primary)


def score(speech: CodedSpeech, text: str) -> Score:
    """What became of the speech's words in a client's text; `flawless` if each came once, and nothing else did."""
    ledger = Ledger(speech)
    ledger.final(text)
    return ledger.score()


def wav(folder: Path, speech: CodedSpeech) -> Path:
    """The speech as a file, PCM16 mono."""
    path = folder / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(speech.rate)
        file.writeframes(speech.read(0, speech.samples))
    return path
