"""Which event loop a process of the measurement runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

LOOPS = ("asyncio", "uvloop")


def run_on(loop: str, main: Coroutine[None, None, None]) -> None:
    """Run it there, until it ends or is interrupted."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
