"""Spans of what happens to sessions: by the real SDK, and as they arrive at a collector."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from actors.speech.ports import Tier
from actors.speech.reports import (
    Ending,
    Recovered,
    Said,
    SessionEnded,
    SessionLeft,
    SessionOpened,
    SessionResumed,
    StreamFailed,
)
from bench.riva import CodedSpeech, ScriptedRiva
from transport import tracing as module
from transport.app import serving
from transport.client import Client
from transport.riva.channel import Endpoint
from transport.settings import Settings
from transport.settings import Tracing as TracingSettings
from transport.tracing import Tracing, TracingMissing

pytestmark = pytest.mark.anyio

SECOND = 1_000_000_000


def spans(*reports: tuple[float, Any]) -> list[ReadableSpan]:
    now, exporter = [0], InMemorySpanExporter()
    tracing = Tracing(TracingSettings(), exporter=exporter, clock=lambda: now[0])
    for at, report in reports:
        now[0] = int(at * SECOND)
        tracing.session(report)
    tracing.close()
    return list(exporter.get_finished_spans())


def test_what_happens_to_a_session_is_a_span_of_its_own_and_linked_to_it() -> None:
    session, *others = spans(
        (1, SessionOpened(session="s1", epoch=7)),
        (2, Said(session="s1", is_final=False, latency=0.1, words=0, tier=Tier.PRIMARY)),
        (3, Said(session="s1", is_final=False, latency=0.1, words=0, tier=Tier.PRIMARY)),
        (4, StreamFailed(session="s1", code="RIVA_005", attempt=1)),
        (5, StreamFailed(session="s1", code="RIVA_001", attempt=2)),
        (6, Recovered(session="s1", seconds=2.0, source="a", target="b", code="RIVA_005")),
        (7, Said(session="s1", is_final=True, latency=0.4, words=5, tier=Tier.FALLBACK)),
        (8, SessionLeft(session="s1")),
        (9, SessionResumed(session="s1", epoch=8, away=1.0)),
        (10, SessionEnded(session="s1", ending=Ending.COMPLETED, code=None, age=9.0, audio=8.0)),
        (11, Said(session="s1", is_final=True, latency=None, words=5, tier=Tier.PRIMARY)),  # too late to belong to it
    )
    assert (session.name, session.start_time, session.end_time) == ("session", SECOND, SECOND)
    assert [(each.name, each.start_time / SECOND, each.end_time / SECOND) for each in others] == [  # type: ignore[operator]
        ("failover", 4, 6), ("utterance", 2, 7), ("resume", 8, 9), ("end", 10, 10),
    ]  # fmt: skip
    assert {each.links[0].context.span_id for each in others} == {session.context.span_id}
    assert dict(others[0].attributes or {}) == {
        "voxtree.source": "a", "voxtree.target": "b", "voxtree.code": "RIVA_005",
    }  # fmt: skip
    assert dict(others[1].attributes or {}) == {
        "voxtree.words": 5, "voxtree.tier": "fallback", "voxtree.latency": 0.4,
    }  # fmt: skip


def test_nobody_waits_for_a_collector_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    never, closed = threading.Event(), threading.Event()

    class Stuck(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            never.wait()
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            closed.set()

    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.01)
    tracing = Tracing(TracingSettings(), exporter=Stuck())
    tracing.session(SessionOpened(session="s1", epoch=1))
    tracing.close()
    assert not closed.is_set()
    never.set()
    assert closed.wait(10)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ImportError("no", name="opentelemetry")

    monkeypatch.setattr(module, "_provider", missing)
    with pytest.raises(TracingMissing, match="the extra `tracing` installs"):
        Tracing(TracingSettings())


async def test_a_server_sends_its_spans_to_a_collector() -> None:
    requests: list[ExportTraceServiceRequest] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        body = await reader.readexactly(length)
        if "content-encoding: gzip" not in head:
            requests.append(ExportTraceServiceRequest.FromString(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    speech = CodedSpeech(words=5)
    async with await asyncio.start_server(collect, "127.0.0.1", 0) as collector, ScriptedRiva() as riva:
        port = collector.sockets[0].getsockname()[1]
        wanted = TracingSettings(enabled=True, endpoint=f"http://127.0.0.1:{port}/v1/traces", service="gw-1")
        settings = Settings(backends=(Endpoint(name="riva", address=riva.address),), tracing=wanted)
        async with serving(settings, private=True) as app, Client(app.url).session(sample_rate=speech.rate) as session:
            async for _ in session.converse(speech.chunks()):
                pass
    sent = [each for request in requests for each in request.resource_spans]
    names = [span.name for each in sent for scope in each.scope_spans for span in scope.spans]
    assert {"session", "utterance", "end"} <= set(names)
    assert 'string_value: "gw-1"' in str(sent[0].resource)
    assert "w0" not in str(sent)
