"""The cache of transcripts in a server: off unless wanted, and what its clients get of it."""

from __future__ import annotations

import anyio
import pytest

from actors.speech.messages import Learn
from actors.speech.ports import Utterance
from actors.speech.utterances import Utterances
from tests.system.speaking import PCM, RATE, chunks
from transport.app import App, serving
from transport.cli.recording import SENTENCES
from transport.client import Ack, Client, Final, Interim, SpeechEvent, Status
from transport.riva.channel import Endpoint
from transport.settings import Cache, Settings

NOWHERE = (Endpoint(name="nowhere", address="127.0.0.1:1"),)


def test_it_is_off_unless_wanted() -> None:
    assert App(Settings(backends=NOWHERE)).cache is None
    assert App(Settings(backends=NOWHERE, cache=Cache(enabled=True))).cache is not None


async def learn_sentences(app: App) -> None:
    assert app.cache is not None
    utterances = Utterances(RATE, 0)
    spans = [*utterances.feed(PCM), *utterances.finish()]
    for text, span in zip(SENTENCES, spans, strict=True):
        await app.cache.send(Learn(Utterance(PCM[2 * span.start : 2 * span.end], RATE, "en-US"), text))


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_client_whose_words_are_delayed_is_shown_what_was_said_in_similar_audio() -> None:
    told: list[SpeechEvent] = []
    async with serving(Settings(backends=NOWHERE, cache=Cache(enabled=True)), private=True) as app:
        await learn_sentences(app)
        async with Client(app.url).session(sample_rate=RATE) as session:
            for chunk in chunks(PCM[: len(PCM) // 2 * 2] + bytes(2 * RATE)):
                await session.send(chunk)
            with anyio.fail_after(30.0):
                async for event in session:
                    told.append(event)
                    if sum(isinstance(one, Interim | Final) for one in told) == len(SENTENCES):
                        break
    states = [event.state for event in told if isinstance(event, Status)]
    recalled = [event for event in told if isinstance(event, Interim | Final)]
    assert states == ["recovering", "delayed"]
    assert [event.text for event in recalled] == list(SENTENCES)
    for event in recalled:
        assert isinstance(event, Interim)
        assert event.source == "cache"
        assert event.similarity is not None
        assert 0.9 < event.similarity <= 1.0
    starts = [event.start / RATE for event in recalled]
    assert starts == pytest.approx([0.1, 3.34, 7.3, 10.34], abs=0.05)
    assert {event.durable for event in told if isinstance(event, Ack)} == {0}  # nothing of it settles anything
