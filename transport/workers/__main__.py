"""A worker's process: `python -m transport.workers`, told by its parent what to do, and of no use to anybody else."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import socket
import sys

import anyio
from prometheus_client import disable_created_metrics
from prometheus_client.openmetrics.exposition import generate_latest

from transport import loops
from transport.app import App, Place, serving
from transport.expected import ExpectedError
from transport.limits import Key
from transport.logs import configure
from transport.processes import end_process, report_to, spare_collector
from transport.reload import reload
from transport.settings import Settings
from transport.wire.client_secrets import ClientSecrets
from transport.workers.pulse import BEAT_SECONDS
from transport.workers.reports import Reports
from transport.workers.turns import SharedTurns
from transport.workers.wire import (
    LENGTH,
    ORDERS,
    Assignment,
    Beat,
    CannotStart,
    Elsewhere,
    Frames,
    Order,
    Parting,
    Ready,
    Reload,
    Word,
    frame,
)

MOST_UNREAD = 1024 * 1024  # bytes that a parent may leave unread; what is said then is lost, and signs of life are more
LAST_WORD_SECONDS = 2.0

logger = logging.getLogger("voxtree.workers")


class _Written(asyncio.Protocol):
    """Knows whether all that was written has been taken."""

    def __init__(self) -> None:
        self.all = asyncio.Event()
        self.all.set()

    def pause_writing(self) -> None:
        self.all.clear()

    def resume_writing(self) -> None:
        self.all.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.set()


class Parent:
    """The parent, by the pipes to it."""

    def __init__(self, reader: asyncio.StreamReader, pipe: asyncio.WriteTransport, written: _Written) -> None:
        self._frames: Frames[Order] = Frames(reader.readexactly, ORDERS)
        self._pipe = pipe
        self._written = written
        pipe.set_write_buffer_limits(0)

    async def next(self) -> Order | None:
        """What it wants next; None: it is gone."""
        return await self._frames.next()

    def say(self, word: Word) -> None:
        """Tell it, if it is still there; never waits."""
        if not self._pipe.is_closing() and self._pipe.get_write_buffer_size() < MOST_UNREAD:
            self._pipe.write(frame(word))

    async def heard(self) -> None:
        """Wait until it has read what it was told, for a moment."""
        with anyio.move_on_after(LAST_WORD_SECONDS):
            await self._written.all.wait()


def main() -> int:
    """Serve as the parent says, until it says no more or a signal comes."""
    assignment = _first_order()
    if assignment is None:
        return 2
    configure(assignment.settings.log, worker=assignment.number)
    return loops.run(_live(assignment), assignment.settings.server.loop)


def _first_order() -> Assignment | None:
    """What it is to do; read before there is an event loop, since it says which. None: nobody is there to say so."""
    with open(0, "rb", buffering=0, closefd=False) as source:
        head = _exactly(source, LENGTH.size)
        body = _exactly(source, LENGTH.unpack(head)[0]) if head else b""
    order = ORDERS.decode(body) if body else None
    return order if isinstance(order, Assignment) else None


def _exactly(source: io.FileIO, count: int) -> bytes:
    found = b""
    while len(found) < count and (part := source.read(count - len(found))):
        found += part
    return found if len(found) == count else b""


async def _live(assignment: Assignment) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    parent = Parent(reader, *await loop.connect_write_pipe(_Written, sys.stdout))
    try:
        await _serve(assignment, parent)
    except ExpectedError as error:
        parent.say(CannotStart(str(error)))
        await parent.heard()
        return 2
    return 0


async def _serve(assignment: Assignment, parent: Parent) -> None:
    loop = asyncio.get_running_loop()
    place = Place(
        ClientSecrets(assignment.secrets),
        {port: [socket.socket(fileno=each) for each in given] for port, given in assignment.sockets.items()},
        SharedTurns(assignment.turns, assignment.slot),
    )
    settings = assignment.settings
    body = anyio.CancelScope()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, body.cancel)
    with body:
        async with (
            serving(settings, place=place, observer=Reports(parent.say), on_leak=end_process) as app,
            anyio.create_task_group() as tasks,
        ):
            loop.set_exception_handler(report_to(app.errors))
            spare_collector()
            tasks.start_soon(_beat, app, parent)
            tasks.start_soon(_obey, app, settings, parent, body)
            parent.say(Ready())
            try:
                await app.tree.wait()
            finally:
                tasks.cancel_scope.cancel()
    parent.say(Parting(generate_latest(app.registry)))  # type: ignore[no-untyped-call]
    await parent.heard()


async def _beat(app: App, parent: Parent) -> None:
    while True:
        due = anyio.current_time() + BEAT_SECONDS
        await anyio.sleep_until(due)
        usage = tuple((key.kind, key.name, count) for key, count in app.gate.accounts.usage().items())
        parent.say(Beat(len(app.sessions), anyio.current_time() - due, usage))


async def _obey(app: App, settings: Settings, parent: Parent, body: anyio.CancelScope) -> None:
    """Carry out orders until the parent is gone; then there is nobody to serve for."""
    while (order := await parent.next()) is not None:
        match order:
            case Reload(wanted):
                settings = await reload(app, settings, lambda: wanted)
            case Elsewhere(sessions):
                app.gate.accounts.others = {Key(kind, name): count for kind, name, count in sessions}
            case Assignment():
                raise ValueError("a second assignment")
    logger.error("the parent is gone: worker stops", extra={"event": "worker.orphaned"})
    body.cancel()


if __name__ == "__main__":
    disable_created_metrics()  # type: ignore[no-untyped-call]
    sys.exit(main())
