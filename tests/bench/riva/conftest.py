"""A scripted Riva is a real server: asyncio only, on loopback, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package", autouse=True)
async def one_loop_for_all(anyio_backend: str) -> AsyncIterator[None]:
    """grpc.aio has one poller for the process: what a broken call leaves behind would strike the next test's loop."""
    yield
    await asyncio.sleep(0.2)
