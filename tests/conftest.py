"""Async tests of the inner packages run twice, on asyncio and on trio, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.testing import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Mark a module's tests with `pytestmark = pytest.mark.anyio`; no sleep in them takes real time."""
    return virtual_backend(request.param)
