"""A browser whose microphone plays a file, and a server whose words can be counted."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.proxy import Proxy
from bench.riva import CodedSpeech, Plan, ScriptedRiva
from tests.transport.browser import page
from transport.app import App, serving
from transport.riva.channel import Endpoint
from transport.settings import Settings

if TYPE_CHECKING:
    from playwright.async_api import Page

LEAD_SECONDS = 2.0
QUIET = ("--disable-quic", "--disable-background-networking")
ALLOWED = "--use-fake-ui-for-media-stream"  # whoever asks for the microphone gets it
# What browsers do to speech would make no words of coded ones.
PLAIN = {"echoCancellation": False, "noiseSuppression": False, "autoGainControl": False}

BEGIN = """async (options) => {
    const { VoxtreeSession } = await import("/client.js");
    const seen = (window.seen = { finals: [], gaps: [], states: [], errors: [], ready: [] });
    const session = (window.session = new VoxtreeSession({ url: "/transcribe", ...options }));
    session.on("final", ({ text }) => text && seen.finals.push(text));
    session.on("gap", (gap) => seen.gaps.push(gap));
    session.on("state", (state) => seen.states.push(state));
    session.on("error", ({ code }) => seen.errors.push(code));
    session.on("ready", (ready) => seen.ready.push(ready));
    await session.start();
}"""


def coded(words: int) -> CodedSpeech:
    return CodedSpeech(words=words, rate=48_000, pause=0.4)


def microphone(folder: Path, speech: CodedSpeech) -> tuple[str, ...]:
    """Arguments for a browser whose microphone plays this once, and is silent then."""
    return plays(after_a_moment(folder, speech.read(0, speech.samples), speech.rate))


def after_a_moment(folder: Path, pcm: bytes, rate: int) -> Path:
    """A file with silence before it: a microphone that has just been opened has missed the first of what is said."""
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(bytes(2 * int(LEAD_SECONDS * rate)) + pcm)
    return path


def plays(path: Path) -> tuple[str, ...]:
    return (*QUIET, ALLOWED, "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={path}%noloop")


@asynccontextmanager
async def house(plan: Plan | None = None, **settings: Any) -> AsyncGenerator[tuple[App, Proxy], None]:
    """A server before a scripted Riva, and a proxy before the server."""
    async with ScriptedRiva(plan) as riva:
        backend = Endpoint(name="riva-a", address=riva.address, max_streams=50, catch_up=50.0)
        async with serving(Settings(backends=(backend,), **settings), private=True) as app:
            proxy = Proxy(target=int(app.url.rpartition(":")[2].partition("/")[0]))
            await proxy.open()
            try:
                yield app, proxy
            finally:
                await proxy.close()


def browser(proxy: Proxy, *args: str, **context: Any) -> Any:
    """The page, through the proxy. A connection that is cut is an error to the browser."""
    return page(f"http://127.0.0.1:{proxy.port}/", args=args or QUIET, expects_errors=True, **context)


async def begin(page: Page, **options: object) -> None:
    """Start a session of the microphone on the page's own module."""
    await page.evaluate(BEGIN, {"constraints": PLAIN, **options})


async def until(page: Page, condition: str, seconds: float = 60.0) -> None:
    """Wait until a JavaScript condition holds. Playwright's own way needs `eval`, which the page forbids."""
    look = f"const look = () => ({condition}) ? resolve() : setTimeout(look, 20)"
    async with asyncio.timeout(seconds):
        await page.evaluate(f"new Promise((resolve) => {{ {look}; look(); }})")


async def seen(page: Page) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = await page.evaluate("window.seen")
    return answer


async def words(page: Page) -> list[str]:
    return " ".join((await seen(page))["finals"]).split()


def all_of(speech: CodedSpeech) -> list[str]:
    return [speech.word(number).text for number in range(speech.words)]
