"""Async tests of the inner packages run twice, on asyncio and on trio, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.testing import virtual_backend

HERE = Path(__file__).parent
LONG = ("transport/web", "system", "bench", "deploy", "docs", "transport/workers")  # where tests wait for real time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest goes first: else one process waits alone in the end, while the others have nothing to do."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(HERE).as_posix()
        return next((place for place, folder in enumerate(LONG) if path.startswith(folder)), len(LONG))

    items.sort(key=place)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Mark a module's tests with `pytestmark = pytest.mark.anyio`; no sleep in them takes real time."""
    return virtual_backend(request.param)


@pytest.fixture(autouse=True, scope="session")
def no_state_of_ours_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers of the tests, and the processes they start, keep their journals where the tests keep their files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("STATE_DIRECTORY", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def servers_of_one_process() -> Iterator[None]:
    """What a server of several processes adds has tests of its own; the others are faster without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXTREE__SERVER__WORKERS", "1")
        yield
