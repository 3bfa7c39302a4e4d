"""A worker's process, seen from its parent: begun, listened to, watched, and in any case ended."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from enum import Enum
from itertools import chain
from subprocess import PIPE

import anyio
from anyio.abc import Process, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from actors.speech.errors import SpeechError, WorkerLost
from transport.expected import ExpectedError
from transport.workers.pulse import BEAT_SECONDS, Pulse
from transport.workers.wire import WORDS, Assignment, Beat, CannotStart, Frames, Order, Ready, Said, Usage, frame

START_SECONDS = 60.0  # until it serves: Python has much to import, and a machine that starts has much to do
STOP_SECONDS = 5.0  # besides what its sessions get, to stop in order

logger = logging.getLogger("voxtree.workers")


class WorkerCannotStart(ExpectedError):
    """It says that it cannot, and why."""


class Stage(Enum):
    """How far a process has come."""

    STARTING = "starting"
    SERVING = "serving"
    RETIRING = "retiring"  # its clients are sent elsewhere
    GONE = "gone"


class WorkerProcess:
    """One process of a worker, from its start to its end.

    Args:
        assignment: what it is to do.
        life: its number among the processes of its worker.
        admin: the path of the socket by which one looks into it.
        patience: seconds that it may take to stop, once it is told.
        on_word: told what it says.

    Attributes:
        stage, pid: how far it has come; the process.
        heard_at: when it last gave a sign of life, by `time.monotonic`.
        sessions, lag, usage: of its last sign of life; see `Beat`.
        ended: set when it is gone.
        error: how it ended, if nobody wanted it to; None: it is not known yet, or was wanted.
    """

    def __init__(
        self,
        assignment: Assignment,
        life: int,
        admin: str,
        patience: float,
        on_word: Callable[[WorkerProcess, Said], None],
    ) -> None:
        self.number = assignment.number
        self.life = life
        self.admin = admin
        self.stage = Stage.STARTING
        self.pid = 0
        self.since = time.time()
        self.heard_at = time.monotonic()
        self.sessions = 0
        self.lag = 0.0
        self.usage: Usage = ()
        self.ended = anyio.Event()
        self.error: SpeechError | ExpectedError | None = None
        self.wedged = False
        self._assignment = assignment
        self._patience = patience + STOP_SECONDS
        self._on_word = on_word
        self._pulse = Pulse()
        self._serves = False
        self._begun = anyio.Event()  # it serves, or never will
        self._silent = anyio.Event()  # it has said its last
        self._retired = anyio.Event()
        self._process: Process

    async def live(self, *, task_status: TaskStatus[WorkerProcess]) -> None:
        """Its whole life, which ends with the process; cancelled, it ends the process.

        It has started when the process serves. Later it raises nothing: see `error`.

        Raises:
            WorkerCannotStart: as the process says itself. WorkerLost: it ended without a word, or takes too long.
        """
        # In a session of its own: Ctrl-C at a terminal is for the parent, who tells each what to do.
        command = [sys.executable, "-m", "transport.workers"]
        inherited = [self._assignment.turns, *chain.from_iterable(self._assignment.sockets.values())]
        self._process = await anyio.open_process(
            command, stdin=PIPE, stdout=PIPE, stderr=None, start_new_session=True, pass_fds=inherited
        )
        self.pid = self._process.pid
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen)
                await self._send(self._assignment)
                with anyio.move_on_after(START_SECONDS):
                    await self._begun.wait()
                if self._serves:
                    self.stage = Stage.SERVING
                    logger.info("worker %d serves, pid %d", self.number, self.pid, extra={"event": "worker.ready"})
                    tasks.start_soon(self._watch)
                    tasks.start_soon(self._end_when_retired)
                    task_status.started(self)
                    await self._silent.wait()
                    await self._process.wait()
                tasks.cancel_scope.cancel()
        finally:
            await self._end()
        if not self._serves:
            raise self.error or WorkerLost(self._obituary())

    def retire(self) -> None:
        """Have it send its clients elsewhere, and end."""
        if self.stage is Stage.SERVING:
            self.stage = Stage.RETIRING
            self._signal(signal.SIGTERM)
            self._retired.set()

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    async def order(self, order: Order) -> None:
        """Tell it something. One that cannot be told any more is about to be replaced."""
        await self._send(order)

    async def _send(self, order: Order) -> None:
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(frame(order))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.debug("worker %d cannot be told anything", self.number, extra={"event": "worker.deaf"})

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        frames = Frames(BufferedByteReceiveStream(self._process.stdout).receive_exactly, WORDS)
        while (word := await frames.next()) is not None:
            match word:
                case Ready():
                    self._serves = True
                    self._begun.set()
                case Beat(sessions, lag, usage):
                    self._pulse.beat()
                    self.heard_at, self.sessions, self.lag = time.monotonic(), sessions, lag
                    self.usage = usage
                case CannotStart(text):
                    self.error = WorkerCannotStart(text)
                case _:
                    self._on_word(self, word)
        self._silent.set()
        self._begun.set()

    async def _watch(self) -> None:
        """End it when it gives no sign of life any more: nothing else would, and clients wait at its doors."""
        while True:
            await anyio.sleep(BEAT_SECONDS)
            if self._pulse.look():
                self.wedged = True
                self.kill()

    async def _end_when_retired(self) -> None:
        await self._retired.wait()
        await anyio.sleep(self._patience)
        self.kill()

    async def _end(self) -> None:
        """Leave no process behind."""
        with anyio.CancelScope(shield=True):
            self.kill()
            await self._process.aclose()
        if self.stage is Stage.SERVING:
            self.error = WorkerLost(self._obituary())
        elif self.stage is Stage.RETIRING:
            logger.info("worker %d has ended, pid %d", self.number, self.pid, extra={"event": "worker.ended"})
        self.stage = Stage.GONE
        self.ended.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    def _obituary(self) -> str:
        status = self._process.returncode or 0
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        if self.wedged:
            how = "it gave no sign of life and was ended"
        return f"worker {self.number}, pid {self.pid}: {how}"
