"""One worker, as a supervised child of the parent: a process, and while it is replaced in order, two."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import anyio
from anyio.abc import TaskGroup, TaskStatus

from supervisor.incarnation import Incarnation
from transport.workers.process import Stage, WorkerProcess

Make = Callable[[int], WorkerProcess]


class Worker:
    """Keeps one worker going. If its process ends unasked, so does this child: its supervisor starts another.

    Args:
        make: a process that has not been started, by its number among those of this worker.
        on_gone: told of each process that has ended.
        on_stop: called when it is asked to stop.

    Attributes:
        processes: those that there are; the last one is for new clients.
        lives: how many there have been.
    """

    def __init__(
        self,
        number: int,
        make: Make,
        on_gone: Callable[[WorkerProcess], None],
        on_stop: Callable[[], None],
    ) -> None:
        self.number = number
        self.processes: list[WorkerProcess] = []
        self.lives = 0
        self._make = make
        self._on_gone = on_gone
        self._on_stop = on_stop
        self._numbers = count(1)
        self._tasks: TaskGroup | None = None
        self._lost: Exception | None = None

    @property
    def serving(self) -> WorkerProcess | None:
        """The process that takes new clients, if there is one."""
        return next((each for each in reversed(self.processes) if each.stage is Stage.SERVING), None)

    async def run(self, *, task_status: Incarnation) -> None:
        """A supervised child: start a process, and stay for as long as there is one.

        Raises:
            WorkerCannotStart: it says so itself, before this child has started.
            WorkerLost: its process has ended, and nobody had told it to.
        """
        self._lost = None
        task_status.on_stop(self._on_stop)
        try:
            async with anyio.create_task_group() as self._tasks:
                begun = await self._tasks.start(self._life)
                if isinstance(begun, WorkerProcess):
                    task_status.started(begun.pid)
                else:
                    self._lost = begun
        finally:
            self._tasks = None
        if self._lost is not None:
            raise self._lost
        await task_status.stop_requested()  # all are told when the first one is

    def retire(self) -> None:
        """Have all its clients sent elsewhere, and its processes ended."""
        for process in self.processes:
            process.retire()

    def kill(self) -> None:
        """End its processes at once."""
        for process in self.processes:
            process.kill()

    async def replace(self) -> None:
        """Start another process; once that serves, have the one before send its clients to it and to its siblings.

        Raises:
            WorkerCannotStart, WorkerLost: there is no other, and the one before goes on.
        """
        before, tasks = self.serving, self._tasks
        if tasks is None or before is None:
            return  # it is being started anyway
        begun = await tasks.start(self._life)
        if not isinstance(begun, WorkerProcess):
            raise begun
        before.retire()
        await before.ended.wait()

    async def _life(self, *, task_status: TaskStatus[WorkerProcess | Exception]) -> None:
        """A process's life. An error is never raised: the process that it may have to replace goes on."""
        process = self._make(next(self._numbers))
        self.processes.append(process)
        self.lives += 1
        try:
            await process.live(task_status=task_status)
        except Exception as error:
            task_status.started(error)
            return
        finally:
            self.processes.remove(process)
            self._on_gone(process)
        if process.error is not None and self._tasks is not None:
            self._lost = process.error
            self._tasks.cancel_scope.cancel()
