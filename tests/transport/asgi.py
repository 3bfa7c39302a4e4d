"""An ASGI server's side of one WebSocket, without a network: what it hands over, and what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


class FakeServer:
    """Hands over messages as they are put, and keeps what is sent.

    Attributes:
        sent: all it was given to send.
        room: while it is cleared, the client reads nothing.
        gone: sending fails as ASGI has it for a client that is gone.
    """

    def __init__(self, path: str = "/transcribe/s-1", *, denies: bool = True, **headers: str) -> None:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "root_path": "",
            "headers": [(b"host", b"here:1"), *named],
            "extensions": {"websocket.http.response": {}} if denies else {},
        }
        self.sent: list[Message] = []
        self.room = asyncio.Event()
        self.room.set()
        self.gone = False
        self._news = asyncio.Condition()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> Message:
        return await self._inbox.get()

    async def send(self, message: Message) -> None:
        await self.room.wait()
        if self.gone:
            raise OSError("gone")
        async with self._news:
            self.sent.append(message)
            self._news.notify_all()

    # ---- the client

    def says(self, message: str | bytes) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self._inbox.put_nowait({"type": "websocket.receive", kind: message})

    def leaves(self, code: int) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def told(self, kind: str) -> Message:
        """Wait for a message of this type to be sent."""
        async with self._news:
            await self._news.wait_for(lambda: any(message["type"] == kind for message in self.sent))
        return next(message for message in self.sent if message["type"] == kind)

    @property
    def waiting(self) -> int:
        """Messages of the client that nobody has asked for."""
        return self._inbox.qsize()

    @property
    def events(self) -> list[Any]:
        return [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]

    async def event(self, name: str) -> Any:
        async with self._news:
            await self._news.wait_for(lambda: any(event["event"] == name for event in self.events))
        return next(event for event in self.events if event["event"] == name)
