"""The handler of `bench.naive` in FastAPI, served by uvicorn: `python -m bench.peers.fastapi_relay RIVA …`."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench.naive import Handler


def application(addresses: Sequence[str]) -> FastAPI:
    """It transcribes at `/transcribe`, whatever follows. To be made where an event loop runs."""
    handler = Handler(addresses)
    app = FastAPI()

    @app.websocket("/transcribe")
    @app.websocket("/transcribe/{session}")
    async def transcribe(client: WebSocket) -> None:
        await client.accept()
        with suppress(WebSocketDisconnect, RuntimeError):  # the latter when sending to a client who has gone
            await handler.serve(_messages(client), client.send_text)
            await client.close()

    return app


async def _messages(client: WebSocket) -> AsyncIterator[str | bytes]:
    while (message := await client.receive())["type"] == "websocket.receive":
        text = message.get("text")
        yield message["bytes"] if text is None else text


async def main(addresses: Sequence[str]) -> None:
    """Serve for ever."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(application(addresses), log_level="warning", ws_per_message_deflate=False)
    print(f"listening on ws://127.0.0.1:{listener.getsockname()[1]}/transcribe", flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(main(sys.argv[1:]))
