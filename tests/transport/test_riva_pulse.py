"""One question for all who doubt, and what counts as its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervisor.testing import settle, virtual_backend
from transport.riva.pulse import Pulse

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_backend("asyncio")


class Asked:
    """Questions that are answered when the test says so."""

    def __init__(self) -> None:
        self.out: list[asyncio.Future[bool]] = []

    async def __call__(self) -> bool:
        self.out.append(asyncio.get_running_loop().create_future())
        return await self.out[-1]

    async def answer(self, answered: bool) -> None:
        await settle()
        self.out[-1].set_result(answered)
        await settle()


async def test_all_who_doubt_share_a_question_and_its_time() -> None:
    asked = Asked()
    pulse = Pulse(asked)
    missing = [pulse.missing(now, every=0.5) for now in (100.0, 100.1, 100.2, 109.0)]
    await settle()
    assert (missing, len(asked.out)) == (pytest.approx([0.0, 0.1, 0.2, 9.0]), 1)
    await pulse.aclose()


async def test_an_endpoint_that_answers_is_there_and_asked_again_after_a_while() -> None:
    asked = Asked()
    pulse = Pulse(asked)
    pulse.missing(100.0, every=0.5)
    await asked.answer(True)
    assert [pulse.missing(now, every=0.5) for now in (100.3, 100.5, 100.9)] == pytest.approx([0.0, 0.0, 0.4])
    await settle()
    assert len(asked.out) == 2
    await pulse.aclose()


async def test_a_question_that_ends_unanswered_is_asked_again_and_its_time_goes_on() -> None:
    asked = Asked()
    pulse = Pulse(asked)
    pulse.missing(100.0, every=0.5)
    await asked.answer(False)
    assert pulse.missing(102.0, every=0.5) == pytest.approx(2.0)
    await asked.answer(True)
    assert (pulse.missing(102.1, every=0.5), len(asked.out)) == (0.0, 2)
