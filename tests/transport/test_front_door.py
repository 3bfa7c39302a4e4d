"""The front door over real sockets: what clients see, whatever they send."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Origin, Subprotocol

from actors.speech.error_handler import ErrorHandler
from actors.speech.errors import GoingAway, ModelNotFound, ServerBusy, SessionInUse, SpeechError
from actors.speech.injection import Faults
from actors.speech.messages import Ack, Done, Problem, Ready, Resume, SessionEvent, Transcript
from actors.speech.ports import RecognitionConfig
from supervisor.errors import StartFailed
from supervisor.spec import Child
from supervisor.tree import Supervisor
from tests.transport.wavs import wav
from transport.front_door import Address, FrontDoor, Patience
from transport.listener import CannotListen
from transport.settings import Server, Session
from transport.websocket import SafeToAbort

pytestmark = pytest.mark.anyio

PCM = b"\x01\x00" * 160
START = '{"event":"start","config":{"sample_rate":16000}}'


class FakeSession:
    """Hears everything at once, says what the test tells it to."""

    def __init__(self, session_id: str, config: RecognitionConfig) -> None:
        self.id = session_id
        self.config = config
        self.pcm = b""
        self.calls: list[str] = []
        self.marks: list[int] = []  # bytes heard before each `finalize` and acknowledgement
        self.room = asyncio.Event()
        self.room.set()
        self.gone = asyncio.Event()
        self.over = asyncio.Event()
        self.draining = asyncio.Event()
        self.changed = asyncio.Event()
        self.outbox: asyncio.Queue[SessionEvent] = asyncio.Queue()
        self.at_once: Callable[[Transcript | Ack], bool] | None = None
        self.say(Ready(session_id=session_id, config=config))

    def say(self, *events: SessionEvent) -> None:
        for event in events:
            if not self._say_at_once(event):
                self.outbox.put_nowait(event)

    def _say_at_once(self, event: SessionEvent) -> bool:
        if self.at_once is None or not self.outbox.empty():
            return False
        is_fleeting = isinstance(event, Ack) or (isinstance(event, Transcript) and not event.is_final)
        return is_fleeting and self.at_once(event)

    async def heard(self, samples: int) -> bytes:
        await self._until(lambda: len(self.pcm) >= 2 * samples)
        return self.pcm

    async def called(self, name: str, times: int = 1) -> None:
        await self._until(lambda: self.calls.count(name) >= times)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self.changed.wait()

    def _change(self) -> None:
        """Wake those who wait; who waits from now on waits for the next change."""
        self.changed.set()
        self.changed = asyncio.Event()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self._change()

    # ---- what the front door calls

    async def audio(self, pcm: bytes) -> None:
        self._call("audio")
        await self.room.wait()
        self.pcm += pcm
        self._change()

    def has_room(self, size: int) -> bool:
        return self.room.is_set()

    def audio_at_once(self, pcm: bytes) -> None:
        assert self.room.is_set()
        self._call("audio")
        self.pcm += pcm
        self._change()

    async def finalize(self) -> None:
        self.marks.append(len(self.pcm))
        self._call("finalize")

    async def stop(self) -> None:
        self._call("stop")
        self.say(Done(position=len(self.pcm) // 2, seq=0))

    def acknowledge(self, seq: int) -> None:
        self.marks.append(len(self.pcm))
        self._call(f"acknowledge {seq}")

    def confirmed(self) -> None:
        self._call("confirmed")

    def delivered(self) -> None:
        self._call("delivered")
        self.over.set()

    def drain(self, seconds: float) -> None:
        self._call("drain")
        self.draining.set()

    def disconnected(self) -> None:
        self._call("disconnected")
        self.gone.set()

    async def next_event(self) -> SessionEvent:
        return await self.outbox.get()

    def offer(self, say: Callable[[Transcript | Ack], bool]) -> None:
        self.at_once = say


class FakeSessions:
    def __init__(self) -> None:
        self.opened: list[FakeSession] = []
        self.resumes: list[Resume] = []
        self.refusal: Exception | None = None
        self.is_ready = True
        self.arrived = asyncio.Condition()

    async def open(
        self, session_id: str, config: RecognitionConfig, *, user: str = "", resumable: bool = True
    ) -> FakeSession:
        if self.refusal is not None:
            raise self.refusal
        async with self.arrived:
            self.opened.append(FakeSession(session_id, config))
            self.arrived.notify_all()
        return self.opened[-1]

    async def resume(
        self, session_id: str, resume: Resume, config: RecognitionConfig, *, user: str = ""
    ) -> FakeSession:
        self.resumes.append(resume)
        return await self.open(session_id, config)

    def ready(self) -> bool:
        return self.is_ready

    async def last(self) -> FakeSession:
        async with self.arrived:
            await self.arrived.wait_for(lambda: bool(self.opened))
        return self.opened[-1]


class Life:
    """The supervisor's part in one incarnation."""

    def __init__(self) -> None:
        self.value: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.stop = asyncio.Event()

    def started(self, value: object = None) -> None:
        self.value.set_result(value)

    async def stop_requested(self) -> None:
        await self.stop.wait()


class Client(SafeToAbort, ClientConnection):
    pass


class House:
    """A running front door, its sessions, and the way in."""

    def __init__(self, door: FrontDoor, sessions: FakeSessions, life: Life, task: asyncio.Task[None]) -> None:
        self.door = door
        self.sessions = sessions
        self.life = life
        self.task = task

    def connect(self, path: str = "/transcribe/s-1", **options: Any) -> connect:
        base = self.door.url.removesuffix("/transcribe")
        return connect(
            base + path,
            compression=None,
            max_size=None,
            ping_interval=None,
            create_connection=Client,
            **options,
        )

    async def request(self, data: bytes) -> bytes:
        """Everything the server answers to raw bytes until it closes."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    @property
    def address(self) -> Address:
        return self.life.value.result()[0]  # type: ignore[no-any-return]

    async def still_serves(self) -> None:
        async with self.connect("/transcribe/after") as client:
            await client.send(START)
            assert (await told(client))["session_id"] == "after"
            await client.send(PCM)
            await client.send('{"event":"stop"}')
            assert await rest(client) == ([{"event": "done", "position": 160, "seq": 0}], 1000)


def handler() -> ErrorHandler:
    return ErrorHandler(CollectorRegistry())


@asynccontextmanager
async def running(server: Server | None = None, session: Session | None = None, **options: Any) -> AsyncIterator[House]:
    sessions, life = FakeSessions(), Life()
    door = FrontDoor(server or Server(port=0), session or Session(), sessions, handler(), **options)
    task = asyncio.create_task(door.serve(task_status=life))
    await asyncio.wait([task, life.value], return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            task.result()
        yield House(door, sessions, life, task)
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert door.connections == 0


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as house:
        yield house


async def told(client: ClientConnection) -> Any:
    return json.loads(await client.recv())


async def rest(client: ClientConnection) -> tuple[list[Any], int | None]:
    """What the client is still told, and the code its connection is closed with."""
    messages = []
    while True:
        try:
            messages.append(await told(client))
        except ConnectionClosed:
            return messages, client.close_code


def gist(error: dict[str, Any]) -> tuple[Any, ...]:
    return error["event"], error["code"], error["fatal"]


# ---- a session


async def test_a_client_is_led_from_start_to_done(house: House) -> None:
    async with house.connect() as client:
        await client.send(START)
        ready = await told(client)
        await client.send(PCM)
        await client.send(PCM)
        session = await house.sessions.last()
        await session.heard(320)
        session.say(Transcript(is_final=True, seq=1, start=0, end=320, text="hi"), Ack(durable=1, received=2, seq=1))
        await client.send('{"event":"finalize"}')
        await client.send('{"event":"ping","t":7}')
        messages = [await told(client) for _ in range(3)]
        await client.send('{"event":"stop"}')
        end = await rest(client)

    assert (ready["event"], ready["session_id"], ready["config"]["encoding"]) == ("ready", "s-1", "pcm16")
    assert sorted(message["event"] for message in messages) == ["ack", "pong", "transcript"]
    assert end == ([{"event": "done", "position": 320, "seq": 0}], 1000)
    assert session.pcm == PCM * 2
    # Short messages that wait for one another are handed over in one go, or in several.
    assert list(dict.fromkeys(session.calls)) == ["audio", "finalize", "stop", "disconnected"]


async def test_who_has_answered_the_close_behind_done_has_everything(house: House) -> None:
    async with house.connect() as client:
        await client.send(PCM)
        await client.send('{"event":"stop"}')
        await rest(client)
    session = house.sessions.opened[0]
    async with asyncio.timeout(5):
        await session.over.wait()
    assert session.calls == ["audio", "stop", "disconnected", "delivered"]


async def test_who_closes_in_order_before_done_has_not_had_everything(house: House) -> None:
    async with house.connect() as client:
        await client.send(PCM)
        await told(client)
        await client.close()
    session = house.sessions.opened[0]
    async with asyncio.timeout(5):
        await session.gone.wait()
        house.life.stop.set()
        await house.task  # so the connection has done all it does
    assert "delivered" not in session.calls


async def test_the_server_names_a_session_that_came_without_an_id(house: House) -> None:
    async with house.connect("/transcribe?x=1") as client:
        await client.send(PCM)
        ready = await told(client)

    assert uuid.UUID(ready["session_id"]).version == 4


async def test_without_start_ready_comes_when_the_first_audio_has_told_the_format(house: House) -> None:
    async with house.connect() as client:
        await client.send(wav(PCM, rate=8000, channels=2))
        ready = await told(client)
        session = await house.sessions.last()
        await session.heard(80)

    assert (ready["config"]["sample_rate"], ready["config"]["channels"]) == (8000, 2)
    assert session.config == RecognitionConfig(sample_rate=8000)
    assert session.pcm == PCM[:160]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["voxtree.v1"], "voxtree.v1"),
        (["base64url.bearer.secret", "voxtree.v1"], "voxtree.v1"),
        (["graphql-ws"], None),
    ],
)
async def test_only_our_own_subprotocol_is_ever_chosen(house: House, offered: list[str], chosen: str | None) -> None:
    protocols = [Subprotocol(name) for name in offered] or None
    async with house.connect(subprotocols=protocols) as client:
        assert client.subprotocol == chosen


async def test_while_the_session_takes_no_audio_nothing_is_read_and_nothing_lost(house: House) -> None:
    async with house.connect() as client:
        await client.send(PCM)
        session = await house.sessions.last()
        await session.heard(160)
        session.room.clear()
        frames = [bytes([i, 0]) * 160 for i in range(60)]
        for frame in frames:
            await client.send(frame)
        await session.called("audio", 2)
        _far_ahead(house)  # silent for an hour, but only since we do not listen
        waiting = session.calls.count("audio")
        session.room.set()
        pcm = await session.heard(61 * 160)

    assert waiting == 2
    assert pcm == PCM + b"".join(frames)


def _far_ahead(house: House) -> None:
    for connection in house.door._clients._connections:
        connection.check(asyncio.get_running_loop().time() + 3600)


async def test_a_client_that_vanishes_is_reported_to_its_session(house: House) -> None:
    async with house.connect() as client:
        await client.send(PCM)
        session = await house.sessions.last()
        await session.heard(160)
        client.transport.abort()
        await session.gone.wait()

    assert session.calls == ["audio", "disconnected"]


async def test_problems_of_the_session_are_passed_on_and_a_fatal_one_closes(house: House) -> None:
    async with house.connect() as client:
        await client.send(START)
        session = await house.sessions.last()
        session.say(Problem(code="RIVA_005"), Problem(code="RIVA_002", detail="xx-XX", fatal=True))
        messages, code = await rest(client)

    assert [gist(message) for message in messages[1:]] == [
        ("error", "RIVA_005", False),
        ("error", "RIVA_002", True),
    ]
    assert code == 4404
    assert session.calls == ["disconnected"]


async def test_a_fatal_problem_gets_through_to_a_client_whose_audio_is_held_up() -> None:
    patience = Patience(close=3600)
    async with running(patience=patience) as house, house.connect() as client:
        await client.send(PCM)
        session = await house.sessions.last()
        session.room.clear()
        for _ in range(60):
            await client.send(bytes(32000))
        session.say(Problem(code="RIVA_010", fatal=True))
        with anyio.fail_after(20):
            messages, code = await rest(client)

    assert (gist(messages[-1]), code) == (("error", "RIVA_010", True), 1008)


@pytest.mark.parametrize(
    ("refusal", "code", "close", "retry_after_ms"),
    [
        (ServerBusy("all 4 sessions are taken", retry_after=2.5), "CONN_005", 1013, 2500),
        (SessionInUse(), "CONN_009", 4409, None),
        (GoingAway(), "CONN_006", 1012, None),
        (ModelNotFound("de-DE"), "RIVA_002", 4404, None),
    ],
)
async def test_a_session_that_cannot_be_is_refused_in_the_catalogues_words(
    house: House, refusal: SpeechError, code: str, close: int, retry_after_ms: int | None
) -> None:
    house.sessions.refusal = refusal
    async with house.connect() as client:
        await client.send(START)
        messages, closed = await rest(client)

    assert ([gist(message) for message in messages], closed) == ([("error", code, True)], close)
    assert messages[0].get("retry_after_ms") == retry_after_ms


async def test_a_defect_ends_one_connection_and_is_logged_once_under_the_ref_the_client_has(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.sessions.refusal = ZeroDivisionError("secret path")
    async with house.connect() as client:
        await client.send(START)
        messages, code = await rest(client)

    assert ([gist(message) for message in messages], code) == ([("error", "UNKNOWN", True)], 1011)
    assert "secret" not in str(messages)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        f"session s-1: UNKNOWN UNKNOWN: ZeroDivisionError('secret path') (ref {messages[0]['ref']})"
    ]
    assert errors[0].exc_info is not None
    house.sessions.refusal = None
    await house.still_serves()


# ---- bad input


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("{not json", "CONN_003"),
        ("UklGRiQAAABXQVZF", "CONN_003"),
        ('{"event":"begin"}', "CONN_003"),
        ('["start"]', "CONN_003"),
        ('{"event":"audio","data":"%%%"}', "AUDIO_003"),
        (bytes(321), "AUDIO_003"),
        (b"", "AUDIO_003"),
        (bytes(1024 * 1024 + 2), "AUDIO_002"),
    ],
)
async def test_a_bad_message_is_answered_and_the_session_goes_on(house: House, bad: str | bytes, code: str) -> None:
    async with house.connect() as client:
        await client.send(START)
        await told(client)
        await client.send(bad)
        error = await told(client)
        await client.send(PCM)
        await client.send('{"event":"stop"}')
        end = await rest(client)

    assert gist(error) == ("error", code, False)
    assert end == ([{"event": "done", "position": 160, "seq": 0}], 1000)


async def test_the_same_fault_again_is_told_each_time_under_one_ref(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with house.connect() as client:
        await client.send(START)
        await told(client)
        for _ in range(3):
            await client.send(b"\x00")
        errors = [await told(client) for _ in range(3)]

    assert len({error["ref"] for error in errors}) == 1
    lines = [record.getMessage() for record in caplog.records if "AUDIO_003" in record.getMessage()]
    assert lines == 3 * [
        "session s-1: AUDIO_003 AUDIO_PROCESSING_FAILED: 1 bytes: pcm16 with 1 channel(s) takes a multiple of 2 "
        f"(ref {errors[0]['ref']})"
    ]


@pytest.mark.parametrize(
    ("messages", "code", "close"),
    [
        (["nonsense"] * 5, "CONN_003", 1008),
        (['{"event":"start","config":{"encoding":"opus"}}'], "AUDIO_001", 1003),
        (['{"event":"start","config":{"language":"Klingon!"}}'], "RIVA_002", 4404),
        ([b"\x1a\x45\xdf\xa3" + bytes(600)], "AUDIO_001", 1003),
        ([START, wav(PCM, rate=8000)], "AUDIO_001", 1003),
        ([bytes(10 * 1024 * 1024)], "AUDIO_002", 1009),
        ([START, PCM, bytes(10 * 1024 * 1024)], "AUDIO_002", 1009),
    ],
)
async def test_what_cannot_go_on_is_told_before_the_close(
    house: House, messages: list[str | bytes], code: str, close: int
) -> None:
    async with house.connect() as client:
        for message in messages:
            await client.send(message)
        events, closed = await rest(client)

    assert (gist(events[-1]), closed) == (("error", code, True), close)
    assert all(session.gone.is_set() for session in house.sessions.opened)
    await house.still_serves()


@pytest.mark.parametrize(
    ("frame", "code", "close"),
    [
        (Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), "CONN_003", 1007),
        (Frame(Opcode.CONT, b"never begun").serialize(mask=True), "CONN_003", 1002),
        (b"\xc2\x80\x00\x00\x00\x00", "CONN_003", 1002),  # compressed, which was not agreed
        (b"\x82\x02\x00\x00", "CONN_003", 1002),  # not masked
    ],
    ids=["no UTF-8", "continues nothing", "compressed", "not masked"],  # a mask is random
)
async def test_a_broken_frame_is_told_before_the_close_and_counts_as_that_alone(
    house: House, frame: bytes, code: str, close: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with house.connect() as client:
        await client.send(START)
        await told(client)
        client.transport.write(frame)
        messages, closed = await rest(client)

    assert ([gist(message) for message in messages], closed) == ([("error", code, True)], close)
    assert house.sessions.opened[0].calls == ["disconnected"]
    assert [vars(line)["code"] for line in caplog.records if vars(line).get("event") == "error"] == [code]
    await house.still_serves()


async def test_a_silent_client_is_told_that_it_timed_out() -> None:
    async with running(session=Session(idle_timeout=0.05)) as house, house.connect() as client:
        messages, code = await rest(client)

    assert ([gist(message) for message in messages], code) == ([("error", "CONN_002", True)], 4408)


@pytest.mark.parametrize("sign", ["audio", "ping", "WebSocket ping"])
async def test_any_sign_of_life_counts(house: House, sign: str) -> None:
    async with house.connect() as client:
        await client.send(START)
        await told(client)
        before = asyncio.get_running_loop().time()
        if sign == "WebSocket ping":
            await (await client.ping())
        elif sign == "ping":
            await client.send('{"event":"ping"}')
            await told(client)
        else:
            await client.send(PCM)
            await house.sessions.opened[0].heard(160)
        for connection in house.door._clients._connections:
            connection.check(before + Session().idle_timeout)
        await client.send('{"event":"stop"}')
        messages, code = await rest(client)

    assert (messages[-1]["event"], code) == ("done", 1000)


async def test_a_client_that_waits_for_its_last_words_is_not_silent(house: House) -> None:
    async with house.connect() as client:
        await client.send(PCM)
        session = await house.sessions.last()

        async def stop() -> None:
            session._call("stop")  # and the finals take a while

        session.stop = stop  # type: ignore[method-assign]
        await client.send('{"event":"stop"}')
        await session.called("stop")
        _far_ahead(house)
        session.say(Done(position=160, seq=0))
        messages, code = await rest(client)

    assert (messages[-1]["event"], code) == ("done", 1000)


async def test_a_client_that_stops_reading_is_given_up() -> None:
    patience = Patience(reading=0.05, close=0.05)
    async with running(patience=patience) as house:
        reader, writer = await asyncio.open_connection(*house.address, limit=1024)
        writer.write(_handshake())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(Frame(Opcode.TEXT, START.encode()).serialize(mask=True))
        session = await house.sessions.last()
        for seq in range(200):
            session.say(Transcript(is_final=True, seq=seq, start=0, end=1, text="x" * 100_000))
        await session.gone.wait()
        writer.close()

    assert session.outbox.qsize() > 0  # what did not go out waits in the session, not in a buffer of ours


def _handshake(path: str = "/transcribe/s-1", **headers: str) -> bytes:
    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    lines = [f"{name}: {value}" for name, value in (fields | headers).items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


# ---- faults on purpose


async def test_a_connection_that_is_cut_on_purpose_ends_without_a_word() -> None:
    async with running(faults=Faults({"CONN_001": 0.5}, random=iter([0.9, 0.1]).__next__)) as house:
        async with house.connect() as client:
            await client.send(START)
            assert (await told(client))["event"] == "ready"
            await client.send(PCM)
            assert await rest(client) == ([], 1006)
        session = await house.sessions.last()
        async with asyncio.timeout(5):
            await session.gone.wait()
    assert session.pcm == b""


async def test_a_message_that_is_refused_on_purpose_costs_that_message() -> None:
    faults = Faults({"CONN_003": 0.5}, random=iter([0.9, 0.1, 0.9, 0.9]).__next__)
    async with running(faults=faults) as house, house.connect() as client:
        await client.send(START)
        await told(client)
        await client.send(PCM)
        error = await told(client)
        assert (gist(error), error["detail"]) == (("error", "CONN_003", False), "injected")
        await client.send(PCM + PCM)
        await client.send('{"event":"stop"}')
        assert await rest(client) == ([{"event": "done", "position": 320, "seq": 0}], 1000)


async def test_audio_that_is_refused_on_purpose_costs_that_audio() -> None:
    faults = Faults({"AUDIO_003": 0.5}, random=iter([0.1, 0.9]).__next__)
    async with running(faults=faults) as house, house.connect() as client:
        await client.send(START)
        await told(client)
        await client.send(PCM)
        assert gist(await told(client)) == ("error", "AUDIO_003", False)
        await client.send(PCM)
        await client.send('{"event":"stop"}')
        assert await rest(client) == ([{"event": "done", "position": 160, "seq": 0}], 1000)


async def test_a_session_that_is_refused_on_purpose_is_refused_as_by_a_full_server() -> None:
    async with running(faults=Faults({"CONN_005": 1.0})) as house:
        async with house.connect() as client:
            await client.send(START)
            (error,), close = await rest(client)
        assert (gist(error), error["retry_after_ms"], close) == (("error", "CONN_005", True), 5000, 1013)
        assert house.sessions.opened == []


# ---- who may come in, and how


@pytest.mark.parametrize(
    "path",
    ["/", "/transcribe/", "/transcribe/a b", "/transcribe/a%20b", "/transcribe/" + "a" * 129, "/v1/x", "/livez/"],
)
async def test_another_path_is_answered_with_a_sentence(house: House, path: str) -> None:
    with pytest.raises(InvalidStatus) as failure:
        await house.connect(path.replace(" ", "\xa0"))

    response = failure.value.response
    assert response.status_code == 404
    assert response.body is not None
    assert response.body.startswith(b"There is nothing at this address. Connect a WebSocket to /transcribe/ID")
    await house.still_serves()


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://HOST", True),
        ("https://app.example.com", True),
        ("https://evil.example.com", False),
        ("https://app.example.com.evil.com", False),
        ("http://127.0.0.1:1", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_only_our_own_pages_and_listed_ones_may_connect(origin: str | None, allowed: bool) -> None:
    async with running(Server(port=0, origins=("https://app.example.com",))) as house:
        host, port = house.address
        header = None if origin is None else Origin(origin.replace("HOST", f"{host}:{port}"))
        try:
            async with house.connect(origin=header):
                status = 101
        except InvalidStatus as failure:
            status = failure.response.status_code
        await house.still_serves()

    assert status == (101 if allowed else 403)


async def test_a_page_behind_a_proxy_that_ends_tls_is_our_own() -> None:
    async with running(Server(port=0)) as house:
        reader, writer = await asyncio.open_connection(*house.address)
        writer.write(_handshake(Host="voxtree.example.com", Origin="https://voxtree.example.com"))
        head = await reader.readuntil(b"\r\n")
        writer.close()

    assert head == b"HTTP/1.1 101 Switching Protocols\r\n"


def _answer(response: bytes) -> tuple[int, bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200, b'{"status": "alive"}\n'),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200, b'{"status": "ready"}\n'),
        (b"GET /readyz?verbose HTTP/1.0\r\n\r\n", 200, b'{"status": "ready"}\n'),
        (b"GET /transcribe/s HTTP/1.1\r\nHost: x\r\n\r\n", 426, b"This address speaks WebSocket only."),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 404, b"There is nothing at this address."),
        (
            b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            405,
            b'{"detail": "Only GET is answered here."}',
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, b"This is a WebSocket server"),
        (b"\x00" * 9000, 400, b"This is a WebSocket server"),
        (b"HELO mail.example.com\r\n", 400, b"This is a WebSocket server"),
        (_handshake(**{"Sec-WebSocket-Key": ""}), 400, b"Failed to open a WebSocket connection"),
        (_handshake(**{"Sec-WebSocket-Version": "8"}), 400, b"Failed to open a WebSocket connection"),
    ],
)
async def test_plain_http_and_garbage_are_answered(house: House, request_: bytes, status: int, body: bytes) -> None:
    answer = _answer(await house.request(request_))

    assert (answer[0], answer[1][: len(body)]) == (status, body)
    await house.still_serves()


async def test_readiness_follows_the_sessions(house: House) -> None:
    house.sessions.is_ready = False

    assert _answer(await house.request(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")) == (
        503,
        b'{"status": "not ready"}\n',
    )


@pytest.mark.parametrize(
    ("data", "leaves", "lines"),
    [
        (b"", True, []),
        (b"GET /live", True, []),
        (b"GET /transcribe/s HTTP/1.1\r\nHost:", True, []),
        (_handshake(), True, []),
        (b"\x16\x03\x01", False, []),
        (
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            True,
            [
                "opening handshake failed (127.0.0.0/24): did not receive a valid HTTP request: "
                "invalid HTTP header line: bad header"
            ],
        ),
        (
            _handshake(**{"Sec-WebSocket-Version": "8"}),
            False,
            ["opening handshake failed (127.0.0.0/24): invalid Sec-WebSocket-Version header: 8"],
        ),
    ],
)
async def test_strangers_leave_one_line_in_the_log_at_most_and_no_traceback(
    house: House, caplog: pytest.LogCaptureFixture, data: bytes, leaves: bool, lines: list[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    reader, writer = await asyncio.open_connection(*house.address)
    writer.write(data)
    if leaves:
        writer.write_eof()
    await reader.read()
    writer.close()
    await house.still_serves()

    records = [record for record in caplog.records if record.name == "transport.websocket.library"]
    assert [record.getMessage() for record in records] == lines
    assert not any(record.exc_info for record in caplog.records)


# ---- starting and stopping


async def test_the_started_value_is_the_address(house: House) -> None:
    assert house.life.value.result() == [Address("127.0.0.1", house.address.port)]
    assert house.door.url == f"ws://127.0.0.1:{house.address.port}/transcribe"


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as failure:
            async with running(Server(port=port)):
                pass

    assert str(failure.value) == f"cannot listen on 127.0.0.1:{port}: address already in use"


async def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on no\.such\.host\.invalid:0: the host name is unknown"):
        async with running(Server(host="no.such.host.invalid", port=0)):
            pass


async def test_a_stopping_server_lets_its_sessions_finish_and_sends_clients_elsewhere(house: House) -> None:
    async with house.connect() as client, house.connect("/transcribe/idle") as idle:
        await client.send(PCM)
        session = await house.sessions.last()
        await session.heard(160)
        await told(client)
        house.life.stop.set()
        idle_end = await rest(idle)
        with pytest.raises(OSError, match=r"."):
            await house.connect()
        session.say(
            Transcript(is_final=True, seq=1, start=0, end=160, text="last words"), Problem(code="CONN_006", fatal=True)
        )
        messages, code = await rest(client)
        await house.task

    assert ([gist(message) for message in idle_end[0]], idle_end[1]) == ([("error", "CONN_006", True)], 1012)
    assert [message["event"] for message in messages] == ["transcript", "error"]
    assert (gist(messages[-1]), code) == (("error", "CONN_006", True), 1012)
    assert session.calls == ["audio", "drain", "disconnected"]


async def test_a_session_that_does_not_finish_in_time_is_sent_away_all_the_same() -> None:
    async with running(Server(port=0, shutdown_timeout=0.2)) as house, house.connect() as client:
        await client.send(PCM)
        await told(client)
        house.life.stop.set()
        messages, code = await rest(client)
        await house.task

    assert ([gist(message) for message in messages], code) == ([("error", "CONN_006", True)], 1012)


async def test_a_client_that_never_finishes_its_handshake_does_not_outlive_the_server() -> None:
    async with running(Server(port=0, shutdown_timeout=0.1), patience=Patience(handshake=3600)) as house:
        reader, writer = await asyncio.open_connection(*house.address)
        writer.write(b"GET /transcribe HTTP/1.1\r\nHost: ")
        await house.still_serves()
        house.life.stop.set()
        with anyio.fail_after(20):
            await house.task
            end = await reader.read()
        writer.close()

    assert end == b""


async def test_a_cancelled_server_still_tells_its_clients(house: House) -> None:
    async with house.connect() as client:
        await client.send(PCM)
        await told(client)
        house.task.cancel()
        messages, code = await rest(client)

    assert ([gist(message) for message in messages], code) == ([("error", "CONN_006", True)], 1012)
    assert house.sessions.opened[0].calls == ["audio", "disconnected"]


async def test_a_front_door_serves_again_after_it_was_stopped(house: House) -> None:
    house.life.stop.set()
    await house.task
    life = Life()
    again = House(house.door, house.sessions, life, asyncio.create_task(house.door.serve(task_status=life)))
    await life.value
    await again.still_serves()
    life.stop.set()
    with anyio.fail_after(5):
        await again.task


# ---- under the real supervisor


async def test_a_supervisor_starts_it_and_stops_it_in_order() -> None:
    sessions = FakeSessions()
    door = FrontDoor(Server(port=0), Session(), sessions, handler())
    async with Supervisor([Child("front door", door.serve, shutdown=10.0)]) as tree:
        addresses = tree.value("front door")
        async with connect(door.url, compression=None) as client:
            await client.send(PCM)
            await told(client)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tree.stop)
                await sessions.opened[0].draining.wait()
                sessions.opened[0].say(Problem(code="CONN_006", fatal=True))
                messages, code = await rest(client)

    assert addresses == [Address("127.0.0.1", int(door.url.split(":")[2].split("/")[0]))]
    assert ([gist(message) for message in messages], code) == ([("error", "CONN_006", True)], 1012)
    assert sessions.opened[0].calls == ["audio", "drain", "disconnected"]


async def test_a_supervisor_is_told_why_it_could_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        door = FrontDoor(Server(port=taken.getsockname()[1]), Session(), FakeSessions(), handler())
        with pytest.raises(StartFailed) as failure:
            async with Supervisor([Child("front door", door.serve)]):
                pass

    assert isinstance(failure.value.__cause__, CannotListen)
