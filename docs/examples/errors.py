"""uvicorn errors:app, then a WebSocket to /listen/ID: voxtree's error handling in an application of your own."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from actors.speech.error_handler import ErrorContext, ErrorHandler, entry_of
from actors.speech.errors import ClientDisconnected, ConnectionFailed, InvalidAudioFormat

app = FastAPI()
handler = ErrorHandler()
pages: list[str] = []


async def page_somebody(error: BaseException, context: ErrorContext) -> None:
    pages.append(f"{context.error_code} in session {context.session_id}")


handler.register_callback(ConnectionFailed, page_somebody)


@app.websocket("/listen/{session_id}")
async def listen(socket: WebSocket, session_id: str) -> None:
    await socket.accept()
    context = ErrorContext(session_id=session_id)
    try:
        while True:
            await socket.send_text(recognise(await socket.receive_bytes()))
    except WebSocketDisconnect as gone:
        await handler.handle(ClientDisconnected(f"code {gone.code}"), context)
    except Exception as error:
        message, entry = await handler.handle(error, context), entry_of(error)
        await socket.send_json({"event": "error", "code": entry.code, "message": message})
        await socket.close(entry.close or 1011)


def recognise(audio: bytes) -> str:
    if len(audio) % 2:
        raise InvalidAudioFormat(f"{len(audio)} bytes are no PCM16")
    raise ConnectionFailed("refused", endpoint="riva-a")
