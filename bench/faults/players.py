"""Who plays: scripted Rivas and voxtree, each a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec

from bench.processes import Process

CONSOLE = "console"  # what voxtree prints of the admin port
LAST_OF_WELCOME = "try this"  # what voxtree prints when it serves; the line ends with its URL
COMMAND_LINE = "transport.cli.main"
BY_HAND = "bench.faults.serve"  # what runs voxtree if it has to be told to fail


class LogLine(msgspec.Struct, frozen=True):
    """A line of voxtree's log. `at`: when it was read, by `time.monotonic`; `ts`: when it was written."""

    at: float
    ts: str
    level: str
    msg: str
    path: str = ""
    code: str = ""


class Voxtree:
    """`voxtree serve` in a process of its own.

    Attributes:
        url: where clients connect; `console`: … and operators.
        log: what it has logged.

    Args:
        keep_log: a file that each line of its log is added to as well.
    """

    def __init__(
        self,
        *arguments: str,
        module: str,
        environment: Mapping[str, str],
        inside: Sequence[str] = (),
        keep_log: Path | None = None,
    ) -> None:
        self.log: list[LogLine] = []
        self._keep_log = keep_log
        self.process = Process("-m", module, *arguments, on_log=self._note, environment=environment, inside=inside)
        self.url = self.console = ""

    async def __aenter__(self) -> Self:
        await self.process.__aenter__()
        line = ""
        while not line.startswith(LAST_OF_WELCOME):
            line = await self.process.line()
            if line.startswith(CONSOLE):
                self.console = line.split()[1]
        self.url = line.split()[-1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.__aexit__()

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal, and wait for its end: the exit status, negative if a signal ended it."""
        self.process.signal(number)
        return await self.process.ended()

    async def start(self) -> None:
        """Start it again after its end, at the same port if the settings name one."""
        await self.process.__aexit__()
        await self.__aenter__()

    @property
    def port(self) -> int:
        """Where clients connect."""
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def clock_error(self) -> timedelta:
        """How far the last time in its log lay from ours when it was read."""
        line = next(line for line in reversed(self.log) if line.ts)
        read = datetime.now(UTC) - timedelta(seconds=time.monotonic() - line.at)
        return abs(datetime.fromisoformat(line.ts) - read)

    def codes(self) -> set[str]:
        """The catalogue's codes in its log."""
        return {line.code for line in self.log if line.code}

    def _note(self, at: float, text: str) -> None:
        if self._keep_log is not None:
            with self._keep_log.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        try:
            fields = json.loads(text)
        except ValueError:
            fields = {"ts": "", "level": "error", "msg": text}
        self.log.append(msgspec.convert({**fields, "at": at}, LogLine, strict=False))


def pair(primary: int, fallback: int) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Backends at two ports."""
    return backend("primary", primary), backend("fallback", fallback)


def backend(tier: str, port: int, **settings: object) -> Mapping[str, object]:
    """A backend, called as its tier."""
    return {"name": tier, "tier": tier, "address": f"127.0.0.1:{port}", **settings}


def toml(backends: Sequence[Mapping[str, object]], settings: Mapping[str, object], streams: int) -> str:
    """voxtree's settings as a file; backends take so many `streams` if they do not say."""
    tables = {
        "server.port": 0,
        "admin.port": 0,
        "server.shutdown_timeout": 1,
        "embedded.enabled": False,
        "log.format": "json",
    }
    lines = [f"{path} = {_toml(value)}" for path, value in {**tables, **settings}.items()]
    for one in backends:
        lines += ["[[backends]]", *(f"{name} = {json.dumps(value)}" for name, value in one.items())]
        lines += [f"max_streams = {streams}"] if "max_streams" not in one else []
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + "}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(value)


def free_port() -> int:
    """A port that nobody listens on, for a server that is started at it again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
