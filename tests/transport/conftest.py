"""The transport is asyncio only, and its tests use real sockets: real time."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
