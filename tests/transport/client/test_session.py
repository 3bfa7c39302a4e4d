"""A client over real sockets: what it says, what it gets, and how it comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.transport.client.messages import error, final, interim, ready
from tests.transport.client.server import Connection, ScriptedServer
from tests.transport.wavs import wav
from transport.client import (
    CannotConnect,
    Client,
    ConnectionLost,
    Done,
    Final,
    Interim,
    Ready,
    Reconnecting,
    ResumeFailed,
    Session,
    SessionFailed,
    SpeechEvent,
)
from transport.client.dialling import Dialler, Unreachable, named
from transport.wire.voxtree_v1_schema import (
    AckMessage,
    DoneMessage,
    FinalizeMessage,
    ReceivedMessage,
    StopMessage,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncGenerator[ScriptedServer, None]:
    async with asyncio.timeout(30), ScriptedServer() as server:
        yield server


@asynccontextmanager
async def conversation(
    server: ScriptedServer, *, live: bool = False, **options: Any
) -> AsyncGenerator[tuple[Session, Connection], None]:
    """A session that has begun, and the server's end of it."""
    session = Client(server.url, **options).session(sample_rate=8000, live=live)
    entering = asyncio.create_task(session.__aenter__())
    connection = await server.client()
    await connection.say(ready())
    await entering
    try:
        yield session, connection
    finally:
        await session.__aexit__(None, None, None)


async def next_event(events: AsyncGenerator[SpeechEvent, None], kind: type[SpeechEvent]) -> SpeechEvent:
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


async def test_a_session_from_its_start_to_its_end(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        assert session.id == "s-1"
        await session.send(b"ab" * 800)
        session.finalize()
        assert await connection.audio(1600) == b"ab" * 800
        assert await connection.next() == FinalizeMessage()
        session.stop()
        assert await connection.next() == StopMessage()
        await connection.say(interim("wor"), final(1, 0, 800), DoneMessage(position=800, seq=1))
        events = [event async for event in session]
        assert [type(event) for event in events] == [Ready, Interim, Final, Done]
        with pytest.raises(ValueError, match="the session was stopped"):
            await session.send(b"ab")


async def test_whoever_leaves_at_done_has_closed_in_order(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        session.stop()
        assert await connection.next() == StopMessage()
        await connection.say(DoneMessage(position=0, seq=0))
        await next_event(aiter(session), Done)
    assert await connection.close() == 1000


async def test_whoever_leaves_before_does_so_too(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        pass
    assert await connection.close() == 1000
    with pytest.raises(SessionFailed, match="the session was closed"):
        await session.send(b"ab")


async def test_a_close_without_a_reason_is_a_lost_connection(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        await connection.close(1011)
        lost = await next_event(aiter(session), Reconnecting)
        assert isinstance(lost, Reconnecting)
        assert lost.reason == "the server closed the connection (code 1011)"


async def test_a_files_header_is_no_audio(server: ScriptedServer) -> None:
    async with conversation(server) as (session, _):
        with pytest.raises(ValueError, match="this is WAV, but a session takes raw samples: see transcribe_file"):
            await session.send(wav(bytes(100)))


async def test_a_token_is_sent_along(server: ScriptedServer) -> None:
    session = Client(server.url + "/mine", token="key").session()
    entering = asyncio.create_task(session.__aenter__())
    connection = await server.client()
    assert (connection.path, connection.headers["Authorization"]) == ("/transcribe/mine", "Bearer key")
    await connection.say(ready())
    await entering
    await session.__aexit__(None, None, None)


async def test_events_of_later_versions_are_passed_over(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        await connection.say('{"event":"applause","loud":true}', final(1, 0, 0), DoneMessage(position=0, seq=1))
        assert [type(event) for event in [event async for event in session]] == [Ready, Final, Done]


@pytest.mark.parametrize("text", ["hello", '{"event":"done"}', '{"happened":"nothing"}'])
async def test_a_server_of_another_kind_is_not_put_up_with(server: ScriptedServer, text: str) -> None:
    async with conversation(server) as (session, connection):
        await connection.say(text)
        with pytest.raises(SessionFailed, match=r"the server does not speak voxtree\.v1: "):
            [event async for event in session]


async def test_after_a_cut_it_goes_on_at_the_sample_that_the_server_names(server: ScriptedServer) -> None:
    async with conversation(server) as (session, first):
        await session.send(b"ab" * 800)
        await first.audio(1600)
        await first.say(final(1, 0, 300), AckMessage(durable=300, received=800, seq=1))
        assert await first.next() == ReceivedMessage(1)
        first.cut()
        second = await server.client()
        assert second.path == "/transcribe/s-1"
        assert second.start.resume is not None
        assert (second.start.resume.token, second.start.resume.seq, second.start.resume.end) == ("secret", 1, 300)
        await session.send(b"cd" * 100)
        session.stop()
        await second.say(ready(position=500, resumed=True), final(1, 0, 300), final(2, 300, 900))
        sent = b""
        while (message := await second.next()) != StopMessage():
            if isinstance(message, bytes):
                sent += message
        assert sent == b"ab" * 300 + b"cd" * 100
        await second.say(DoneMessage(position=900, seq=2))
        events = [event async for event in session]
        assert [event.seq for event in events if isinstance(event, Final)] == [1, 2]
        assert [event.resumed for event in events if isinstance(event, Ready)] == [False, True]
        assert sum(isinstance(event, Reconnecting) for event in events) == 1


async def test_kept_audio_comes_at_the_pace_that_the_server_allows(server: ScriptedServer) -> None:
    async with conversation(server) as (session, first):
        await session.send(bytes(16_000))
        await first.audio(16_000)
        first.cut()
        second = await server.client()
        await second.say(ready(resumed=True, credit=40_000))
        assert await second.next() == ReceivedMessage(0)
        assert await second.audio(16_000) == bytes(16_000)


async def test_it_survives_a_server_that_is_away_for_a_while(server: ScriptedServer) -> None:
    async with conversation(server) as (session, _):
        events = aiter(session)
        await server.shut()
        await next_event(events, Reconnecting)
        await session.send(b"ab" * 10)  # meanwhile
        await next_event(events, Reconnecting)
        await server.open()
        connection = await server.client()
        await connection.say(ready(resumed=True))
        assert await connection.next() == ReceivedMessage(0)
        assert await connection.audio(20) == b"ab" * 10


async def test_it_gives_up_when_the_server_stays_away(server: ScriptedServer) -> None:
    async with conversation(server, give_up_after=0.3) as (session, _):
        await server.shut()
        with pytest.raises(ConnectionLost, match="could not be made again") as lost:
            [event async for event in session]
        assert (lost.value.code, lost.value.action) == ("CONN_001", "reconnect")
        with pytest.raises(ConnectionLost):
            await session.send(b"ab")
    await server.open()  # for the fixture to shut


async def test_a_session_that_the_server_does_not_know_any_more_has_failed(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        await connection.say(final(1, 0, 0))
        connection.cut()
        await (await server.client()).say(error("CONN_008", "new_session"))
        await next_event(aiter(session), Final)
        with pytest.raises(ResumeFailed) as failed:
            [event async for event in session]
        assert failed.value.action == "new_session"


async def test_a_recording_waits_for_room(server: ScriptedServer) -> None:
    async with conversation(server, keep=1.0) as (session, connection):
        sending = asyncio.create_task(session.send(bytes(16_000) + b"ab" * 100))
        await connection.audio(16_000)
        assert not sending.done()
        await connection.say(AckMessage(durable=100, received=8000, seq=0))
        assert await connection.audio(200) == b"ab" * 100
        await sending


async def test_a_microphone_does_not(server: ScriptedServer) -> None:
    async with conversation(server, live=True, keep=1.0) as (session, connection):
        connection.cut()
        await server.client()  # which gets no answer
        for _ in range(30):
            await session.send(bytes(1600))


async def test_a_sender_that_waits_learns_of_the_end(server: ScriptedServer) -> None:
    async with conversation(server, keep=1.0) as (session, connection):
        sending = asyncio.create_task(session.send(bytes(32_000)))
        await connection.audio(16_000)
        await connection.say(error("RIVA_002", "fix_config"))
        with pytest.raises(SessionFailed, match="RIVA_002"):
            await sending


async def test_interims_that_nobody_has_read_are_replaced(server: ScriptedServer) -> None:
    async with conversation(server) as (session, connection):
        await connection.say(*(interim(f"word {number}") for number in range(100)), final(1, 0, 0))
        assert await connection.next() == ReceivedMessage(1)  # so all have arrived
        await connection.say(DoneMessage(position=0, seq=1))
        assert [type(event) for event in [event async for event in session]] == [Ready, Interim, Final, Done]


async def test_a_chunk_that_cannot_be_read_ends_the_conversation(server: ScriptedServer) -> None:
    def chunks() -> object:
        yield bytes(2)
        raise OSError("the disk is gone")

    async with conversation(server) as (session, _):
        with pytest.raises(OSError, match="the disk is gone"):
            async for _event in session.converse(chunks()):  # type: ignore[arg-type]
                pass


async def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/transcribe"
        with pytest.raises(CannotConnect, match="no voxtree server answers at") as failed:
            async with Client(url).session():
                pass
    assert (failed.value.code, failed.value.action) == (None, "retry")


async def test_a_server_that_is_replaced_while_a_client_comes_is_not_noticed(server: ScriptedServer) -> None:
    session = Client(server.url).session()
    entering = asyncio.create_task(session.__aenter__())
    (await server.client()).cut()
    await (await server.client()).say(ready())
    await entering
    await session.__aexit__(None, None, None)


async def test_who_takes_a_connection_and_is_gone_is_told_from_nobody() -> None:
    gone = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    dialler = Dialler(f"ws://127.0.0.1:{gone.sockets[0].getsockname()[1]}/transcribe")
    with pytest.raises(Unreachable) as unreachable:
        await dialler.dial("")
    assert unreachable.value.broke
    gone.close()
    await gone.wait_closed()
    with pytest.raises(Unreachable) as unreachable:
        await dialler.dial("")
    assert not unreachable.value.broke


async def test_who_speaks_something_else_is_told_from_one_who_is_gone() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-Something_9.2\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    dialler = Dialler(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/transcribe")
    with pytest.raises(Unreachable) as unreachable:
        await dialler.dial("")
    assert not unreachable.value.broke
    server.close()
    await server.wait_closed()


async def test_a_refusal_comes_with_its_advice(server: ScriptedServer) -> None:
    session = Client(server.url).session()
    entering = asyncio.create_task(session.__aenter__())
    await (await server.client()).say(error("CONN_005", "retry", retry_after=5.0))
    with pytest.raises(SessionFailed) as refused:
        await entering
    assert (refused.value.code, refused.value.action, refused.value.retry_after) == ("CONN_005", "retry", 5.0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:1/transcribe", "ws://h:1/transcribe/s-1"),
        ("ws://h:1/transcribe/mine", "ws://h:1/transcribe/s-1"),
        ("wss://h/speech/transcribe?key=1", "wss://h/speech/transcribe/s-1?key=1"),
        ("ws://h:1/", "ws://h:1/s-1"),
    ],
)
def test_a_session_is_found_by_its_address(url: str, expected: str) -> None:
    assert named(url, "s-1") == expected
    assert named(url, "") == url
