"""`voxtree transcribe`: a WAV file's words, by a server that runs already or by one started for the purpose."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import msgspec

from transport.audio.wav_file import WavFile, read_wav
from transport.cli.display import Display, bar
from transport.cli.servers import add_server_arguments, server
from transport.cli.subtitles import srt
from transport.client import Final, Interim, SpeechEvent, Transcript, transcribe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a WAV file: PCM16, mu-law or A-law, 8 to 48 kHz, mono or stereo")
    parser.add_argument("--language", default="en-US", help="language of the speech (default en-US)")
    parser.add_argument("--realtime", action="store_true", help="send the audio at the pace it was spoken")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON document with text, segments, word times")
    output.add_argument("--srt", action="store_true", help="print SubRip subtitles")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    wav = read_wav(args.file)
    if wav.warning:
        print(f"voxtree: warning: {wav.warning}", file=sys.stderr)
    # The server's own log would only disturb: what matters of it reaches the client as status and error events.
    logging.disable(logging.CRITICAL)
    transcript = asyncio.run(_transcribe(args, wav))
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(transcript), indent=2).decode())
    elif args.srt:
        print(srt(transcript.segments), end="")
    return 0


async def _transcribe(args: argparse.Namespace, wav: WavFile) -> Transcript:
    display = _Display(wav, prints_finals=not (args.json or args.srt))
    try:
        async with server(args, display) as client:
            return await transcribe(client, wav, language=args.language, realtime=args.realtime, listener=display.show)
    finally:
        display.clear()


class _Display(Display):
    """With how far it has come."""

    def __init__(self, wav: WavFile, *, prints_finals: bool) -> None:
        super().__init__(wav.format.sample_rate, prints_finals=prints_finals)
        self._samples = max(1, wav.frames)
        self._reached = 0

    def show(self, event: SpeechEvent) -> None:
        if isinstance(event, Interim | Final):
            self._reached = event.end
        super().show(event)

    def ahead(self) -> str:
        part = min(1.0, self._reached / self._samples)
        return f"{bar(part)} {100 * part:3.0f} %  "
