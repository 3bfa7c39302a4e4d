"""Errors that are made to happen show as the catalogue says: in the log, the metrics, and at clients; each once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from actors.speech.catalogue import CATALOGUE
from bench.errors.command import Shown, show
from bench.errors.provoke import PROVOCATIONS

pytestmark = pytest.mark.anyio

SLOW = {"CONN_007", "AUDIO_004", "AUDIO_006", "JOURNAL_001"}  # some seconds to half a minute: `python -m bench errors`


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def all_is_logged() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


def test_every_error_of_the_catalogue_can_be_made_to_happen() -> None:
    assert set(PROVOCATIONS) == set(CATALOGUE)


@pytest.mark.slow
@pytest.mark.parametrize("code", sorted(set(PROVOCATIONS) - SLOW))
async def test_an_error_shows_as_the_catalogue_says(code: str) -> None:
    shown = await show(code)
    assert shown.wrong == []


async def test_what_does_not_happen_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(scene: object) -> None:
        """Everything works."""

    monkeypatch.setattr("bench.errors.command.PROVOCATIONS", {"RIVA_001": nothing})
    assert await show("RIVA_001") == Shown(code="RIVA_001", alert="page", wrong=["it did not happen"])
