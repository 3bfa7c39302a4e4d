"""One server with its recogniser process, in this process: what sessions get, and what survives."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import numpy as np
import pytest
import soxr
from websockets.asyncio.client import connect

from tests.system.speaking import PCM, RATE, SAID, converse, finals, words
from transport.app import App, serving
from transport.audio.g711 import ALAW, MULAW
from transport.client import Client, Done, Final, Interim, SessionFailed, SpeechEvent, Status
from transport.settings import Embedded, Inject, Session, Settings

SETTINGS = Settings(session=Session(max_sessions=4), embedded=Embedded(max_streams=4))


@pytest.fixture
async def app() -> AsyncGenerator[App, None]:
    async with serving(SETTINGS, private=True) as app:
        yield app


def resampled(rate: int) -> Any:
    samples = np.frombuffer(PCM, dtype="<i2")
    return soxr.resample(samples, RATE, rate)


async def test_every_word_comes_back_with_its_time(app: App) -> None:
    events = await converse(app.url)
    assert words(*finals(events)) == SAID
    spoken = [event for event in events if isinstance(event, Final) and event.text]
    times = [time for event in spoken for word in event.words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert [event.seq for event in spoken] == [1, 2, 3, 4]
    assert events[-1] == Done(position=len(PCM) // 2, seq=5)  # the last one, without a text, settles the silence


@pytest.mark.parametrize(
    ("rate", "channels", "encoding"),
    [(8000, 1, "mulaw"), (8000, 1, "alaw"), (44100, 1, "pcm16"), (48000, 2, "pcm16")],
)
async def test_other_encodings_rates_and_stereo_are_understood(
    app: App, rate: int, channels: int, encoding: str
) -> None:
    samples = np.repeat(resampled(rate), channels)
    events = await converse(
        app.url, _encoded(samples, encoding), sample_rate=rate, channels=channels, encoding=encoding
    )
    heard = words(*finals(events))
    wrong = sum(word not in heard for word in SAID)
    assert wrong <= (3 if rate == 8000 else 0), heard  # the telephone's band costs this small model a word or two
    assert isinstance(events[-1], Done)
    assert events[-1].position == len(samples) // channels


def _encoded(samples: Any, encoding: str) -> bytes:
    if encoding == "pcm16":
        return bytes(samples.astype("<i2").tobytes())
    table = np.array({"mulaw": MULAW, "alaw": ALAW}[encoding])
    order = np.argsort(table)
    nearest = np.clip(np.searchsorted(table[order], samples), 0, 255)
    return bytes(order[nearest].astype(np.uint8).tobytes())


async def test_a_recogniser_killed_in_mid_sentence_costs_no_word(app: App) -> None:
    assert app.embedded is not None
    killed: list[int] = []

    def kill_in_the_second_sentence(event: SpeechEvent) -> None:
        if isinstance(event, Interim) and event.start > 0 and not killed:
            assert app.embedded is not None
            assert app.embedded.pid is not None
            killed.append(app.embedded.pid)
            os.kill(app.embedded.pid, signal.SIGKILL)

    events = await converse(app.url, realtime=True, on_event=kill_in_the_second_sentence)
    assert killed
    assert app.embedded.pid not in killed
    assert words(*finals(events)) == SAID
    assert [event.state for event in events if isinstance(event, Status)][-1] == "streaming"


async def test_streams_that_break_by_chance_every_few_seconds_cost_no_word(caplog: pytest.LogCaptureFixture) -> None:
    inject = Inject(rates={"RIVA_005": 0.2, "RIVA_001": 0.1}, seed=2)
    async with serving(msgspec.structs.replace(SETTINGS, inject=inject), private=True) as app:
        events = await converse(app.url)
    assert words(*finals(events)) == SAID
    injected = [record.getMessage() for record in caplog.records if record.getMessage().startswith("injected into ")]
    assert injected
    assert {event.state for event in events if isinstance(event, Status)} >= {"recovering", "streaming"}


async def test_sessions_past_the_limit_are_told_so_and_the_others_lose_nothing(app: App) -> None:
    outcomes = await asyncio.gather(*(converse(app.url) for _ in range(7)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, SessionFailed)]
    served = [outcome for outcome in outcomes if isinstance(outcome, list)]
    assert len(served) == 4
    assert [(error.code, error.action) for error in refused] == [("CONN_005", "retry")] * 3
    assert all(error.retry_after for error in refused)
    assert [words(*finals(events)) for events in served] == [SAID] * 4


async def test_a_language_nobody_has_ends_the_session_with_a_plain_sentence(app: App) -> None:
    with pytest.raises(SessionFailed, match="Language not supported") as failed:
        await converse(app.url, language="ru-RU")
    assert (failed.value.code, failed.value.action) == ("RIVA_002", "fix_config")
    assert words(*finals(await converse(app.url))) == SAID


async def test_a_wav_header_at_the_start_is_understood_without_a_start_message(app: App) -> None:
    header = b"RIFF" + (36 + len(PCM)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + RATE.to_bytes(4, "little")
    header += (2 * RATE).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    header += b"data" + len(PCM).to_bytes(4, "little")
    async with connect(app.url) as client:
        for start in range(0, len(PCM), 32000):
            await client.send((header if start == 0 else b"") + PCM[start : start + 32000])
        await client.send('{"event": "stop"}')
        messages = [message async for message in client]
    assert '"event":"ready"' in messages[0]
    assert words(*[str(message) for message in messages if '"is_final":true' in message])[-1]
    assert '"position":' + str(len(PCM) // 2) in messages[-1]


async def test_finalize_gives_the_sentence_so_far_without_waiting_for_silence(app: App) -> None:
    async with Client(app.url).session(sample_rate=RATE) as session:
        await session.send(PCM[: 2 * 2 * RATE])
        session.finalize()
        async for event in session:
            if isinstance(event, Final):
                break
    assert isinstance(event, Final)
    assert set(words(event.text)) & set(SAID)
