"""The loop's side of the admin plane: a supervised child that gives signs of life, looks around, and obeys."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread
from prometheus_client.registry import Collector

from supervisor.incarnation import Incarnation
from supervisor.spec import Child, Intensity, Restart
from supervisor.tree import Supervisor
from transport.admin.access import make_access
from transport.admin.board import Board
from transport.admin.orders import Clerk, Orders
from transport.admin.pages import Pages
from transport.admin.server import AdminServer
from transport.admin.state import Check, State, Timeline
from transport.settings import Admin as AdminSettings

BEAT_SECONDS = 0.25  # between signs of life
LOOK_SECONDS = 0.5  # between states while somebody looks …
GLANCE_SECONDS = 10.0  # … and while nobody does: what there is to show of a loop that has come to a standstill
SHARE = 0.03  # of the loop's time that looking around may take at most: many sessions are looked at less often
LAGS = 240  # that are shown: of the last minute
CLOSE_SECONDS = 2.0
BUDGET = Intensity(restarts=5, seconds=60.0)  # if it keeps failing the server goes on without


class Surveyor(Protocol):
    """Looks at a server, in its event loop."""

    @property
    def is_up(self) -> bool:
        """All parts have been started."""

    def checks(self) -> dict[str, Check]:
        """What must be well for the server to be of use. Cheap: it goes with every sign of life."""

    async def take(self, checks: dict[str, Check], lags: tuple[float, ...]) -> State:
        """How everything stands."""


class Admin:
    """The admin port of a server.

    Args:
        survey: looks at the server.
        registry: what /metrics shows.
        timeline: a session's, for whoever asks; called from threads.
        clerk: carries orders out, where `admin.actions` allows any.

    Raises:
        SettingsError: the token's file cannot be used.
    """

    def __init__(
        self,
        wanted: AdminSettings,
        survey: Surveyor,
        registry: Collector,
        timeline: Callable[[str], Timeline | None],
        clerk: Clerk,
    ) -> None:
        self._wanted = wanted
        self._survey = survey
        self._registry = registry
        self._timeline = timeline
        self._clerk = clerk
        self._access = make_access(wanted)
        self._server: AdminServer | None = None

    @property
    def url(self) -> str:
        """Where it listens (`http://127.0.0.1:8601`); empty: it does not."""
        return "" if self._server is None else self._server.url

    def login_url(self) -> str:
        """The console, for one browser; a login link if it takes a login. Empty: it does not listen."""
        return "" if self._server is None else self._server.url + self._access.new_link()

    def child(self) -> Child:
        """It as a child of the application's tree: to be started early, so that it shows how the others do."""
        return Supervisor.child("admin", [Child("port", self.run)], restart=Restart.TEMPORARY, intensity=BUDGET)

    async def run(self, *, task_status: Incarnation) -> None:
        """Listen until cancelled.

        Raises:
            CannotListen: the address is taken, unknown, or not this machine's.
        """
        board = Board()
        wake = _Waker(asyncio.get_running_loop())
        orders = Orders(wake.call) if self._wanted.actions else None
        pages = Pages(board, self._registry, self._access, self._timeline, orders)
        listen = partial(AdminServer, self._wanted.host, self._wanted.port, pages)
        self._server = server = await anyio.to_thread.run_sync(listen)
        try:
            task_status.started()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_watch, board, self._survey)
                if orders is not None:
                    await _obey(orders, self._clerk, wake)
        finally:
            self._server = None
            if orders is not None:
                orders.refuse_all()
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await anyio.to_thread.run_sync(server.stop, abandon_on_cancel=True)


async def _watch(board: Board, survey: Surveyor) -> None:
    """Give signs of life; look around as often as somebody wants to know, and as it may cost."""
    lags: deque[float] = deque(maxlen=LAGS)
    next_look = next_glance = 0.0
    board.beat(survey.checks(), started=survey.is_up)
    while True:
        before = time.monotonic()
        await anyio.sleep(BEAT_SECONDS)
        now = time.monotonic()
        lags.append(round(max(0.0, now - before - BEAT_SECONDS) * 1000, 1))
        checks = survey.checks()
        board.beat(checks, started=survey.is_up)
        if now >= (next_look if board.is_watched else next_glance):
            began = time.thread_time()  # waiting for others costs the loop nothing
            board.publish(await survey.take(checks, tuple(lags)))
            took = time.thread_time() - began
            next_look = now + max(LOOK_SECONDS - BEAT_SECONDS / 2, took / SHARE)
            next_glance = now + GLANCE_SECONDS


async def _obey(orders: Orders, clerk: Clerk, wake: _Waker) -> None:
    while True:
        await wake.wait()
        await orders.carry_out_all(clerk)


class _Waker:
    """Wakes a task of this loop from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken = asyncio.Event()

    def call(self) -> None:
        """From any thread. Raises RuntimeError when the loop is closed."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self) -> None:
        await self._woken.wait()
        self._woken.clear()
