"""The event loop a server runs on is the one it was told to."""

from __future__ import annotations

import asyncio
import importlib.util
import sys

import pytest

from transport import loops
from transport.expected import ExpectedError


async def running() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize(("wanted", "runs"), [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("auto", "uvloop")])
def test_a_loop_is_chosen(wanted: str, runs: str) -> None:
    assert loops.run(running(), wanted) == runs  # type: ignore[arg-type]


def test_without_uvloop_a_server_runs_on_pythons_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvloop" else find(name))
    assert loops.run(running()) == "asyncio"


def test_wanting_uvloop_without_having_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ExpectedError, match=r"pip install 'voxtree\[uvloop\]'"):
        loops.run(running(), "uvloop")
