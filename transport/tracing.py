"""Traces, for those who collect them: short spans for what is worth looking at, each linked to its session's.

A session is a span without length, since what never ends cannot be shown while it lasts; utterances, recoveries and
absences of the client are spans of their own, made when they are over. Words are not in them. It takes the extra
`tracing`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from actors.speech.reports import (
    Recovered,
    Said,
    SessionEnded,
    SessionLeft,
    SessionOpened,
    SessionReport,
    SessionResumed,
    StreamFailed,
)
from transport.expected import ExpectedError
from transport.observers import Observer
from transport.settings import Tracing as TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Link

CLOSE_SECONDS = 3.0  # the library itself tries for ten, and longer if there is much
Attributes = dict[str, str | int | float]


class TracingMissing(ExpectedError):
    """OpenTelemetry is not installed."""


class _Session(msgspec.Struct):
    link: Link
    spoke_at: int = 0  # when the utterance's first words came, in ns since 1970; 0: there are none
    lost_at: int = 0  # … its stream was lost
    left_at: int = 0  # … its client


class Tracing(Observer):
    """Makes spans of what happens to sessions, and has them sent in the background.

    Args:
        exporter: where they go; None: to `settings.endpoint`, by OTLP over HTTP.
        clock: nanoseconds since 1970.

    Raises:
        TracingMissing: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        settings: TracingSettings,
        *,
        exporter: SpanExporter | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        try:
            self._provider = _provider(settings, exporter)
        except ImportError as error:
            raise TracingMissing(f"traces need what the extra `tracing` installs ({error.name} is missing)") from error
        self._tracer = self._provider.get_tracer("voxtree")
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    def session(self, report: SessionReport) -> None:
        now = self._clock()
        if isinstance(report, SessionOpened):
            self._opened(report, now)
        elif (session := self._sessions.get(report.session)) is not None:
            self._happened(session, report, now)

    def close(self) -> None:
        """Send what waits; takes `CLOSE_SECONDS` at most, and what nobody has taken by then is lost."""
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    def _opened(self, report: SessionOpened, now: int) -> None:
        from opentelemetry.trace import Link

        attributes: Attributes = {"voxtree.session": report.session, "voxtree.epoch": report.epoch}
        span = self._tracer.start_span("session", start_time=now, attributes=attributes)
        span.end(now)
        self._sessions[report.session] = _Session(Link(span.get_span_context()))

    def _happened(self, session: _Session, report: SessionReport, now: int) -> None:
        match report:
            case Said(is_final=False):
                session.spoke_at = session.spoke_at or now
            case Said(words=words, tier=tier, latency=latency):
                facts: Attributes = {"voxtree.words": words, "voxtree.tier": tier.value}
                if latency is not None:
                    facts["voxtree.latency"] = latency
                self._span("utterance", session, session.spoke_at or now, now, facts)
                session.spoke_at = 0
            case StreamFailed():
                session.lost_at = session.lost_at or now
            case Recovered(source=source, target=target, code=code):
                facts = {"voxtree.source": source, "voxtree.target": target, "voxtree.code": code}
                self._span("failover", session, session.lost_at or now, now, facts)
                session.lost_at = 0
            case SessionLeft():
                session.left_at = now
            case SessionResumed(epoch=epoch):
                self._span("resume", session, session.left_at or now, now, {"voxtree.epoch": epoch})
                session.left_at = 0
            case SessionEnded(ending=ending, age=age):
                facts = {"voxtree.ending": ending.value, "voxtree.age": age}
                self._span("end", session, now, now, facts)
                del self._sessions[report.session]
            case _:
                pass

    def _span(self, name: str, session: _Session, start: int, end: int, attributes: Attributes) -> None:
        span = self._tracer.start_span(name, start_time=start, links=[session.link], attributes=attributes)
        span.end(end)


def _provider(settings: TracingSettings, exporter: SpanExporter | None) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": settings.service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=settings.endpoint)))
    return provider
