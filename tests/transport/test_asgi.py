"""Clients that come through somebody else's web server: what they see is what the front door's see."""

from __future__ import annotations

import asyncio
import signal
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from actors.speech.errors import ChunkTooLarge, ServerBusy
from actors.speech.injection import Faults
from actors.speech.messages import Problem, Transcript
from bench.riva import ScriptedRiva
from tests.transport.asgi import FakeServer, Message
from tests.transport.test_front_door import PCM, START, FakeSessions, Life, gist, handler
from transport.asgi import CannotStart, Voxtree, _before_signals
from transport.asgi_door import AsgiDoor
from transport.asgi_socket import AsgiSocket
from transport.clients import Patience
from transport.riva.channel import Endpoint
from transport.settings import Admin, Journal, Server, Session, Settings

pytestmark = pytest.mark.anyio

NOBODY = Endpoint(name="nobody", address="127.0.0.1:1")
SETTINGS = Settings(backends=(NOBODY,), admin=Admin(enabled=False), journal=Journal(store="memory"))


class House:
    def __init__(self, door: AsgiDoor, sessions: FakeSessions, life: Life, task: asyncio.Task[None]) -> None:
        self.door = door
        self.sessions = sessions
        self.life = life
        self.task = task

    @asynccontextmanager
    async def client(self, path: str = "/transcribe/s-1", **options: Any) -> AsyncGenerator[FakeServer, None]:
        """A client's WebSocket, which has ended when the context does."""
        server = FakeServer(path, **options)
        serving = asyncio.create_task(self.door.on_client(server.scope, server.receive, server.send))
        try:
            yield server
            with anyio.fail_after(10):
                await serving
        finally:
            serving.cancel()


@asynccontextmanager
async def running(server: Server | None = None, session: Session | None = None, **options: Any) -> AsyncIterator[House]:
    sessions, life = FakeSessions(), Life()
    door = AsgiDoor(server or Server(), session or Session(), sessions, handler(), **options)
    task = asyncio.create_task(door.serve(task_status=life))
    await life.value
    try:
        yield House(door, sessions, life, task)
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert door.connections == 0


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as house:
        yield house


def accepted(subprotocol: str | None = None) -> Message:
    return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": []}


# ---- a session


async def test_a_client_is_led_from_start_to_done(house: House) -> None:
    async with house.client(sec_websocket_protocol="voxtree.v1, token") as client:
        client.says(START)
        client.says(PCM)
        client.says('{"event":"stop"}')
        await client.event("done")
        client.leaves(1000)

    session = await house.sessions.last()
    assert (session.id, session.pcm) == ("s-1", PCM)
    assert client.sent[0] == accepted("voxtree.v1")
    assert [event["event"] for event in client.events] == ["ready", "done"]
    assert session.calls == ["audio", "stop", "disconnected", "delivered"]


async def test_a_client_that_does_not_leave_is_closed_and_may_not_have_everything(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.asgi_socket._LINGER", 0.01)
    async with house.client() as client:
        client.says('{"event":"stop"}')
        closed = await client.told("websocket.close")
        client.leaves(1005)

    assert closed["code"] == 1000
    assert "delivered" not in house.sessions.opened[0].calls


async def test_a_client_that_vanishes_is_reported_to_its_session(house: House) -> None:
    async with house.client() as client:
        client.says(PCM)
        await client.event("ready")
        client.leaves(1006)

    assert house.sessions.opened[0].calls[-1] == "disconnected"
    assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.send"]


async def test_a_client_that_cannot_be_sent_to_any_more_is_gone(house: House) -> None:
    async with house.client() as client:
        client.says(PCM)
        await client.event("ready")
        client.gone = True
        house.sessions.opened[0].say(Transcript(is_final=True, seq=1, start=0, end=160, text="one"))

    assert house.sessions.opened[0].calls[-1] == "disconnected"


async def test_an_error_says_what_it_is_before_the_close(house: House) -> None:
    house.sessions.refusal = ServerBusy("2 of 2 sessions", retry_after=5.0)
    async with house.client() as client:
        client.says(START)
        closed = await client.told("websocket.close")
        client.leaves(1013)

    (error,) = client.events
    assert (gist(error), error["retry_after_ms"], closed["code"]) == (("error", "CONN_005", True), 5000, 1013)


@pytest.mark.parametrize("message", ["x" * (4 * 1024 * 1024 + 1), bytes(4 * 1024 * 1024 + 1)], ids=["text", "binary"])
async def test_a_message_larger_than_any_is_refused_whatever_the_server_lets_through(
    house: House, message: str | bytes
) -> None:
    async with house.client() as client:
        client.says(message)
        closed = await client.told("websocket.close")
        client.leaves(1009)

    assert ([gist(event) for event in client.events], closed["code"]) == ([("error", "AUDIO_002", True)], 1009)


async def test_while_the_session_takes_no_audio_nothing_is_read(house: House) -> None:
    async with house.client() as client:
        client.says(START)
        await client.event("ready")
        session = await house.sessions.last()
        session.room.clear()
        for _ in range(5):
            client.says(PCM)
        await session.called("audio")
        waiting = client.waiting
        session.room.set()
        await session.heard(5 * 160)
        client.leaves(1000)

    assert waiting == 4


# ---- patience


async def test_a_silent_client_is_asked_to_reconnect(house: House) -> None:
    async with house.client() as client:
        client.says(START)
        await client.event("ready")
        house.door._clients.check(asyncio.get_running_loop().time() + 61)
        closed = await client.told("websocket.close")
        client.leaves(4408)

    assert (gist(client.events[-1]), closed["code"]) == (("error", "CONN_002", True), 4408)


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    async with running(patience=Patience(close=0.05)) as house, house.client() as client:
        client.says(START)
        await client.event("ready")
        client.room.clear()
        session = house.sessions.opened[0]
        session.say(Transcript(is_final=True, seq=1, start=0, end=160, text="one"))
        while not house.door.unsent:  # noqa: ASYNC110 (until it is being sent)
            await anyio.sleep(0.001)
        house.door._clients.check(asyncio.get_running_loop().time() + 31)
        await session.gone.wait()

    assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.send"]


async def test_a_fault_that_cuts_the_connection_ends_it() -> None:
    faults = Faults({"CONN_001": 1.0}, random=lambda: 0.0, on_fault=lambda error, whom: None)
    async with running(faults=faults) as house, house.client() as client:
        client.says(PCM)

    assert client.sent == [accepted()]


# ---- who is let in


@pytest.mark.parametrize(
    ("path", "named"),
    [("/transcribe/s-1", "s-1"), ("/speech/transcribe/A.b_~", "A.b_~"), ("/transcribe", None), ("/listen", None)],
)
async def test_the_path_names_the_session_or_the_server_does(house: House, path: str, named: str | None) -> None:
    async with house.client(path) as client:
        client.says(START)
        ready = await client.event("ready")
        client.leaves(1000)

    assert ready["session_id"] == named or (named is None and len(ready["session_id"]) == 36)


async def test_a_routes_parameter_names_the_session(house: House) -> None:
    server = FakeServer("/any/x y")
    server.scope["path_params"] = {"session_id": "s-2"}
    server.says(START)
    server.leaves(1000)
    await house.door.on_client(server.scope, server.receive, server.send)

    assert house.sessions.opened[0].id == "s-2"


@pytest.mark.parametrize("path", ["/transcribe/a b", "/transcribe/ü", "/transcribe/a/b", "/transcribe/" + 129 * "x"])
async def test_a_name_that_no_session_may_have_is_not_found(house: House, path: str) -> None:
    async with house.client(path) as client:
        pass
    async with house.client(path, denies=False) as bare:
        pass

    assert [message["type"] for message in client.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert client.sent[0]["status"] == 404
    assert b"1 to 128 of A-Z" in client.sent[1]["body"]
    assert bare.sent == [{"type": "websocket.close"}]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://here:1", True), ("https://app.example", True), ("https://evil.example", False), ("null", False)],
)
async def test_only_our_own_pages_and_listed_ones_may_connect(origin: str, allowed: bool) -> None:
    async with running(Server(origins=("https://app.example",))) as house, house.client(origin=origin) as client:
        client.leaves(1000)

    assert client.sent[0] == accepted() if allowed else client.sent[0]["status"] == 403


async def test_a_client_that_left_before_it_was_let_in_is_nobody(house: House) -> None:
    server = FakeServer()
    server.gone = True
    await house.door.on_client(server.scope, server.receive, server.send)

    assert (server.sent, house.sessions.opened) == ([], [])


async def test_a_websocket_that_somebody_has_accepted_is_a_mistake_that_is_explained(house: House) -> None:
    server = FakeServer()
    await server.receive()
    server.says(PCM)
    with pytest.raises(RuntimeError, match="leave that to voxtree"):
        await house.door.on_client(server.scope, server.receive, server.send)


# ---- stopping


async def test_sessions_get_their_last_words_before_the_door_closes(house: House) -> None:
    async with house.client() as idle, house.client("/transcribe/s-2") as client:
        await idle.told("websocket.accept")
        client.says(PCM)
        await client.event("ready")
        house.life.stop.set()
        session = house.sessions.opened[0]
        await session.draining.wait()
        session.say(
            Transcript(is_final=True, seq=1, start=0, end=160, text="last words"), Problem(code="CONN_006", fatal=True)
        )
        codes = [(await each.told("websocket.close"))["code"] for each in (idle, client)]
        idle.leaves(1012)
        client.leaves(1012)
    await house.task
    async with house.client() as late:
        late_code = (await late.told("websocket.close"))["code"]
        late.leaves(1012)

    assert codes == [1012, 1012]
    assert late_code == 1012
    assert [event["event"] for event in client.events] == ["ready", "transcript", "error"]
    assert [gist(each.events[-1]) for each in (idle, client, late)] == [("error", "CONN_006", True)] * 3


async def test_a_session_that_does_not_finish_in_time_is_sent_away_all_the_same() -> None:
    async with running(Server(shutdown_timeout=0.1)) as house, house.client() as client:
        client.says(PCM)
        await client.event("ready")
        house.life.stop.set()
        await client.told("websocket.close")
        client.leaves(1012)

    assert gist(client.events[-1]) == ("error", "CONN_006", True)


# ---- the socket


def socket(server: FakeServer) -> AsgiSocket:
    return AsgiSocket(server.scope, server.receive, server.send, max_message_bytes=8)


@pytest.mark.parametrize(
    ("code", "shown"), [(1000, 1000), (1001, 1001), (1005, 1005), (1012, 1012), (1006, None), (None, None)]
)
async def test_the_end_says_with_which_code_the_client_left(code: int | None, shown: int | None) -> None:
    server = FakeServer()
    ours = socket(server)
    await ours.asked()
    server.leaves(code)  # type: ignore[arg-type]
    for ask in (ours.recv, ours.recv, lambda: ours.send("x")):
        with pytest.raises(ConnectionClosed) as closed:
            await ask()
        assert (closed.value.rcvd and closed.value.rcvd.code) == shown
    assert ours.closed_by_both == (code in (1000, 1001))


async def test_a_message_may_have_either_kind_empty() -> None:
    server = FakeServer()
    ours = socket(server)
    await ours.asked()
    server._inbox.put_nowait({"type": "websocket.receive", "bytes": None, "text": "é"})
    server._inbox.put_nowait({"type": "websocket.receive", "bytes": b"", "text": None})
    server._inbox.put_nowait({"type": "websocket.receive", "text": "é" * 5})

    assert [await ours.recv(), await ours.recv()] == ["é", b""]
    with pytest.raises(ChunkTooLarge, match="a message of 10 bytes: allowed are 8"):
        await ours.recv()


# ---- the whole of it


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    """With a recogniser that is there: else nobody is ready for long."""
    async with ScriptedRiva() as riva:
        yield msgspec.structs.replace(SETTINGS, backends=(Endpoint(name="riva", address=riva.address),))


async def test_it_does_not_serve_before_it_runs_and_says_so() -> None:
    voxtree = Voxtree(SETTINGS)
    server = FakeServer()

    assert not voxtree.ready
    with pytest.raises(RuntimeError, match="give its `lifespan` to your application"):
        await voxtree(server.scope, server.receive, server.send)


async def test_it_runs_while_it_is_entered_and_can_be_entered_again(settings: Settings) -> None:
    voxtree = Voxtree(settings)
    for _ in range(2):
        async with voxtree:
            assert voxtree.ready
            assert voxtree.app.url == ""
            with pytest.raises(RuntimeError, match="runs already"):
                await voxtree.__aenter__()
        assert not voxtree.ready
    server = FakeServer()
    server.says(START)
    server.leaves(1000)
    await voxtree(server.scope, server.receive, server.send)

    assert gist(server.events[-1]) == ("error", "CONN_006", True)


async def test_as_an_application_it_lives_with_its_server_and_speaks_websocket_only(settings: Settings) -> None:
    voxtree = Voxtree(settings)
    told: list[Message] = []
    asked: asyncio.Queue[Message] = asyncio.Queue()

    async def send(message: Message) -> None:
        told.append(message)

    living = asyncio.create_task(voxtree({"type": "lifespan"}, asked.get, send))
    asked.put_nowait({"type": "lifespan.startup"})
    await until(lambda: told)
    assert voxtree.ready
    await voxtree({"type": "http"}, asked.get, send)
    asked.put_nowait({"type": "lifespan.shutdown"})
    await living

    assert [message["type"] for message in told] == [
        "lifespan.startup.complete",
        "http.response.start",
        "http.response.body",
        "lifespan.shutdown.complete",
    ]
    assert told[1]["status"] == 426


async def test_a_server_is_told_why_it_cannot_start(tmp_path: Any) -> None:
    (tmp_path / "journal.db").write_text("no journal, but this text" * 100)
    settings = msgspec.structs.replace(SETTINGS, journal=Journal(path=str(tmp_path / "journal.db")))
    voxtree = Voxtree(settings)
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        told.append(message)

    await voxtree({"type": "lifespan"}, receive, send)

    assert told[0]["type"] == "lifespan.startup.failed"
    assert told[0]["message"]
    with pytest.raises(CannotStart):
        async with voxtree:
            pass


async def test_it_has_an_admin_port_if_wanted() -> None:
    voxtree = Voxtree(msgspec.structs.replace(SETTINGS, admin=Admin(port=0)))
    server = FakeServer()
    async with voxtree:
        serving = asyncio.create_task(voxtree(server.scope, server.receive, server.send))
        server.says(START)
        await server.event("ready")
        assert voxtree.app.admin is not None
        url = voxtree.app.admin.url.rstrip("/")
        metrics = (await anyio.to_thread.run_sync(_read, f"{url}/metrics")).decode()
        connections = voxtree.app.front_door.connections
        server.leaves(1000)
        await serving

    assert "voxtree_connections" in metrics
    assert connections == 1


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return bytes(answer.read())


async def test_a_signal_reaches_the_server_after_the_last_words_and_a_second_one_at_once() -> None:
    heard: list[int] = []
    last_words = asyncio.Event()
    working = asyncio.Event()

    async def work() -> None:
        working.set()
        await last_words.wait()

    def theirs(number: int, _: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        with _before_signals(work):
            signal.raise_signal(signal.SIGTERM)
            await working.wait()
            assert heard == []
            signal.raise_signal(signal.SIGTERM)
            assert heard == [signal.SIGTERM]
            last_words.set()
            await until(lambda: len(heard) == 2)
        assert signal.getsignal(signal.SIGTERM) is theirs
        with _before_signals(work):
            assert signal.getsignal(signal.SIGTERM) is not theirs
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_in_another_thread_it_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def run() -> None:
        with _before_signals(anyio.sleep_forever):
            assert signal.getsignal(signal.SIGTERM) is before

    await anyio.to_thread.run_sync(run)


async def until(is_so: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 (what is waited for is anything)
            await anyio.sleep(0.001)
