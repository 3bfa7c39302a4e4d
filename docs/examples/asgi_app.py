"""uvicorn asgi_app:app, then voxtree transcribe FILE.wav --url ws://127.0.0.1:8000/transcribe"""

from fastapi import FastAPI, Response, WebSocket
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from transport.asgi import Voxtree
from transport.settings import load

voxtree = Voxtree(load().settings)  # of the file that VOXTREE_CONFIG names, and VOXTREE__… variables
app = FastAPI(lifespan=voxtree.lifespan)


@app.websocket("/transcribe")
@app.websocket("/transcribe/{session_id}")
async def transcribe(websocket: WebSocket) -> None:
    await voxtree.websocket(websocket)  # which accepts it: whoever may not speak is refused before


@app.get("/ready")
async def ready(response: Response) -> dict[str, bool]:
    response.status_code = 200 if voxtree.ready else 503
    return {"ready": voxtree.ready}


@app.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(voxtree.app.registry), media_type=CONTENT_TYPE_LATEST)
