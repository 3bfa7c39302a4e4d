"""`voxtree listen`: what is said into the microphone, as it is said."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import signal
from contextlib import suppress

import numpy as np

from transport.cli.display import Display, bar
from transport.cli.microphone import Microphone, inputs, load
from transport.cli.servers import add_server_arguments, server
from transport.client import Session

QUIETEST = -60.0  # dB below full scale, where the meter begins


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Prints what is said into the microphone. Ctrl-C stops recording and waits for the last words."
    parser.add_argument("--device", type=_device, help="number or part of the name (default: the system's)")
    parser.add_argument("--list", action="store_true", help="list the devices and exit")
    parser.add_argument("--language", default="en-US", help="language of the speech (default en-US)")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    sound = load()
    if args.list:
        print("\n".join(inputs(sound)) or "there are none")
        return 0
    # The server's own log would only disturb: what matters of it reaches the client as status and error events.
    logging.disable(logging.CRITICAL)

    async def listening() -> None:
        await _listen(args, Microphone(sound, args.device))

    asyncio.run(listening())
    return 0


async def _listen(args: argparse.Namespace, microphone: Microphone) -> None:
    display = _Display(microphone.sample_rate)
    stop = asyncio.Event()
    try:
        async with server(args, display) as client:
            session = client.session(language=args.language, sample_rate=microphone.sample_rate, live=True)
            async with session, microphone:
                _stop_on_interrupt(stop)
                display.note("listening; Ctrl-C stops")
                await _converse(session, microphone, display, stop)
    finally:
        display.clear()
    if microphone.dropped:
        display.note(f"warning: {microphone.dropped} blocks of audio were lost: this machine is too slow")


async def _converse(session: Session, microphone: Microphone, display: _Display, stop: asyncio.Event) -> None:
    speaking = asyncio.create_task(_speak(session, microphone, display, stop))
    try:
        async for event in session:
            display.show(event)
        await speaking
    finally:
        speaking.cancel()
        await asyncio.wait([speaking])


async def _speak(session: Session, microphone: Microphone, display: _Display, stop: asyncio.Event) -> None:
    try:
        async for block in microphone.blocks(stop):
            await session.send(block)
            display.hear(block)
    finally:
        session.stop()
        display.hear(b"")


def _stop_on_interrupt(stop: asyncio.Event) -> None:
    """The first Ctrl-C stops the recording, the second everything."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGINT, interrupted)


class _Display(Display):
    """With a meter of how loud it is."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate)
        self._loudness = 0.0

    def hear(self, block: bytes) -> None:
        self._loudness = loudness(block)
        self.refresh()

    def ahead(self) -> str:
        return f"{bar(self._loudness)}  "


def loudness(pcm: bytes) -> float:
    """How loud PCM16 is: 0 (60 dB below full scale, or less) to 1 (as loud as can be)."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    power = float(np.mean(samples**2)) / 2**30 if samples.size else 0.0
    return max(0.0, 1 - 10 * math.log10(power) / QUIETEST) if power > 0 else 0.0


def _device(text: str) -> int | str:
    return int(text) if text.isdigit() else text
