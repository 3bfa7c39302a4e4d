"""What a supervisor does about its own start and end and about deaths: supervisor.erl's functions, as generators."""

from __future__ import annotations

from supervisor.commands import (
    Ended,
    Entry,
    Exited,
    NotUp,
    Request,
    RetryDue,
    RetryLater,
    Steps,
    Up,
)
from supervisor.errors import (
    Escalated,
    StartFailed,
    SupervisorGone,
)
from supervisor.lives import RESTARTING, STOPPED, Lives, Phase, Waiting
from supervisor.policy import RESTART, Directive, Gate, Policy
from supervisor.reports import (
    BreakerOpened,
    BreakerProbed,
    BudgetSpent,
    ChildFailed,
    ChildRestarting,
    ErrorEscalated,
    Exit,
    ExitKind,
    GaveUp,
    Occasion,
    SignificantEnded,
)
from supervisor.spec import AutoShutdown, Restart, Strategy


class Procedures(Lives):
    """Booting, ending, and what follows from a child's end."""

    # ---- the whole supervisor

    def _boot(self) -> Steps:
        for child in self._boot_list:
            entry = self._add(child, self._boot_context, child.id)
            error = yield from self._start(entry, Occasion.BOOT)
            if error is not None:
                self._remove(entry)
                yield from self._stop_all()
                self._close()
                self._out.append(NotUp(StartFailed(entry.path, error)))
                return
            if entry.state is STOPPED and self._forgets(entry):
                self._remove(entry)
        self.phase = Phase.UP
        self._out.append(Up())

    def _stop_all(self) -> Waiting[None]:
        for entry in reversed(self._entries.values()):
            yield from self._stop(entry)

    def _end(self, exit: Exit, cause: Escalated | None = None) -> Steps:
        """Stop all children, in reverse start order or (dynamic) all at once, and end with `exit`."""
        self.phase = Phase.ENDING
        self._stopping = True
        self._exit, self._cause = exit, cause
        if not self._dynamic:
            yield from self._stop_all()
            self._finish()
            return
        self._abort_starts()
        for entry in tuple(self._entries.values()):
            if entry.waiter is None:  # those with one are being stopped, or their start is being called off
                self._run(self._stop_and_forget(entry))

    def _finish(self) -> None:
        self._close()
        self._out.append(Ended(self._exit, self._cause))

    def _close(self) -> None:
        self.phase = Phase.ENDED
        for item in self._inbox:
            if isinstance(item, Request):
                self._answer(item.reply, error=SupervisorGone(self.path))
        self._inbox.clear()

    # ---- deaths and restarts

    def _on_death(self, item: Exited) -> Steps | None:
        entry = item.entry
        if entry.exit is not item.exit:
            return None  # dealt with already, when it was to be stopped
        entry.exit = None
        entry.value = None
        entry.state = STOPPED
        if entry.child.restart is Restart.PERMANENT or item.exit.abnormal:
            self._emit(ChildFailed(path=entry.path, number=entry.number, exit=item.exit))
        return self._decide(entry, item.exit.error, item.exit.abnormal)

    def _on_retry(self, item: RetryDue) -> Steps | None:
        entry = item.entry
        if entry.state is not RESTARTING or entry.token != item.token:
            return None  # called off
        if item.counted:
            return self._try_restart(entry)
        return self._decide(entry, entry.error, abnormal=True)

    def _decide(self, entry: Entry, error: BaseException | None, abnormal: bool) -> Steps:
        """By policy and restart type: end the supervisor, restart the child, or leave it."""
        policy = self._policies.lookup(error) if abnormal else RESTART
        if error is not None and not isinstance(error, Exception):
            policy = Policy(Directive.STOP)  # KeyboardInterrupt, SystemExit: the whole tree is about to end
        self._tell_breaker(entry, error, policy.breaker)
        if policy.directive is Directive.ESCALATE:
            yield from self._escalate(entry, error)
            return
        abnormal = abnormal and policy.directive is not Directive.CONTINUE
        restart = entry.child.restart
        wanted = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and abnormal)
        if wanted and policy.directive is not Directive.STOP:
            yield from self._restart(entry, error, policy)
        else:
            yield from self._retire(entry)

    def _escalate(self, entry: Entry, error: BaseException | None) -> Steps:
        entry.state = STOPPED
        self._emit(ErrorEscalated(path=self.path, child=entry.path, error=error))
        cause = Escalated(self.path, entry.path, error)
        yield from self._end(Exit(ExitKind.CRASHED, error or cause), cause)

    def _retire(self, entry: Entry) -> Steps:
        """It is not restarted. That may be the end of the supervisor too (auto_shutdown)."""
        entry.state = STOPPED
        if self._forgets(entry):
            self._remove(entry)
        if entry.child.significant and not self._significant_left():
            self._emit(SignificantEnded(path=self.path, child=entry.path))
            yield from self._end(Exit(ExitKind.SHUTDOWN))

    def _significant_left(self) -> bool:
        """Whether one of those that must all have ended is alive; looks on from where it last found one."""
        if self._options.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            return False
        for _ in range(len(self._significant)):
            id, entry = next(iter(self._significant.items()))
            if entry.state is not STOPPED:
                return True
            self._significant.move_to_end(id)
        return False

    def _restart(self, entry: Entry, error: BaseException | None, policy: Policy) -> Steps:
        if entry.budget is not None and not entry.budget.allow(self._now):
            self._emit(BudgetSpent(path=entry.path, number=entry.number, error=error))
            yield from self._retire(entry)
            return
        if not self._window.allow(self._now):
            entry.state = STOPPED
            self._emit(GaveUp(path=self.path, child=entry.path, error=error))
            cause = Escalated(self.path, entry.path, error)
            yield from self._end(Exit(ExitKind.SHUTDOWN, cause), cause)
            return
        delay = self._delay(entry, error, policy)
        self._emit(ChildRestarting(path=entry.path, number=entry.number, error=error, delay=delay))
        entry.breaker = policy.breaker
        entry.error = error
        if delay == 0.0:
            yield from self._try_restart(entry)
        else:
            yield from self._pause(entry, delay)

    def _try_restart(self, entry: Entry) -> Steps:
        """Restart it now, unless a breaker holds it back."""
        delay = self._ask_breaker(entry)
        if delay == 0.0:
            yield from self._restart_group(entry)
        else:
            yield from self._pause(entry, delay)

    def _pause(self, entry: Entry, delay: float) -> Steps:
        # What depends on the failed child stops now; it would only meet its absence.
        yield from self._stop_group(entry)
        self._out.append(RetryLater(self._await_retry(entry, entry.error, counted=True), delay))

    def _ask_breaker(self, entry: Entry) -> float:
        breaker = entry.breaker
        if breaker is None:
            return 0.0
        delay = breaker.ask(entry, self._now)
        if breaker.is_probe(entry):
            entry.probe = breaker
            self._emit(BreakerProbed(path=entry.path, number=entry.number, breaker=breaker.name))
        return delay

    def _tell_breaker(self, entry: Entry, error: BaseException | None, breaker: Gate | None) -> None:
        if entry.probe is not breaker:
            self._release_probe(entry)
        entry.probe = None
        seconds = breaker.failed(entry, self._now) if breaker is not None else None
        if breaker is not None and seconds is not None:
            self._emit(
                BreakerOpened(path=entry.path, number=entry.number, breaker=breaker.name, error=error, seconds=seconds)
            )

    def _delay(self, entry: Entry, error: BaseException | None, policy: Policy) -> float:
        if policy.backoff is None:
            return 0.0
        if entry.since is not None and self._now - entry.since >= policy.backoff.reset_after:
            entry.attempts = 0
        entry.since = None
        entry.attempts += 1
        return policy.delay(error, entry.attempts - 1, self._random)

    def _await_retry(self, entry: Entry, error: BaseException | None, *, counted: bool) -> RetryDue:
        entry.state = RESTARTING
        entry.error = error
        entry.token += 1
        return RetryDue(entry, entry.token, counted)

    def _group(self, entry: Entry) -> list[Entry]:
        """Who is restarted when `entry` fails, in start order."""
        match self._options.strategy:
            case Strategy.ONE_FOR_ALL:
                return list(self._entries.values())
            case Strategy.REST_FOR_ONE:
                group: list[Entry] = []
                for other in reversed(self._entries.values()):  # from the younger end: it costs what is restarted
                    group.append(other)
                    if other is entry:
                        break
                return group[::-1]
            case _:
                return [entry]

    def _stop_group(self, entry: Entry) -> Waiting[None]:
        for other in reversed(self._group(entry)):
            if other is not entry:
                yield from self._stop(other)
                if self._forgets(other):
                    self._remove(other)

    def _restart_group(self, entry: Entry) -> Steps:
        yield from self._stop_group(entry)
        for one in self._group(entry):
            error = yield from self._start(one, Occasion.RESTART)
            if error is not None and self._dynamic and (one.doomed or self._stopping):
                self._remove(one)
            elif error is not None:
                self._inbox.append(self._await_retry(one, error, counted=False))
                return
            elif one.state is STOPPED and self._forgets(one):
                self._remove(one)
