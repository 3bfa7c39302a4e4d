"""`voxtree serve`: the server, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

import anyio

from supervisor.errors import Path
from transport.app import App, serving
from transport.cli.common import SURVIVES, add_settings_arguments, loaded_settings
from transport.logs import configure
from transport.reload import reload
from transport.settings import Settings

LEAKED = 1  # exit code
_INJECTION = """\
--inject RIVA_005:0.01,AUDIO_003:0.001 raises errors on purpose, to see what becomes of them; `voxtree errors CODE` says
of what the number is the probability.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the server until SIGTERM or Ctrl-C; running sessions then get their last words first. "
        "SIGHUP reads the settings again and uses the backends in them."
    )
    add_settings_arguments(parser, host="server.host", port="server.port", inject="inject.rates")
    parser.epilog = _INJECTION


def run(args: argparse.Namespace) -> int:
    def load() -> Settings:
        return loaded_settings(args).settings

    settings = load()
    configure(settings.log)
    asyncio.run(serve(settings, load))
    return 0


async def serve(settings: Settings, load: Callable[[], Settings]) -> None:
    """Serve until a signal comes, then stop in order. `load` reads the settings again, at SIGHUP."""
    with _until_signalled(), anyio.open_signal_receiver(signal.SIGHUP) as hangups:
        if sys.stderr.isatty() and settings.uses_embedded:
            print("starting the embedded recogniser …", file=sys.stderr)
        async with serving(settings, on_leak=_end_process) as app, anyio.create_task_group() as tasks:
            _welcome(app, settings)
            tasks.start_soon(_reload_at, hangups, app, settings, load)
            await app.tree.wait()
            tasks.cancel_scope.cancel()


async def _reload_at(
    hangups: AsyncIterator[signal.Signals], app: App, settings: Settings, load: Callable[[], Settings]
) -> None:
    async for _ in hangups:
        settings = await reload(app, settings, load)


@contextmanager
def _until_signalled() -> Iterator[None]:
    """The first signal cancels the body, which stops in order; the second ends the process at once."""
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as body:

        def on_signal(number: int) -> None:
            if body.cancel_called:
                os._exit(128 + number)
            body.cancel()
            with suppress(OSError):  # whoever read it may be gone
                print("stopping: sessions get their last words first (again to stop at once)", file=sys.stderr)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        yield


def _end_process(stuck: list[Path]) -> None:
    """Something in the tree does not stop, and all else has: wait no longer for it."""
    for path in stuck:
        print(f"{'/'.join(path)} does not stop; ending the process without it", file=sys.stderr)
    os._exit(LEAKED)


def _welcome(app: App, settings: Settings) -> None:
    recognisers = ", ".join(f"{backend.name} at {backend.address}" for backend in settings.backends)
    if app.embedded is not None:
        embedded = f"the embedded one (English, {app.embedded.max_streams} streams)"
        recognisers = f"{recognisers}, {embedded}" if recognisers else embedded
    print(f"listening on   {app.url}")
    print(f"recognisers    {recognisers}")
    print(f"journal        {app.journal.name}: {SURVIVES[app.journal.durability]}")
    if app.faults is not None:
        print(f"INJECTED       {app.faults}")
    print(f"try this       voxtree transcribe FILE.wav --url {app.url}", flush=True)
