"""The stage itself: what voxtree's own client gets there, with and without its primary Riva."""

from __future__ import annotations

import anyio
import pytest

from bench.riva import CodedSpeech
from tests.transport.dialects.stage import score, stage

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_the_native_client_gets_every_word_once_also_if_its_riva_is_killed() -> None:
    speech = CodedSpeech(words=60, utterance=5, pause=0.4)
    async with stage() as here:
        before = await here.native(speech)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.kill_when, lambda: bool(here.app.sessions.live()))
            after = await here.native(speech)

    assert score(speech, before).flawless
    assert after == before
