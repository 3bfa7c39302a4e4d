"""A scripted Riva is a real server: asyncio only, on loopback, in real time."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
