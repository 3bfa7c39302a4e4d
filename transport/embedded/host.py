"""The embedded recogniser's process as a child of a supervisor."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import tempfile
import weakref
from pathlib import Path
from subprocess import PIPE

import anyio
import msgspec
from anyio.abc import Process, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from actors.speech.errors import ConnectionFailed
from transport.embedded.capacity import streams_for

logger = logging.getLogger(__name__)

STOP_GRACE = 3.0  # seconds between SIGTERM and SIGKILL; the server gives its streams one of them
MAX_LINE = 65_536  # bytes

_LEVELS = logging.getLevelNamesMapping()


class Ready(msgspec.Struct, frozen=True):
    """What the process says when it serves."""

    listening: str
    max_streams: int
    model: str


class EmbeddedRecogniser:
    """Runs `python -m transport.embedded` and notices its end. Its address stays the same over restarts.

    The process ends with this one, even if this one is killed.

    Args:
        max_streams, threads, model_dir: see `python -m transport.embedded --help`; None: its default.
        ready_timeout: seconds it may take to load its models.

    Attributes:
        address: where it listens: a socket in a folder that only this user can enter.
        max_streams: calls it serves at once.
        pid: of the running process; None while there is none.
        ready: what it said when it was ready; None before.
    """

    def __init__(
        self,
        *,
        max_streams: int | None = None,
        model_dir: Path | None = None,
        threads: int | None = None,
        ready_timeout: float = 60.0,
    ) -> None:
        self.max_streams = streams_for(max_streams, threads)
        self._options = {"--max-streams": self.max_streams, "--threads": threads, "--model-dir": model_dir}
        self._ready_timeout = ready_timeout
        folder = tempfile.mkdtemp(prefix="voxtree-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.address = f"unix:{folder}/riva.sock"
        self.pid: int | None = None
        self.ready: Ready | None = None
        self._last_line = ""

    async def run(self, *, task_status: TaskStatus[str]) -> None:
        """Start the process, report its address as started, and stay until it ends. Cancel to stop it.

        Raises:
            ConnectionFailed: it ended by itself, or was not ready in time. It never ends in any other way.
        """
        # In a session of its own: Ctrl-C at a terminal is for us, who let the streams end before the process does.
        process = await anyio.open_process(
            self._command(), stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self.pid, self.ready, self._last_line = process.pid, None, ""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._log, BufferedByteReceiveStream(process.stderr))
                with anyio.move_on_after(self._ready_timeout) as loading:
                    self.ready = await _read_ready(BufferedByteReceiveStream(process.stdout))
                if loading.cancelled_caught:
                    await _stop(process)
                if self.ready is not None:
                    text, extra = "embedded recogniser %s ready, pid %d", {"event": "embedded.ready"}
                    logger.info(text, self.ready.model, process.pid, extra=extra)
                    task_status.started(self.address)
                await process.wait()
        finally:
            self.pid = None
            await _stop(process)
        raise ConnectionFailed(
            self._obituary(process.returncode or 0, timed_out=loading.cancelled_caught),
            endpoint="embedded",
            backend_detail=self._last_line or None,
        )

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "transport.embedded", "--exit-with-parent", "--listen", self.address]
        for option, value in self._options.items():
            if value is not None:
                command += [option, str(value)]
        return command

    async def _log(self, stderr: BufferedByteReceiveStream) -> None:
        """Pass the process's log on, and keep its last line: it says why it ended."""
        while (line := await _read_line(stderr)) is not None:
            level, _, message = line.partition(" ")
            text = message if level in _LEVELS else line
            logger.log(_LEVELS.get(level, logging.WARNING), "%s", text, extra={"event": "embedded.said"})
            self._last_line = line

    def _obituary(self, status: int, *, timed_out: bool) -> str:
        if timed_out:
            return f"the embedded recogniser was not ready within {self._ready_timeout:g} s"
        when = "" if self.ready else " before it was ready"
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return f"the embedded recogniser ended{when}: {how}"


async def _read_ready(stdout: BufferedByteReceiveStream) -> Ready | None:
    """The ready line; None when the process ended without one."""
    line = await _read_line(stdout)
    return None if line is None else msgspec.json.decode(line, type=Ready)


async def _read_line(stream: BufferedByteReceiveStream) -> str | None:
    """The next line; None at the end. A line of more than `MAX_LINE` comes in pieces."""
    try:
        line = await stream.receive_until(b"\n", MAX_LINE)
    except anyio.IncompleteRead:
        return None
    except anyio.DelimiterNotFound:
        line = await stream.receive()
    return line.decode(errors="replace")


async def _stop(process: Process) -> None:
    """End the process, politely first, and close its pipes. Takes `STOP_GRACE` at most."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with anyio.move_on_after(STOP_GRACE):
                await process.wait()
        if process.returncode is None:
            process.kill()
        await process.aclose()
