"""The store of dictionaries does what every store must."""

from __future__ import annotations

import pytest

from actors.speech.journal.memory import MemoryStore
from tests.speech.journal.conformance import RETENTION, Conformance, Stand


class InMemory:
    """All owners share the one store: it has no connections."""

    def __init__(self) -> None:
        self._now = 1_700_000_000.0
        self._store = MemoryStore(RETENTION, clock=lambda: self._now)

    async def store(self) -> MemoryStore:
        await self._store.open()
        return self._store

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds


class TestMemory(Conformance):
    @pytest.fixture
    def stand(self) -> Stand:
        return InMemory()
