"""The whole system in real time: real processes, sockets, signals, and a real recogniser."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
