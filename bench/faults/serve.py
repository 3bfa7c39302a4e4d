"""`voxtree serve` with a hand in it: `python -m bench.faults.serve` takes its arguments, and orders on standard input.

block SECONDS   the event loop stands still for so long
tasks           prints how many asyncio tasks there are

When there is no more input it ends. Session actors fail on purpose: those of sessions called storm-… after every
message, those of sessions called commit-… after every message that settled words.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import suppress

import transport.app
from actors.base import handler
from actors.speech.messages import SessionMessage
from actors.speech.session import SessionActor
from transport.cli import serve
from transport.cli.common import loaded_settings
from transport.logs import configure


class FrailSessionActor(SessionActor):
    """A session actor that fails by the name of its session."""

    @handler
    def receive(self, message: SessionMessage) -> int:
        """See `SessionActor.receive`."""
        before = self._record.timeline.seq
        settled = super().receive(message)
        name = self._record.session_id.partition("-")[0]
        if name == "storm" or (name == "commit" and self._record.timeline.seq > before):
            raise RuntimeError("a failpoint")
        return settled


async def obey(orders: asyncio.StreamReader) -> None:
    """Carry out orders until there are no more."""
    async for line in orders:
        match line.decode().split():
            case ["block", seconds]:
                time.sleep(float(seconds))  # noqa: ASYNC251  (that is what it is for)
            case ["tasks"]:
                print(len(asyncio.all_tasks()), flush=True)


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
