"""`voxtree serve`: the server, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import anyio
from prometheus_client import disable_created_metrics

from actors.speech.error_handler import ErrorContext
from actors.speech.errors import UnexpectedError
from supervisor.errors import Path
from transport import loops
from transport.app import App, serving
from transport.cli.common import SURVIVES, add_settings_arguments, loaded_settings
from transport.logs import configure
from transport.reload import reload
from transport.settings import Settings
from transport.systemd import Notifier

LEAKED = 1  # exit code
STOP_SECONDS = 10.0  # besides `server.shutdown_timeout`: for the journal, the backends, the recogniser's process
_INJECTION = """\
--inject RIVA_005:0.01,AUDIO_003:0.001 raises errors on purpose, to see what becomes of them; `voxtree errors CODE` says
of what the number is the probability.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the server until SIGTERM or Ctrl-C; running sessions then get their last words first. "
        "SIGHUP reads the settings again, and uses the backends, limits, origins and the log's form in them."
    )
    add_settings_arguments(parser, host="server.host", port="server.port", inject="inject.rates")
    parser.epilog = _INJECTION


def run(args: argparse.Namespace) -> int:
    def load() -> Settings:
        return loaded_settings(args).settings

    settings = load()
    configure(settings.log)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter: when it began
    loops.run(serve(settings, load), settings.server.loop)
    return 0


async def serve(settings: Settings, load: Callable[[], Settings]) -> None:
    """Serve until a signal comes, then stop in order. `load` reads the settings again, at SIGHUP."""
    with (
        Notifier() as manager,
        _until_signalled(partial(manager.stopping, settings.server.shutdown_timeout + STOP_SECONDS)),
        anyio.open_signal_receiver(signal.SIGHUP) as hangups,
    ):
        if sys.stderr.isatty() and settings.uses_embedded:
            print("starting the embedded recogniser …", file=sys.stderr)
        async with serving(settings, on_leak=_end_process) as app, anyio.create_task_group() as tasks:
            asyncio.get_running_loop().set_exception_handler(partial(_report, app))
            _welcome(app, settings)
            manager.ready(f"listening on {app.url}")
            _spare_collector()
            tasks.start_soon(_reload_at, hangups, app, settings, load, manager)
            await app.tree.wait()
            tasks.cancel_scope.cancel()


async def _reload_at(
    hangups: AsyncIterator[signal.Signals],
    app: App,
    settings: Settings,
    load: Callable[[], Settings],
    manager: Notifier,
) -> None:
    async for _ in hangups:
        manager.reloading()
        settings = await reload(app, settings, load)
        manager.ready(f"listening on {app.url}")


@contextmanager
def _until_signalled(on_stop: Callable[[], None]) -> Iterator[None]:
    """The first signal calls `on_stop` and cancels the body, which stops in order; the second ends the process."""
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as body:

        def on_signal(number: int) -> None:
            if body.cancel_called:
                os._exit(128 + number)
            body.cancel()
            on_stop()
            with suppress(OSError):  # whoever read it may be gone
                print("stopping: sessions get their last words first (again to stop at once)", file=sys.stderr)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        yield


def _spare_collector() -> None:
    """What is there by now stays: modules, classes, the tree. To look through it stops the event loop for 50 ms.

    That comes due when many objects are made, so just when all sessions change their backend at once.
    """
    gc.collect()
    gc.freeze()


def _report(app: App, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio meets and nobody awaits: as that no connection can be accepted for want of file descriptors."""
    error = context.get("exception") or UnexpectedError(context["message"])
    if "Invalid file descriptor" not in str(error):  # it wants to listen again on what was closed meanwhile
        app.errors.report(error, ErrorContext(path="asyncio"))


def _end_process(stuck: list[Path]) -> None:
    """Something in the tree does not stop, and all else has: wait no longer for it."""
    for path in stuck:
        print(f"{'/'.join(path)} does not stop; ending the process without it", file=sys.stderr)
    logging.shutdown()  # repeats that were held back
    os._exit(LEAKED)


def _welcome(app: App, settings: Settings) -> None:
    recognisers = ", ".join(f"{backend.name} at {backend.address}" for backend in settings.backends)
    if app.embedded is not None:
        embedded = f"the embedded one (English, {app.embedded.max_streams} streams)"
        recognisers = f"{recognisers}, {embedded}" if recognisers else embedded
    print(f"listening on   {app.url}")
    print(f"recognisers    {recognisers}")
    print(f"journal        {app.journal.name}: {SURVIVES[app.journal.durability]}")
    if app.admin is not None:
        print(f"console        {app.admin.login_url()}{'' if settings.admin.token_file is None else ' (works once)'}")
    if app.faults is not None:
        print(f"INJECTED       {app.faults}")
    if settings.dialects.enabled:
        print(f"also speaks    {', '.join(settings.dialects.enabled)}")
    for name, address in app.other_doors().items():
        print(f"{name:14} {address.host}:{address.port}")
    if settings.server.page:
        print(f"page           {app.url.replace('ws', 'http', 1).removesuffix('transcribe')}")
    print(f"try this       voxtree transcribe FILE.wav --url {app.url}", flush=True)
