"""What a supervisor answers to requests about one child: supervisor.erl's handle_call."""

from __future__ import annotations

from supervisor.commands import (
    DeleteChild,
    Entry,
    RestartChild,
    StartChild,
    Steps,
    TerminateChild,
)
from supervisor.errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildError,
    InvalidSpec,
    MaxChildrenReached,
    NotDynamic,
    NotFound,
    StartFailed,
    StillRestarting,
    StillRunning,
)
from supervisor.lives import RESTARTING, STARTING, STOPPED
from supervisor.names import DynamicName
from supervisor.procedures import Procedures
from supervisor.reports import (
    Occasion,
)
from supervisor.spec import Child


class Requests(Procedures):
    """start_child, terminate_child, restart_child, delete_child, with their exact refusals."""

    def _start_child(self, item: StartChild) -> Steps:
        refusal = self._refusal(item.child)
        if refusal is not None:
            self._answer(item.reply, error=refusal)
            return
        entry = self._add(item.child, item.context, DynamicName(item.child.id))
        error = yield from self._start(entry, Occasion.CALL)
        if error is not None or (entry.state is STOPPED and self._forgets(entry)):
            self._remove(entry)
        self._answer_start(entry, item.reply, error)

    def _answer_start(self, entry: Entry, reply: object, error: BaseException | None) -> None:
        if error is not None:
            self._answer(reply, error=StartFailed(entry.path, error))
        else:
            self._answer(reply, entry.value)

    def _refusal(self, child: Child) -> Exception | None:
        try:
            self._options.check_child(child)
        except InvalidSpec as error:
            return error
        path = (*self.path, child.id)
        known = self._entries.get(child.id)
        if known is not None:
            return (AlreadyPresent if known.state in (STOPPED, RESTARTING) else AlreadyStarted)(path)
        limit = self._options.max_children
        return MaxChildrenReached(path) if limit is not None and len(self._entries) >= limit else None

    def _terminate_child(self, item: TerminateChild) -> Steps:
        entry = self._entries.get(item.id)
        if entry is None:
            # A dynamic child that is not there has ended already, which is what was asked for.
            error = None if self._dynamic else NotFound((*self.path, item.id))
            self._answer(item.reply, error=error)
        elif entry.waiter is not None:  # dynamic only: it is being started or stopped
            entry.joined = (*entry.joined, item.reply)
            if entry.state is STARTING and not entry.doomed:
                self._abort(entry)
        else:
            yield from self._stop_and_forget(entry)
            self._answer(item.reply)

    def _restart_child(self, item: RestartChild) -> Steps:
        entry, refusal = self._stopped(item.id)
        if entry is None:
            self._answer(item.reply, error=refusal)
            return
        error = yield from self._start(entry, Occasion.CALL)
        self._answer_start(entry, item.reply, error)

    def _delete_child(self, item: DeleteChild) -> None:
        entry, refusal = self._stopped(item.id)
        if entry is not None:
            self._remove(entry)
        self._answer(item.reply, error=refusal)

    def _stopped(self, id: str) -> tuple[Entry | None, ChildError | None]:
        """The child if it is there and not running, else why the request for it is refused."""
        path = (*self.path, id)
        entry = self._entries.get(id)
        if self._dynamic:
            return None, NotDynamic(path)
        if entry is None:
            return None, NotFound(path)
        if entry.state is STOPPED:
            return entry, None
        return None, (StillRestarting if entry.state is RESTARTING else StillRunning)(path)
