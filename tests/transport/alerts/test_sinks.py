"""The notifier on real sockets: slow, dead, refusing and redirecting sinks; and what is still said at the end."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.speech.backends.events import BackendDown, BackendUp
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import ConnectionFailed, JournalUnavailable, UnexpectedError
from bench.alert_sink import AlertSink
from supervisor.spec import Child
from supervisor.tree import Supervisor
from transport.alerts.notifier import LAST_WORDS, Alerts
from transport.observers import Observers
from transport.reporting import Reporting
from transport.settings import Alerts as AlertSettings
from transport.settings import AlertSink as SinkSettings

pytestmark = pytest.mark.anyio


class Server:
    """What of a server the notifier needs, with sinks at these addresses."""

    def __init__(self, *sinks: SinkSettings, quiet: float = 300.0) -> None:
        self.registry = CollectorRegistry()
        self.errors = ErrorHandler(self.registry, listener=lambda context: self.observers.error(context))
        settings = AlertSettings(host="gw-1", quiet=quiet, sinks=sinks)
        self.alerts = Alerts(settings, self.errors, self.registry)
        self.observers = Observers([Reporting(self.errors), self.alerts])

    def tree(self, *others: Child) -> Supervisor:
        return Supervisor([self.alerts.child(), *others], name="voxtree", on_event=self.observers.tree)

    def fail(self, error: Exception, **context: Any) -> None:
        self.errors.report(error, ErrorContext(**context))

    def count(self, sink: str, result: str) -> float:
        return self.registry.get_sample_value("voxtree_alerts_sent_total", {"sink": sink, "result": result}) or 0.0

    async def until(self, sink: str, result: str, least: float = 1.0) -> None:
        for _ in range(2000):
            if self.count(sink, result) >= least:
                return
            await anyio.sleep(0.01)
        raise TimeoutError(f"{sink}: {result} is {self.count(sink, result)}")


def webhook(name: str, url: str, **more: Any) -> SinkSettings:
    return SinkSettings(name=name, type="webhook", url=url, **{"per_minute": 600.0, **more})


@pytest.fixture
def dead() -> Iterator[str]:
    """A port that refuses connections, and that nobody else gets meanwhile."""
    with ExitStack() as stack:
        holder = stack.enter_context(socket.socket())
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}/hook"


async def test_what_begins_and_ends_is_told_to_each_sink() -> None:
    async with AlertSink(200) as one, AlertSink(202) as other:
        server = Server(webhook("one", one.url), webhook("other", f"{other.url}/a/path"))
        async with server.tree():
            error = ConnectionFailed("refused", endpoint="riva-a")
            server.observers.pool(BackendDown(name="riva-a", error=error))
            await one.until(len)
            server.observers.pool(BackendUp(name="riva-a", seconds=3.0))
            for sink in (one, other):
                bodies = await sink.until(lambda bodies: len(bodies) == 2)
                told = [(body["status"], body["code"], body["component"]) for body in bodies]
                assert told == [("firing", "RIVA_001", "backend:riva-a"), ("resolved", "RIVA_001", "backend:riva-a")]
        assert other.received[0].path == "/a/path"
        assert (server.count("one", "delivered"), server.count("one", "failed")) == (2.0, 0.0)


async def test_neither_a_silent_nor_a_dead_sink_keeps_another_one_waiting(dead: str) -> None:
    async with AlertSink(silent=True) as silent, AlertSink() as good:
        server = Server(webhook("silent", silent.url, timeout=0.3), webhook("dead", dead), webhook("good", good.url))
        async with server.tree():
            server.fail(JournalUnavailable(), path="voxtree/journal")
            await good.until(len)
            await server.until("silent", "failed")
            await server.until("dead", "failed")
        assert server.count("silent", "delivered") == server.count("dead", "delivered") == 0.0


async def test_a_sink_that_is_down_is_an_error_of_which_no_alert_is_made(
    dead: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with AlertSink() as good:
        server = Server(webhook("dead", dead), webhook("good", good.url))
        async with server.tree():
            server.fail(UnexpectedError(), path="voxtree/journal")
            await server.until("dead", "failed", 2)
            bodies = await good.until(len)
        assert [body["code"] for body in bodies] == ["UNKNOWN"]
    told = [record.getMessage() for record in caplog.records if "ALERT_001" in record.getMessage()]
    assert told == [
        "voxtree/alerts/dead: ALERT_001 ALERT_NOT_DELIVERED: sink 'dead': connection refused"
    ]  # once, however often it fails
    assert (
        server.registry.get_sample_value(
            "transcription_errors_total", {"error_code": "ALERT_001", "severity": "WARNING"}
        )
        == 1.0
    )


async def test_more_than_may_wait_is_dropped_and_counted(dead: str) -> None:
    server = Server(webhook("dead", dead, queue=2))
    async with server.tree():
        for part in range(10):
            server.fail(JournalUnavailable(), path=f"voxtree/part-{part}")
        assert server.count("dead", "dropped") == 8.0


async def test_a_sink_that_refuses_is_not_asked_again() -> None:
    async with AlertSink(400) as sink:
        server = Server(webhook("hook", sink.url))
        async with server.tree():
            server.fail(JournalUnavailable(), path="voxtree/journal")
            await server.until("hook", "refused")
            server.fail(UnexpectedError(), path="voxtree/journal")
            await server.until("hook", "refused", 2)
        assert [body["code"] for body in sink.bodies] == ["JOURNAL_001", "UNKNOWN"]


async def test_a_sink_that_asks_for_a_pause_gets_it() -> None:
    async with AlertSink(429, {"Retry-After": "2"}) as sink:
        server = Server(webhook("hook", sink.url))
        async with server.tree():
            server.fail(JournalUnavailable(), path="voxtree/journal")
            await server.until("hook", "failed")
            sink.status, sink.headers = 200, {}
            await server.until("hook", "delivered")
        first, second = sink.received
        assert second.at - first.at >= 2.0


async def test_redirects_are_not_followed() -> None:
    async with AlertSink() as elsewhere, AlertSink(307, {"Location": elsewhere.url}) as sink:
        server = Server(webhook("hook", sink.url))
        async with server.tree():
            server.fail(JournalUnavailable(), path="voxtree/journal")
            await server.until("hook", "refused")
        assert elsewhere.received == []


async def test_why_the_process_ends_is_still_told() -> None:
    """The root gives up: its children are stopped in reverse order, and the notifier is one of the first."""

    async def crash() -> None:
        raise ConnectionFailed("no way")

    async with AlertSink() as sink:
        server = Server(webhook("hook", sink.url))
        with pytest.raises(Exception, match="voxtree"):
            async with server.tree(Child("front door", crash)):
                await anyio.sleep_forever()
        told = {(body["code"], body["component"], body["status"]) for body in sink.bodies}
        assert told >= {("SYS_003", "server", "firing"), ("RIVA_001", "front door", "firing")}


async def test_a_silent_sink_holds_up_the_end_for_moments_only_and_no_thread_keeps_the_process() -> None:
    async with AlertSink(silent=True) as silent, AlertSink() as good:
        server = Server(webhook("silent", silent.url, timeout=60.0), webhook("good", good.url, per_minute=60.0))
        with anyio.fail_after(2 * LAST_WORDS + 10):
            async with server.tree():
                for part in range(8):  # more than are sent at once
                    server.fail(JournalUnavailable(), path=f"voxtree/part-{part}")
                await silent.until(len)
        assert len(good.bodies) == 8
        assert [thread for thread in threading.enumerate() if thread.name == "alert" and not thread.daemon] == []


async def test_alertmanager_is_told_again_while_it_lasts() -> None:
    async with AlertSink(200) as sink:
        wanted = SinkSettings(name="am", type="alertmanager", url=sink.url, interval=0.2, per_minute=600.0)
        server = Server(wanted)
        async with server.tree():
            error = ConnectionFailed("refused", endpoint="riva-a")
            server.observers.pool(BackendDown(name="riva-a", error=error))
            bodies = await sink.until(lambda bodies: len(bodies) >= 3)
        assert {received.path for received in sink.received} == {"/api/v2/alerts"}
        assert {alert["labels"]["code"] for (alert, *_) in bodies} == {"RIVA_001"}


async def test_no_secret_and_nobodys_words_are_told_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A phrase, a token, an address and a session's id go in where they can; the secrets of the sinks are used."""
    caplog.set_level(logging.DEBUG)
    canaries = ("purple elephants", "tok-123456", "198.51.100.7", "session-4912345678")
    secrets = ("s3cret-path", "r0uting-key")
    (tmp_path / "key").write_text("r0uting-key\n")
    async with AlertSink() as sink, AlertSink(500) as failing:
        (tmp_path / "url").write_text(f"{failing.url}/s3cret-path\n")
        wanted = (
            SinkSettings(name="pd", type="pagerduty", url=sink.url, key_file=str(tmp_path / "key")),
            SinkSettings(name="slack", type="slack", url_file=str(tmp_path / "url")),
            webhook("hook", sink.url),
        )
        server = Server(*wanted)
        async with server.tree():
            context = {"session_id": canaries[3], "user_id": canaries[1]}
            server.fail(UnexpectedError(canaries[0], backend_detail=canaries[2]), **context)
            await server.until("slack", "failed")
            await server.until("hook", "delivered")
            await server.until("pd", "delivered")
        bodies = msgspec.json.encode([*sink.bodies, *failing.bodies]).decode()
    assert [canary for canary in canaries if canary in bodies] == []
    logged = "\n".join(record.getMessage() for record in caplog.records if "ALERT_001" in record.getMessage())
    assert "it answered 500" in logged
    assert [secret for secret in (*secrets, failing.url) if secret in logged] == []
    assert failing.received[0].path == "/s3cret-path"
    pagerduty = [body for body in sink.bodies if "routing_key" in body]
    assert [body["routing_key"] for body in pagerduty] == ["r0uting-key"]
