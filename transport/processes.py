"""What every process that is nothing but a server does for itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import UnexpectedError
from supervisor.errors import Path

LEAKED = 1  # exit code


def spare_collector() -> None:
    """What is there by now stays: modules, classes, the tree. To look through it stops the event loop for 50 ms.

    That comes due when many objects are made, so just when all sessions change their backend at once.
    """
    gc.collect()
    gc.freeze()


def report_to(errors: ErrorHandler) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """An event loop's exception handler, for what nobody awaits."""

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or UnexpectedError(context["message"])
        errors.report(error, ErrorContext(path="asyncio"))

    return report


def end_process(stuck: list[Path]) -> None:
    """Something in the tree does not stop, and all else has: wait no longer for it."""
    for path in stuck:
        print(f"{'/'.join(path)} does not stop; ending the process without it", file=sys.stderr)
    logging.shutdown()  # repeats that were held back
    os._exit(LEAKED)
