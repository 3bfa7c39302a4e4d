"""The recogniser as operators run it: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec


class Running(msgspec.Struct):
    """A recogniser that serves, and the line it wrote when it was ready."""

    process: Any
    ready: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.ready["listening"])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "transport.embedded", *arguments]


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    """Start it, wait until it is ready, and end it by closing its stdin."""
    with subprocess.Popen(
        command("--exit-with-parent", *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Running(process, json.loads(process.stdout.readline()))
