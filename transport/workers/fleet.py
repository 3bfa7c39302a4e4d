"""A server of several processes: builds the parent's tree, and is to the command line what an `App` is."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path

import anyio
import msgspec
from prometheus_client import CollectorRegistry

from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import NotReloaded
from actors.speech.policies import SERVER_POLICIES
from supervisor.errors import Path as TreePath
from supervisor.spec import Child, Intensity
from supervisor.tree import Supervisor
from supervisor.watchdog import Watchdog
from transport.admin.admin import Admin
from transport.admin.chronicle import Chronicle
from transport.alerts import Alerts
from transport.app import BUDGET
from transport.embedded_backend import embedded_endpoint, make_embedded
from transport.front_door import Address, url_of
from transport.layers import SettingsError
from transport.logs import Logging, configure
from transport.observers import Observers
from transport.reload import adopted, needs_restart
from transport.reporting import Reporting
from transport.settings import EMBEDDED_NAME, Settings
from transport.starting import explained
from transport.wire.client_secrets import KEY_BYTES
from transport.workers.clerk import FleetClerk
from transport.workers.elsewhere import Exchange
from transport.workers.merging import Ledger, Merged, parsed
from transport.workers.metrics import FleetMetrics
from transport.workers.ports import Ports
from transport.workers.process import WorkerProcess
from transport.workers.reports import Backends, context_of
from transport.workers.shares import settings_of
from transport.workers.survey import FleetSurvey
from transport.workers.turns import shared_file
from transport.workers.wire import Assignment, BackendChanged, Failed, Parting, Reload, Said
from transport.workers.worker import Worker

STOP_SECONDS = 8.0  # that a worker gets besides `server.shutdown_timeout`, to end in order
# If each of them died ten times in a minute, another one would too.
RESTARTS_EACH, RESTART_SECONDS = 10, 60.0
SLOTS_EACH = 2  # processes that a worker has while one takes another's place

_replace = msgspec.structs.replace
logger = logging.getLogger("voxtree.workers")


class Fleet:
    """Watchdog, admin port, alerts, the embedded recogniser, and the workers. Run it with `async with fleet.tree`.

    Args:
        settings: of the whole server.
        count: how many workers.
        on_leak: see `Supervisor`.

    Raises:
        CannotListen: a port cannot be had.
    """

    def __init__(self, settings: Settings, count: int, on_leak: Callable[[list[TreePath]], None] | None = None) -> None:
        self._ports = Ports(settings)
        self.settings = self._ports.settings
        self._turns = shared_file(SLOTS_EACH * count)
        self._folder = tempfile.mkdtemp(prefix="voxtree-")
        self._secrets = secrets.token_bytes(KEY_BYTES)
        self._rolling = anyio.Lock()
        self.registry = CollectorRegistry()
        self.errors = ErrorHandler(self.registry, listener=lambda error: self._observers.error(error))
        self.workers = [
            Worker(number, partial(self._process, number), self._gone, self.retire) for number in range(count)
        ]
        self._ledger = Ledger()
        self._metrics = FleetMetrics(self.registry, self.workers, self._ledger)
        self.alerts = Alerts(settings.alerts, self.errors, self.registry) if settings.alerts.sinks else None
        chronicle = Chronicle()
        alerts = [] if self.alerts is None else [self.alerts]
        self._observers = Observers([Reporting(self.errors), Logging(), chronicle, *alerts])
        self._backends = Backends(lambda event: self.alerts.pool(event) if self.alerts is not None else None)
        self.embedded = make_embedded(settings.embedded) if settings.uses_embedded else None
        self._survey = FleetSurvey(
            lambda: self.tree, self.workers, self.url, chronicle.errors, actions=settings.admin.actions
        )
        self.admin = self._admin(settings) if settings.admin.enabled else None
        self.tree = Supervisor(
            self._children(),
            name="voxtree",
            intensity=BUDGET,
            policies=SERVER_POLICIES,
            on_event=self._observers.tree,
            on_leak=on_leak,
        )

    @property
    def url(self) -> str:
        """Where clients connect."""
        server = self.settings.server
        return url_of(server.host, server.port, encrypted=self.settings.tls.cert_file is not None)

    def other_doors(self) -> dict[str, Address]:
        """Where else clients of other systems connect, by name."""
        host, dialects = self.settings.server.host, self.settings.dialects
        ports = {"riva over gRPC": dialects.riva_port, "vosk": dialects.vosk_port}
        return {name: Address(host, port) for name, port in ports.items() if port is not None}

    def retire(self) -> None:
        """Have all workers send their clients elsewhere at the same time, and end."""
        self._ports.refuse()
        for worker in self.workers:
            worker.retire()

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self.workers:
            worker.kill()

    def close(self) -> None:
        """Let go of ports and files, when the tree has ended."""
        self._ports.close()
        os.close(self._turns)
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- other settings

    async def reload(self, load: Callable[[], Settings]) -> None:
        """Read the settings again, and have all workers use what they can. Raises nothing."""
        if (wanted := self._loaded(load)) is None:
            return
        for path in needs_restart(self.settings, wanted):
            text = "a changed setting needs a restart: %s (SIGUSR2 replaces the workers, one after the other)"
            logger.warning(text, path, extra={"event": "settings.needs_restart"})
        self.settings = adopted(self.settings, wanted)
        for worker in self.workers:
            if (process := worker.serving) is not None:
                await process.order(Reload(self._share(worker.number, process.admin)))

    async def roll(self, load: Callable[[], Settings] | None = None) -> None:
        """Replace the workers one after the other, with settings read again. Raises nothing.

        A worker that cannot be replaced goes on, and so do those after it.
        """
        if self._rolling.locked():
            return
        async with self._rolling:
            if load is not None:
                if (wanted := self._loaded(load)) is None:
                    return
                self.settings = wanted
            for worker in self.workers:
                try:
                    await worker.replace()
                except Exception as error:  # it says so itself, or died of a defect that the log has
                    self.errors.report(error, ErrorContext(path=f"voxtree/workers/worker:{worker.number}"))
                    return
            logger.info("all workers were replaced", extra={"event": "workers.rolled"})

    def _loaded(self, load: Callable[[], Settings]) -> Settings | None:
        try:
            found = load()
        except SettingsError as error:
            problems = "; ".join(error.problems)
            self.errors.report(NotReloaded(f"all goes on as before: {problems}"), ErrorContext(path="settings"))
            return None
        except Exception as defect:  # ours; a server that goes on with what it has is better than none
            self.errors.report(defect, ErrorContext(path="settings"))
            return None
        wanted = self._where_we_are(found)
        for path in needs_restart(wanted, found):
            if attrgetter(path)(found) != 0:  # with which whatever port it is is as wanted
                text = "a changed address needs a restart of the whole server: %s"
                logger.warning(text, path, extra={"event": "settings.needs_restart"})
        if wanted.log != self.settings.log:
            configure(wanted.log)
        return wanted

    def _where_we_are(self, wanted: Settings) -> Settings:
        """Other settings at the addresses that are held: these are bound once."""
        server, dialects = self.settings.server, self.settings.dialects
        return _replace(
            wanted,
            server=_replace(wanted.server, host=server.host, port=server.port),
            dialects=_replace(wanted.dialects, vosk_port=dialects.vosk_port, riva_port=dialects.riva_port),
        )

    # ---- the workers

    def _process(self, number: int, life: int) -> WorkerProcess:
        admin = str(Path(self._folder, f"worker-{number}-{life}.sock"))
        assignment = Assignment(
            number,
            self._share(number, admin),
            self._secrets,
            sockets=self._ports.descriptors(),
            turns=self._turns,
            slot=SLOTS_EACH * number + life % SLOTS_EACH,
        )
        return WorkerProcess(assignment, life, admin, self.settings.server.shutdown_timeout, self._on_word)

    def _share(self, number: int, admin: str) -> Settings:
        embedded = None if self.embedded is None else embedded_endpoint(self.embedded)
        return settings_of(self.settings, number, len(self.workers), admin=admin, embedded=embedded)

    def _on_word(self, process: WorkerProcess, word: Said) -> None:
        match word:
            case Failed():
                if self.alerts is not None:
                    self.alerts.error(context_of(word))
            case BackendChanged():
                self._backends.changed(process, word)
            case Parting(metrics):
                self._ledger.saw(process.number, process.life, parsed(metrics))

    def _gone(self, process: WorkerProcess) -> None:
        self._backends.gone(process)
        self._metrics.gone(process)

    # ---- the tree

    def _children(self) -> list[Child]:
        patience = self.settings.server.shutdown_timeout + STOP_SECONDS
        workers = [Child(f"worker:{each.number}", each.run, shutdown=patience) for each in self.workers]
        budget = Intensity(restarts=RESTARTS_EACH * len(workers), seconds=RESTART_SECONDS)
        return [
            Child("watchdog", Watchdog().run),
            *([] if self.admin is None else [self.admin.child()]),
            Child("errors", self.errors.run),
            *([] if self.alerts is None else [self.alerts.child()]),
            *([] if self.embedded is None else [Child(EMBEDDED_NAME, self.embedded.run)]),
            Child("exchange", Exchange(self._serving).run),
            Supervisor.child("workers", workers, intensity=budget, policies=SERVER_POLICIES),
        ]

    def _serving(self) -> Iterator[WorkerProcess]:
        return (process for worker in self.workers if (process := worker.serving) is not None)

    def _admin(self, settings: Settings) -> Admin:
        merged = Merged(self.registry, self._metrics.scrape)
        clerk = FleetClerk(lambda: self.tree, self.workers, self.roll)
        return Admin(settings.admin, self._survey, merged, self._survey.timeline, clerk)


@asynccontextmanager
async def serving(
    settings: Settings, count: int, on_leak: Callable[[list[TreePath]], None] | None = None
) -> AsyncGenerator[Fleet, None]:
    """A server of so many workers that runs while the context is open.

    Raises:
        CannotStart: with what to say to whoever wanted it.
    """
    fleet = Fleet(settings, count, on_leak)
    try:
        with explained():
            async with fleet.tree:
                yield fleet
    finally:
        fleet.close()
