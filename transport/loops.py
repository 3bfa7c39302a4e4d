"""Which event loop a server runs on."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from transport.expected import ExpectedError

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T], loop: Literal["auto", "uvloop", "asyncio"] = "auto") -> _T:
    """Run it to its end, as `asyncio.run` does. `auto`: on uvloop if that is installed.

    Raises:
        ExpectedError: uvloop is wanted and not installed.
    """
    if loop == "asyncio" or (importlib.util.find_spec("uvloop") is None and loop == "auto"):
        return asyncio.run(main)
    try:
        import uvloop
    except ImportError as error:
        main.close()
        text = "server.loop = uvloop, but uvloop is not installed: pip install 'voxtree[uvloop]', or set it to auto"
        raise ExpectedError(text) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
