"""Transcripts of files: what they hold, and how they come about when the server loses the session."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.transport.client.messages import error, final, ready
from tests.transport.client.server import Connection, ScriptedServer
from tests.transport.wavs import wav
from transport.audio.wav_file import UnreadableAudio, WavFile, read_wav
from transport.client import (
    Client,
    Gap,
    ResumeFailed,
    Segment,
    SpeechEvent,
    Transcript,
    Word,
    transcribe,
    transcribe_file,
)
from transport.wire.voxtree_v1_schema import DoneMessage, GapMessage, ReceivedMessage, StopMessage, WordTimes

pytestmark = pytest.mark.anyio

PCM = bytes(number % 251 for number in range(32_000))  # one second at 16 kHz


@pytest.fixture
async def server() -> AsyncGenerator[ScriptedServer, None]:
    async with asyncio.timeout(30), ScriptedServer() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> WavFile:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(PCM))
    return read_wav(path)


async def heard(connection: Connection) -> bytes:
    """All audio of a client, up to its stop."""
    audio = b""
    while (message := await connection.next()) != StopMessage():
        assert isinstance(message, bytes | ReceivedMessage)
        audio += message if isinstance(message, bytes) else b""
    return audio


def word(text: str, start_ms: int) -> WordTimes:
    return WordTimes(text=text, start_ms=start_ms, end_ms=start_ms + 100, confidence=0.5)


async def test_a_transcript_has_text_segments_and_words(server: ScriptedServer, file: WavFile) -> None:
    transcribing = asyncio.create_task(transcribe(Client(server.url), file, language="de-DE"))
    connection = await server.client()
    assert (connection.start.config.language, connection.start.config.sample_rate) == ("de-DE", 16_000)
    await connection.say(ready())
    assert await heard(connection) == PCM
    await connection.say(final(1, 0, 8000, "eins zwei", (word("eins", 0), word("zwei", 300))))
    await connection.say(final(2, 8000, 16_000, ""), DoneMessage(position=16_000, seq=2))
    eins = Word(text="eins", start_ms=0, end_ms=100, confidence=0.5)
    zwei = Word(text="zwei", start_ms=300, end_ms=400, confidence=0.5)
    segment = Segment(start=0.0, end=0.5, text="eins zwei", confidence=None, words=(eins, zwei))
    transcript = await transcribing
    assert transcript == Transcript(text="eins zwei", language="de-DE", duration=1.0, segments=(segment,))
    assert transcript.words == (eins, zwei)


async def test_what_follows_the_last_final_goes_to_another_session_when_the_server_lost_the_first(
    server: ScriptedServer, file: WavFile
) -> None:
    events: list[SpeechEvent] = []
    transcribing = asyncio.create_task(transcribe(Client(server.url), file, listener=events.append))
    first = await server.client()
    await first.say(ready())
    await heard(first)
    await first.say(final(1, 0, 4000, "one"))
    assert await first.next() == ReceivedMessage(1)
    first.cut()
    await (await server.client()).say(error("CONN_008", "new_session"))
    second = await server.client()
    assert second.start.resume is None
    await second.say(ready())
    assert await heard(second) == PCM[2 * 4000 :]
    await second.say(GapMessage(seq=1, start=0, end=1600, code="AUDIO_004"))
    await second.say(final(2, 1600, 12_000, "two", (word("two", 200),)), DoneMessage(position=12_000, seq=2))
    transcript = await transcribing
    assert [(segment.start, segment.end, segment.text) for segment in transcript.segments] == [
        (0.0, 0.25, "one"),
        (0.35, 1.0, "two"),
    ]
    assert [one.start_ms for one in transcript.words] == [450]
    assert [(event.start, event.end) for event in events if isinstance(event, Gap)] == [(4000, 5600)]


async def test_a_server_that_loses_every_session_at_once_is_not_tried_for_ever(
    server: ScriptedServer, file: WavFile
) -> None:
    transcribing = asyncio.create_task(transcribe(Client(server.url), file))
    first = await server.client()
    await first.say(ready())
    await heard(first)
    first.cut()
    await (await server.client()).say(error("CONN_008", "new_session"))
    with pytest.raises(ResumeFailed):
        await transcribing


def test_a_file_that_is_no_audio_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio):
        transcribe_file(tmp_path / "nothing.wav", url="ws://127.0.0.1:1/transcribe")


def test_the_command_line_says_what_became_of_the_connection(file: WavFile) -> None:
    async def lose() -> tuple[int, str, str]:
        async with asyncio.timeout(60), ScriptedServer() as server:
            command = [sys.executable, "-m", "transport.cli.main", "transcribe", str(file.path), "--url", server.url]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            connection = await server.client()
            await connection.say(ready(window=-9.5))  # it keeps trying for ten seconds more than that
            await connection.say(final(1, 0, 8000, "One."))
            await server.shut()
            out, err = await process.communicate()
            await server.open()
            return process.returncode or 0, out.decode(), err.decode()

    code, out, err = asyncio.run(lose())
    assert (code, out) == (1, "One.\n")
    lost, gave_up = err.splitlines()
    assert lost.endswith("; reconnecting …")
    assert gave_up.startswith("voxtree: the connection was lost and could not be made again for 0 s: ")
    assert gave_up.endswith("[CONN_001]")
