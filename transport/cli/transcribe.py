"""`voxtree transcribe`: a WAV file's words, by a server that runs already or by one started for the purpose."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from transport.app import serving
from transport.audio.wav_file import WavFile, read_wav
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.cli.subtitles import srt
from transport.client import open_session

CHUNK_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a WAV file: PCM16, mu-law or A-law, 8 to 48 kHz, mono or stereo")
    parser.add_argument("--url", help="a server that runs, ws://HOST:PORT/transcribe (default: one of its own)")
    parser.add_argument("--language", default="en-US", help="language of the speech (default en-US)")
    parser.add_argument("--realtime", action="store_true", help="send the audio at the pace it was spoken")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON document with text, segments, word times")
    output.add_argument("--srt", action="store_true", help="print SubRip subtitles")
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> int:
    wav = read_wav(args.file)
    if wav.warning:
        print(f"voxtree: warning: {wav.warning}", file=sys.stderr)
    # The server's own log would only disturb: what matters of it reaches the client as status and error events.
    logging.disable(logging.CRITICAL)
    finals = asyncio.run(_transcribe(args, wav))
    if args.json:
        print(_document(finals, wav, args.language))
    elif args.srt:
        print(srt(finals), end="")
    return 0


async def _transcribe(args: argparse.Namespace, wav: WavFile) -> list[dict[str, Any]]:
    display = _Display(wav, prints_finals=not (args.json or args.srt))
    finals = []
    pace = CHUNK_SECONDS if args.realtime else None
    async with (
        _server(args, display) as url,
        open_session(url, language=args.language, **_format(wav)) as session,
    ):
        async for event in session.converse(wav.chunks(CHUNK_SECONDS), pace=pace):
            display.show(event)
            if event["event"] == "transcript" and event["is_final"] and event["text"]:
                finals.append(event)
        display.clear()
    return finals


@asynccontextmanager
async def _server(args: argparse.Namespace, display: _Display) -> AsyncGenerator[str, None]:
    if args.url:
        yield args.url
        return
    settings = loaded_settings(args).settings
    display.say("starting a recogniser …")
    async with serving(settings, port=0) as app:
        yield app.url


def _format(wav: WavFile) -> dict[str, Any]:
    audio = wav.format
    return {"encoding": audio.encoding.value, "sample_rate": audio.sample_rate, "channels": audio.channels}


def _document(finals: list[dict[str, Any]], wav: WavFile, language: str) -> str:
    rate = wav.format.sample_rate
    segments = [
        {
            "start": round(final["start"] / rate, 3),
            "end": round(final["end"] / rate, 3),
            "text": final["text"],
            "confidence": final.get("confidence"),
            "words": final.get("words", []),
        }
        for final in finals
    ]
    text = " ".join(final["text"] for final in finals)
    document = {"text": text, "language": language, "duration": round(wav.seconds, 3), "segments": segments}
    return json.dumps(document, indent=2, ensure_ascii=False)


class _Display:
    """Finals as lines on stdout; below them, on a terminal, how far it has come and what is being heard."""

    def __init__(self, wav: WavFile, *, prints_finals: bool) -> None:
        self._rate = wav.format.sample_rate
        self._samples = max(1, wav.frames)
        self._prints_finals = prints_finals
        self._terminal = sys.stderr.isatty()
        self._reached = 0

    def show(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "transcript", "is_final": True, "text": text, "end": end}:
                self._reached = end
                self.clear()
                if text and self._prints_finals:
                    print(text, flush=True)
                self.say("")
            case {"event": "transcript", "text": text, "end": end}:
                self._reached = end
                self.say(text)
            case {"event": "gap", "start": start, "end": end, "code": code}:
                lost = f"{(end - start) / self._rate:.1f} s from {start / self._rate:.1f} s on"
                self.note(f"warning: {lost} could not be transcribed [{code}]")
            case {"event": "status", "message": message}:
                self.note(message)
            case {"event": "error", "message": message, "code": code}:
                self.note(f"warning: {message}{_detail(event)} [{code}]")

    def say(self, text: str) -> None:
        """Replace the line below the finals; nothing where there is no terminal."""
        if self._terminal:
            percent = min(100, 100 * self._reached // self._samples)
            bar = "█" * (percent // 10) + "░" * (10 - percent // 10)
            line = f"{bar} {percent:3} %  {text}"
            width = shutil.get_terminal_size().columns - 1
            # the newest words are at the end: of a long interim, that is what fits
            shown = line if len(line) <= width else line[:18] + "…" + line[len(line) - width + 19 :]
            print(f"\r\x1b[2K{shown}", end="", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line that stays, on stderr."""
        self.clear()
        print(f"voxtree: {text}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line below the finals away."""
        if self._terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _detail(event: dict[str, Any]) -> str:
    return f" ({event['detail']})" if event.get("detail") else ""
