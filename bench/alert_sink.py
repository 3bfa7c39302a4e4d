"""Where alerts go in tests and measurements: an HTTP server on loopback that keeps what it is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

import msgspec


class Received(NamedTuple):
    """A POST. `at`: by `time.monotonic`; `headers`: names in small letters; `body`: the JSON."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: Any


class AlertSink:
    """Takes any POST while its context is entered.

    Args:
        status: what it answers.
        headers: of the answer.
        silent: it takes the request and never answers.

    Attributes:
        received: what came, in order.
    """

    def __init__(self, status: int = 202, headers: Mapping[str, str] | None = None, *, silent: bool = False) -> None:
        self.status = status
        self.headers = headers or {}
        self.silent = silent
        self.received: list[Received] = []
        self._came = asyncio.Event()
        self._over = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._over.set()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def until(self, enough: Callable[[list[Any]], object], seconds: float = 30.0) -> list[Any]:
        """Wait until the bodies are enough; the bodies.

        Raises:
            TimeoutError: they were not in time; the message shows them.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not enough(self.bodies):
                    self._came.clear()
                    await self._came.wait()
        if not enough(self.bodies):
            raise TimeoutError(f"after {seconds} s only these had come: {self.bodies}")
        return self.bodies

    @property
    def bodies(self) -> list[Any]:
        return [each.body for each in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        decoded = msgspec.json.decode(body) if body else None
        self.received.append(Received(time.monotonic(), head[0].split()[1], headers, decoded))
        self._came.set()
        if self.silent:
            await self._over.wait()
            return
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        writer.write(f"HTTP/1.1 {self.status} X\r\n{extra}Content-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        await writer.drain()
