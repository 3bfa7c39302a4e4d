"""The configured endpoints of a running server: a channel, a watcher and a place in the pool for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count

import anyio
import msgspec

from actors.speech.backends.events import PoolEvent
from actors.speech.errors import SpeechError
from actors.speech.policies import SERVER_POLICIES
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionBackend
from supervisor.errors import NotRunning
from supervisor.incarnation import Incarnation
from supervisor.spec import Child, Intensity, Restart
from supervisor.tree import Supervisor
from transport.riva.channel import Endpoint
from transport.riva.client import RivaBackend
from transport.riva.preflight import Model

BUDGET = Intensity(restarts=10, seconds=10.0)
CLOSE_SECONDS = 2.0  # for a channel, whose streams have ended before
LAST_REPORTS = 0.05  # seconds in which gRPC reports calls that were just cancelled, to an event loop that must be there


class Changes(msgspec.Struct, frozen=True):
    """What a new configuration changed, by name."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Backends:
    """Holds the channels, and tells the pool when connections are made and lost, before a stream meets that.

    Args:
        endpoints: at least one, each with a name of its own.
        supervisor: gives the running supervisor that `child` describes.
        listener: told what happens in the pool.
        disguise: what sessions are lent instead of an endpoint's own backend.

    Raises:
        ValueError: an endpoint's certificate files cannot be used.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        supervisor: Callable[[], Supervisor],
        listener: Callable[[PoolEvent], None],
        disguise: Callable[[RivaBackend], RecognitionBackend] = lambda backend: backend,
    ) -> None:
        self._supervisor = supervisor
        self._riva = {endpoint.name: RivaBackend(endpoint) for endpoint in endpoints}
        self._disguise = disguise
        self._lent = {backend: disguise(backend) for backend in self._riva.values()}
        self._numbers = count(1)
        self.pool = BackendPool(self._lent.values(), listener)

    def child(self) -> Child:
        """The supervisor of channels, watchers and questions, as a child of the application's tree."""
        return Supervisor.child("backends", self._children, intensity=BUDGET, policies=SERVER_POLICIES)

    async def models(self) -> tuple[Model, ...]:
        """What the endpoints have loaded, in their order; what several say alike is there once.

        Endpoints that do not answer are left out.

        Raises:
            SpeechError: none of them answers.
        """
        answers: dict[RivaBackend, tuple[Model, ...]] = {}
        errors: list[SpeechError] = []

        async def ask(backend: RivaBackend) -> None:
            try:
                answers[backend] = (await backend.models()).models
            except SpeechError as error:
                errors.append(error)

        backends = tuple(self._riva.values())
        async with anyio.create_task_group() as tasks:
            for backend in backends:
                tasks.start_soon(ask, backend)
        if not answers and errors:
            raise errors[0]
        loaded = [model for backend in backends for model in answers.get(backend, ())]
        return tuple(model for place, model in enumerate(loaded) if model not in loaded[:place])

    async def reconfigure(self, endpoints: Iterable[Endpoint]) -> Changes:
        """These are the endpoints from now on; no session is dropped.

        Settings that a connection can live with are used from the next stream on. Where another connection is needed,
        and where an endpoint is removed, streams move at the ends of their utterances.

        Raises:
            ValueError: they cannot be used; nothing was changed then.
        """
        before = dict(self._riva)
        wanted = {endpoint.name: endpoint for endpoint in endpoints}
        kept = {name for name, backend in before.items() if name in wanted and backend.fits(wanted[name])}
        after = {name: before[name] if name in kept else RivaBackend(wanted[name]) for name in wanted}
        changed = tuple(name for name in wanted if name in before and before[name].endpoint != wanted[name])
        for name in kept:
            before[name].adopt(wanted[name])
        lent = {backend: self._lent.get(backend) or self._disguise(backend) for backend in after.values()}
        self.pool.reconfigure(lent.values())
        self._riva = after
        self._lent |= lent
        with suppress(NotRunning):  # it is being restarted, and finds the new ones then
            await self._replace_watchers(before)
        return Changes(
            added=tuple(name for name in wanted if name not in before),
            removed=tuple(name for name in before if name not in wanted),
            changed=changed,
        )

    async def _replace_watchers(self, before: dict[str, RivaBackend]) -> None:
        supervisor = self._supervisor()
        for name, backend in before.items():
            if self._riva.get(name) is not backend:
                await supervisor.terminate_child(_watcher(name))
                await supervisor.delete_child(_watcher(name))
                await supervisor.start_child(self._closer(backend))
        for name, backend in self._riva.items():
            if before.get(name) is not backend:
                await supervisor.start_child(self._watcher(backend))

    # ---- the children

    def _children(self) -> list[Child]:
        return [
            Child("channels", self._hold_channels),
            Child("questions", self.pool.run),
            *(self._watcher(backend) for backend in self._riva.values()),
        ]

    async def _hold_channels(self, *, task_status: Incarnation) -> None:
        """They are made when they are needed, and closed here after everything that uses them has ended."""
        task_status.started()
        try:
            await task_status.stop_requested()
        finally:
            for backend in self._riva.values():
                await _close(backend)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(LAST_REPORTS)

    def _watcher(self, backend: RivaBackend) -> Child:
        async def watch() -> None:
            async for is_connected in backend.connections():
                tell = self.pool.ready if is_connected else self.pool.suspect
                tell(backend.name)

        return Child(_watcher(backend.name), watch)

    def _closer(self, backend: RivaBackend) -> Child:
        async def close() -> None:
            try:
                await self.pool.left(self._lent[backend])
            finally:
                del self._lent[backend]
                await _close(backend)

        return Child(f"close {backend.name} {next(self._numbers)}", close, restart=Restart.TEMPORARY)


def _watcher(name: str) -> str:
    return f"watch {name}"


async def _close(backend: RivaBackend) -> None:
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await backend.aclose()
