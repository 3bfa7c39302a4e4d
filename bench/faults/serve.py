"""`voxtree serve` with a hand in it: `python -m bench.faults.serve` takes its arguments, and orders on standard input.

block SECONDS   the event loop stands still for so long
tasks           prints how many asyncio tasks there are
die             the next time that words are in the journal and have not been sent, the process kills itself

When there is no more input it ends. Session actors fail on purpose: those of sessions called storm-… after every
message, those of sessions called commit-… whenever words are in the journal and have not been sent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from typing import ClassVar

import transport.app
from actors.base import handler
from actors.speech.messages import Gap, SessionMessage, Transcript
from actors.speech.session import SessionActor
from actors.speech.session_commands import Command, Say
from transport.cli import serve
from transport.cli.common import loaded_settings
from transport.logs import configure


class FrailSessionActor(SessionActor):
    """A session actor that fails by the name of its session, and takes the process with it if it is told to."""

    dies = False  # having committed
    _crashed: ClassVar[set[tuple[str, int]]] = set()  # sessions, and the numbers of the words that each crashed with

    @handler
    def receive(self, message: SessionMessage) -> int:
        """See `SessionActor.receive`."""
        settled = super().receive(message)
        if self._record.session_id.startswith("storm-"):
            raise RuntimeError("a failpoint")
        return settled

    def _do(self, command: Command) -> None:
        match command:
            case Say(Transcript(is_final=True) | Gap() as committed):
                self._fail(committed.seq)
        super()._do(command)

    def _fail(self, seq: int) -> None:
        """Final number `seq` is in the journal, and not sent yet."""
        if FrailSessionActor.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        words = (self._record.session_id, seq)
        if words[0].startswith("commit-") and words not in self._crashed:
            self._crashed.add(words)
            raise RuntimeError("a failpoint")


async def obey(orders: asyncio.StreamReader) -> None:
    """Carry out orders until there are no more."""
    async for line in orders:
        match line.decode().split():
            case ["block", seconds]:
                time.sleep(float(seconds))  # noqa: ASYNC251  (that is what it is for)
            case ["tasks"]:
                print(len(asyncio.all_tasks()), flush=True)
            case ["die"]:
                FrailSessionActor.dies = True


async def _main(args: argparse.Namespace) -> None:
    settings = loaded_settings(args).settings
    configure(settings.log)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    serving = asyncio.create_task(serve.serve(settings, lambda: settings))
    await asyncio.wait({serving, asyncio.create_task(obey(orders))}, return_when=asyncio.FIRST_COMPLETED)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    vars(transport.app)[SessionActor.__name__] = FrailSessionActor  # which each new session takes
    asyncio.run(_main(parser.parse_args()))
