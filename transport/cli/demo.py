"""`voxtree demo`: speech, a recogniser that is killed in mid-sentence, and a transcript without a hole."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import signal
import textwrap
import time

from supervisor.reports import ChildFailed, ChildRestarting, ChildStarted, Event
from transport.app import App, serving
from transport.audio.wav_file import read_wav
from transport.cli.recording import RECORDING, SENTENCES
from transport.client import Client, Final, Interim, SpeechEvent, Status
from transport.settings import Embedded, Settings

FAILED = 1
CHUNK_SECONDS = 0.05
KILL_AFTER_WORDS = 3  # of the second sentence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Starts a server with the embedded recogniser, plays it a short recording in real time, kills the recogniser's "
        "process in the middle of a sentence, and shows that not a word is missing. Takes about 20 seconds."
    )


def run(args: argparse.Namespace) -> int:
    logging.disable(logging.CRITICAL)  # the demo tells in its own words what happens
    return _verdict(asyncio.run(_Demo().play()))


class _Demo:
    """Plays, kills, and tells. `_words` are the finals so far."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._finals: list[str] = []
        self._killed = False

    async def play(self) -> list[str]:
        """The finals, in order."""
        wav = read_wav(RECORDING)
        self._tell("starting the recogniser in a process of its own, and the server")
        settings = Settings(embedded=Embedded(enabled=True))
        async with serving(settings, private=True, listener=self._on_event) as app:
            self._tell(f"listening on {app.url}; playing {wav.seconds:.0f} s of speech in real time")
            async with Client(app.url).session(sample_rate=wav.format.sample_rate) as session:
                async for event in session.converse(wav.chunks(CHUNK_SECONDS), pace=CHUNK_SECONDS):
                    self._on_message(event, app)
            self._tell("everything was heard; stopping, the front door first")
        return self._finals

    def _on_message(self, event: SpeechEvent, app: App) -> None:
        match event:
            case Final(text=text) if text:
                self._finals.append(text)
                self._tell(f"final    {text}")
            case Interim(text=text):
                if self._finals and not self._killed and len(text.split()) >= KILL_AFTER_WORDS:
                    self._tell(f"interim  {text} …")
                    self._kill(app)
            case Status(state=state, message=message):
                self._tell(f"the client is told: {state}: {message}")

    def _kill(self, app: App) -> None:
        self._killed = True
        assert app.embedded is not None
        assert app.embedded.pid is not None
        self._tell(f"kill -9 {app.embedded.pid}: the recogniser dies in the middle of the sentence")
        os.kill(app.embedded.pid, signal.SIGKILL)

    def _on_event(self, event: Event) -> None:
        if not self._killed:
            return
        match event:
            case ChildFailed(path=(*_, "embedded")):
                self._tell("the supervisor sees the process end")
            case ChildRestarting(path=(*_, "embedded"), delay=delay):
                self._tell(f"the supervisor restarts it in {1000 * delay:.0f} ms")
            case ChildStarted(path=(*_, "embedded")):
                self._tell("the recogniser is back; the session replays what no final covers yet")

    def _tell(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:5.1f} s  {text}", flush=True)


def _verdict(finals: list[str]) -> int:
    said, heard = _words(" ".join(SENTENCES)), _words(" ".join(finals))
    print("\nThe complete transcript:\n")
    print(textwrap.fill(" ".join(finals), width=78, initial_indent="  ", subsequent_indent="  "))
    if said == heard:
        print(f"\nAll {len(said)} words are there, each once, although their recogniser was killed half-way.")
        return 0
    print("\nThis is not what was said:\n")
    print(textwrap.fill(" ".join(SENTENCES), width=78, initial_indent="  ", subsequent_indent="  "))
    return FAILED


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())
