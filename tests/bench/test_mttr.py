"""The handler that voxtree is measured against does its work, and is as weak as it is meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.faults.outcome import outcome
from bench.faults.stage import Stage
from bench.riva import Plan
from bench.riva.faults import At, Status

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_handler_gives_every_word_while_nothing_fails_and_loses_some_of_a_broken_stream(
    tmp_path: Path,
) -> None:
    broken = Status(preset="socket_closed", at=At(position=1.0), streams=(2,))
    async with Stage(1, 12, tmp_path, lambda line: None) as stage:
        primary, fallback = await stage.rivas(Plan(faults=(broken,)), Plan())
        url = await stage.naive(primary.port, fallback.port)
        for _ in range(2):
            async with stage.speech(url):
                pass
    whole, torn = (outcome("", "", [talk]) for talk in stage.talks)
    assert (whole.sent, whole.lost, whole.errors) == (12, 0, {})
    assert (torn.errors, torn.doubled) == ({"UNAVAILABLE": 1}, 0)
    assert torn.lost > 0
