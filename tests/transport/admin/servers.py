"""A real server with its admin port, and who asks it."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench.riva import CodedSpeech, Plan, ScriptedRiva
from transport.app import App, serving
from transport.client import Client, Session
from transport.riva.channel import Endpoint
from transport.settings import Admin, Settings

PATIENCE = 30.0  # seconds; only a hang gets there


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, path: str, body: object = None) -> Answer:
    """Ask from a thread: GET, or POST of JSON."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"X-Voxtree-Action": "test"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    finally:
        connection.close()


async def asked(app: App, path: str, body: object = None) -> Answer:
    assert app.admin is not None
    return await asyncio.to_thread(ask, app.admin.url, path, body)


async def state(app: App) -> dict[str, Any]:
    answer: dict[str, Any] = (await asked(app, "/debug/state.json")).json["state"]
    return answer


async def until(app: App, fits: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first state that fits."""
    async with asyncio.timeout(PATIENCE):
        while not fits(seen := await state(app)):  # each of which is newer than the question
            pass
        return seen


def backend(name: str, riva: ScriptedRiva) -> Endpoint:
    return Endpoint(name=name, address=riva.address, max_streams=50)


@asynccontextmanager
async def server(*backends: Endpoint, actions: bool = False) -> AsyncGenerator[App, None]:
    async with serving(Settings(backends=backends, admin=Admin(actions=actions)), private=True) as app:
        yield app


@asynccontextmanager
async def riva_and_server(plan: Plan | None = None, *, actions: bool = False) -> AsyncGenerator[App, None]:
    async with ScriptedRiva(plan) as riva, server(backend("riva-a", riva), actions=actions) as app:
        yield app


@asynccontextmanager
async def speaker(app: App, name: str) -> AsyncGenerator[Session, None]:
    """A client that has said ten words, and may say more."""
    async with Client(f"{app.url}/{name}").session() as session:
        for chunk in CodedSpeech(words=10, tag=1).chunks():
            await session.send(chunk)
        yield session
