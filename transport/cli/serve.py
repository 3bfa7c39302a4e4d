"""`voxtree serve`: the server, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial

import anyio
from prometheus_client import disable_created_metrics

from actors.speech.injection import Faults
from transport import loops
from transport.app import App, serving
from transport.cli.common import SURVIVES, add_settings_arguments, loaded_settings
from transport.journal import make_journal
from transport.logs import configure
from transport.processes import end_process, report_to, spare_collector
from transport.reload import reload
from transport.settings import Settings
from transport.systemd import Notifier
from transport.workers import fleet
from transport.workers.fleet import Fleet
from transport.workers.ports import worker_count

STOP_SECONDS = 10.0  # besides `server.shutdown_timeout`: for the journal, the backends, the recogniser's process
_INJECTION = """\
--inject RIVA_005:0.01,AUDIO_003:0.001 raises errors on purpose, to see what becomes of them; `voxtree errors CODE` says
of what the number is the probability.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the server until SIGTERM or Ctrl-C; running sessions then get their last words first. "
        "SIGHUP reads the settings again, and uses the backends, limits, origins and the log's form in them. "
        "SIGUSR2 replaces the worker processes one after the other, with all settings read again."
    )
    add_settings_arguments(
        parser, host="server.host", port="server.port", workers="server.workers", inject="inject.rates"
    )
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
    """Serve until a signal comes, then stop in order. `load` reads the settings again, at SIGHUP and SIGUSR2."""
    count = worker_count(settings)
    with (
        Notifier() as manager,
        _until_signalled(partial(manager.stopping, settings.server.shutdown_timeout + STOP_SECONDS)) as kill,
        anyio.open_signal_receiver(signal.SIGHUP, signal.SIGUSR2) as signals,
    ):
        if sys.stderr.isatty() and settings.uses_embedded:
            print("starting the embedded recogniser …", file=sys.stderr)
        async with AsyncExitStack() as stack:
            server: App | Fleet
            reread: Reread
            if count == 1:
                server = await stack.enter_async_context(serving(settings, on_leak=end_process))
                reread = _reader(server, settings, load)
            else:
                server = await stack.enter_async_context(fleet.serving(settings, count, on_leak=end_process))
                kill.append(server.kill)
                reread = _fleet_reader(server, load)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            asyncio.get_running_loop().set_exception_handler(report_to(server.errors))
            _welcome(server, settings, count)
            manager.ready(f"listening on {server.url}")
            spare_collector()
            tasks.start_soon(_reread_at, signals, reread, manager, server.url)
            await server.tree.wait()
            tasks.cancel_scope.cancel()


Reread = Callable[[signal.Signals], Awaitable[None]]


def _reader(app: App, settings: Settings, load: Callable[[], Settings]) -> Reread:
    async def reread(number: signal.Signals) -> None:
        nonlocal settings
        if number == signal.SIGUSR2:
            text = "there is one process only, and nothing to replace it: restart it (`server.workers`)"
            logging.getLogger("voxtree.workers").warning(text, extra={"event": "workers.not_rolled"})
            return
        settings = await reload(app, settings, load)

    return reread


def _fleet_reader(server: Fleet, load: Callable[[], Settings]) -> Reread:
    async def reread(number: signal.Signals) -> None:
        if number == signal.SIGUSR2:
            await server.roll(load)
        else:
            await server.reload(load)

    return reread


async def _reread_at(signals: AsyncIterator[signal.Signals], reread: Reread, manager: Notifier, url: str) -> None:
    async for number in signals:
        manager.reloading()
        await reread(number)
        manager.ready(f"listening on {url}")


@contextmanager
def _until_signalled(on_stop: Callable[[], None]) -> Iterator[list[Callable[[], None]]]:
    """The first signal calls `on_stop` and cancels the body, which stops in order; the second ends the process.

    Yields:
        what is called before that end.
    """
    loop = asyncio.get_running_loop()
    last: list[Callable[[], None]] = []
    with anyio.CancelScope() as body:

        def on_signal(number: int) -> None:
            if body.cancel_called:
                for call in last:
                    call()
                os._exit(128 + number)
            body.cancel()
            on_stop()
            with suppress(OSError):  # whoever read it may be gone
                print("stopping: sessions get their last words first (again to stop at once)", file=sys.stderr)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        yield last


def _welcome(server: App | Fleet, settings: Settings, count: int) -> None:
    recognisers = ", ".join(f"{backend.name} at {backend.address}" for backend in settings.backends)
    if server.embedded is not None:
        embedded = f"the embedded one (English, {server.embedded.max_streams} streams)"
        recognisers = f"{recognisers}, {embedded}" if recognisers else embedded
    journal = make_journal(settings, lambda report: None)
    print(f"listening on   {server.url}")
    if count > 1:
        print(f"workers        {count} processes")
    print(f"recognisers    {recognisers}")
    print(f"journal        {journal.name}: {SURVIVES[journal.durability]}")
    if server.admin is not None:
        print(
            f"console        {server.admin.login_url()}{'' if settings.admin.token_file is None else ' (works once)'}"
        )
    if any(settings.inject.rates.values()):
        print(f"INJECTED       {Faults(settings.inject.rates)}")
    if settings.dialects.enabled:
        print(f"also speaks    {', '.join(settings.dialects.enabled)}")
    for name, address in server.other_doors().items():
        print(f"{name:14} {address.host}:{address.port}")
    if settings.server.page:
        print(f"page           {server.url.replace('ws', 'http', 1).removesuffix('transcribe')}")
    print(f"try this       voxtree transcribe FILE.wav --url {server.url}", flush=True)
