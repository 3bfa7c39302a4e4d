"""A scripted Riva as a process: `python -m bench.faults.riva SETTINGS`, where SETTINGS is JSON.

It prints its port. For each line it reads it prints its report, and when there is no more to read it ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from bench.riva import Plan, ScriptedRiva


class RivaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What it is told on the command line. `key`, `certificate`: files, for TLS."""

    plan: Plan = Plan()
    port: int = 0
    key: str | None = None
    certificate: str | None = None


async def serve(settings: RivaSettings) -> None:
    """Serve until standard input ends."""
    async with ScriptedRiva(
        settings.plan,
        port=settings.port,
        key_file=None if settings.key is None else Path(settings.key),
        certificate_file=None if settings.certificate is None else Path(settings.certificate),
    ) as riva:
        print(riva.port, flush=True)
        async for _ in await _lines():
            print(msgspec.json.encode(riva.report()).decode(), flush=True)


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=RivaSettings)))
