"""Sessions over a real Riva server on loopback that leaves finals out, never ends, or dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech import silence
from actors.speech.link import Link
from actors.speech.messages import Done, SessionEvent, Status, Transcript
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig, Tier
from actors.speech.sessions import Sessions
from supervisor.tree import Supervisor
from tests.speech.fakes import in_memory
from tests.transport.riva_server import Requests, RivaServer, Script, final, interim
from transport.riva import RivaBackend

pytestmark = pytest.mark.anyio

SPEECH = b"\x00\x20\x00\xe0" * 800  # 100 ms


@asynccontextmanager
async def session_over(*backends: RivaBackend) -> AsyncGenerator[Link, None]:
    pool = BackendPool(backends)
    keeping, journal = in_memory()
    sessions = Sessions(lambda: tree.value("sessions"), pool, keeping, max_sessions=10, log_seconds=60.0)
    tree = Supervisor([journal, sessions.child()])
    async with tree:
        session = await sessions.open("s1", RecognitionConfig())
        with anyio.fail_after(20):
            yield session
        session.disconnected()


async def events_until(session: Link, kind: type[SessionEvent], **facts: Any) -> list[SessionEvent]:
    """What the client is told up to an event of a kind, with these attributes."""
    events: list[SessionEvent] = []
    while True:
        events.append(event := await session.next_event())
        if isinstance(event, kind) and all(getattr(event, name) == value for name, value in facts.items()):
            return events


def counting(*, forever: bool = False, finals: bool = True) -> Script:
    """Says with each chunk how many it has heard; with `forever`, it does not end after the last one."""

    async def script(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        chunks = 0
        async for request in requests:
            if request.audio_content:
                chunks += 1
                yield interim(f"{chunks} chunks", audio_processed=chunks / 10)
        if finals:
            yield final(f"{chunks} chunks", audio_processed=chunks / 10)
        if forever:
            await asyncio.Event().wait()

    return script


@pytest.mark.parametrize(("finals", "forever"), [(True, False), (False, False), (False, True), (True, True)])
async def test_the_last_words_come_whether_or_not_the_backend_ends_its_stream(finals: bool, forever: bool) -> None:
    async with RivaServer(counting(finals=finals, forever=forever)) as server:
        async with (
            RivaBackend(server.endpoint(finish_timeout=0.2)) as backend,
            session_over(backend) as session,
        ):
            for _ in range(5):
                await session.audio(SPEECH)
                await events_until(session, Transcript, is_final=False)
            await session.stop()
            events = await events_until(session, Done)
        said = [event for event in events if isinstance(event, Transcript) and event.is_final and event.text]
        assert [(final.text, final.provisional) for final in said] == [("5 chunks", not finals)]
        assert not any(isinstance(event, Status) for event in events)
        await server.idle.wait()


async def test_a_client_that_sends_nothing_has_silence_sent_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "FILL_AFTER", 0.1)
    async with (
        RivaServer(counting()) as server,
        RivaBackend(server.endpoint()) as backend,
        session_over(backend) as session,
    ):
        await session.audio(SPEECH)
        await events_until(session, Transcript, text="4 chunks")
        assert server.audio().startswith(SPEECH + bytes(3 * len(SPEECH)))
        assert session.record.log.end == 1600


async def test_a_fallback_takes_over_from_a_server_that_stops() -> None:
    async with (
        RivaServer(counting()) as primary,
        RivaServer(counting()) as fallback,
        RivaBackend(primary.endpoint(name="primary")) as first,
        RivaBackend(fallback.endpoint(name="fallback", tier=Tier.FALLBACK)) as second,
        session_over(first, second) as session,
    ):
        for _ in range(5):
            await session.audio(SPEECH)
        await events_until(session, Transcript, source=Tier.PRIMARY)
        await primary.grpc.stop(None)
        events = await events_until(session, Transcript, source=Tier.FALLBACK)
        assert [event.state for event in events if isinstance(event, Status)] == ["recovering", "degraded"]
        assert len(fallback.requests[1].audio_content) == 3 * len(SPEECH)  # of all that is not final, this first
        assert fallback.requests[1].audio_content == primary.audio()[: 3 * len(SPEECH)]
        await session.stop()
        await events_until(session, Done)
