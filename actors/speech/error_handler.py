"""The one place every error passes: logged with its context, counted, timed, told to who asked, put into plain words.

The server uses it, and so may whoever has sessions of their own; see docs/error-handling.md.
"""

from __future__ import annotations

import errno
import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import msgspec
from anyio.abc import TaskStatus
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Entry, Severity
from actors.speech.errors import ResourcesExhausted, SpeechError

CALLBACK_SECONDS = 10.0  # that an async callback may take
MOST_WAITING = 1000  # calls of async callbacks; the oldest gives way
NO_MORE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})  # the process or the machine has

logger = logging.getLogger("voxtree.errors")


class ErrorContext(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about an error besides the error. Whoever handles one gives what it knows; the rest is filled in.

    Attributes:
        session_id, user_id: whose it is; empty: nobody's in particular.
        endpoint: the configured name of the backend concerned.
        error_code, severity: the catalogue's.
        original_error: what was raised.
        retry_attempt: how many attempts failed before this one.
        path: of the part of the server, in the tree: `voxtree/backends/questions`.
        ref: what the client was given to quote.
        when: seconds since 1970.
    """

    session_id: str = ""
    user_id: str = ""
    endpoint: str = ""
    error_code: str = UNKNOWN.code
    severity: Severity = UNKNOWN.severity
    original_error: BaseException | None = None
    retry_attempt: int = 0
    path: str = ""
    ref: str = ""
    when: float = 0.0


Callback = Callable[[BaseException, ErrorContext], Awaitable[None] | None]
Listener = Callable[[ErrorContext], None]
_UNKNOWN = ErrorContext()
_MARK = "_voxtree_handled"


class ErrorHandler:
    """Handles each error once, however many parts of a system report the same exception object.

        handler = ErrorHandler()
        handler.register_callback(ConnectionFailed, page_somebody)
        ...
        except SpeechError as error:
            text = await handler.handle(error, ErrorContext(session_id=session_id))

    Metrics: `transcription_errors_total{error_code,severity}` and `error_handling_duration_seconds`.

    Args:
        registry: where the metrics are registered; once a registry.
        listener: told of each error once, synchronously; must be quick, and must not raise.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        listener: Listener = lambda context: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._listener = listener
        self._clock = clock
        self._callbacks: list[tuple[type[BaseException] | str, Callback]] = []
        self._unfinished: deque[_Unfinished] = deque()
        self._woken = anyio.Event()
        self._total = Counter("transcription_errors", "Errors by code.", ["error_code", "severity"], registry=registry)
        for entry in CATALOGUE.values():  # at zero: Prometheus sees no rise of what was not there before
            self._total.labels(entry.code, entry.severity.value)
        self._duration = Histogram(
            "error_handling_duration_seconds",
            "Time from an error's report until everybody had been told of it.",
            buckets=(1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0),
            registry=registry,
        )

    def register_callback(self, error_type: type[BaseException] | str, callback: Callback) -> None:
        """Have `callback(error, context)` called for errors of a class, its subclasses included, or of a code.

        It may be async. What it raises is logged, and hides nothing from anybody.

        Raises:
            ValueError: the catalogue has no such code.
        """
        if isinstance(error_type, str) and error_type not in CATALOGUE:
            raise ValueError(f"there is no error code {error_type!r}; `voxtree errors` lists all")
        self._callbacks.append((error_type, callback))

    async def handle(self, error: BaseException, context: ErrorContext = _UNKNOWN) -> str:
        """Handle an error, async callbacks included, and return what its user may read.

        Of an error that was handled before only the text is returned.
        """
        began = time.perf_counter()
        if (taken := self._taken(error, context)) is not None:
            for call in self._called(error, taken):
                await _finish(call)
            self._duration.observe(time.perf_counter() - began)
        return entry_of(error).message

    def report(self, error: BaseException, context: ErrorContext = _UNKNOWN) -> str:
        """The same where nobody can wait: async callbacks are awaited by `run`."""
        began = time.perf_counter()
        if (taken := self._taken(error, context)) is not None:
            for call in self._called(error, taken):
                self._put_off(call)
            self._duration.observe(time.perf_counter() - began)
        return entry_of(error).message

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A supervised child: finishes the async callbacks that `report` began, one after the other."""
        task_status.started()
        while True:
            while self._unfinished:
                await _finish(self._unfinished.popleft())
            self._woken = anyio.Event()
            await self._woken.wait()

    def _taken(self, error: BaseException, known: ErrorContext) -> ErrorContext | None:
        """Log, count and tell, and return all that is known; None: this error was handled before."""
        if getattr(error, _MARK, None) is self:
            return None
        setattr(error, _MARK, self)
        entry = entry_of(error)
        context = msgspec.structs.replace(
            known,
            endpoint=known.endpoint or getattr(error, "endpoint", None) or "",
            error_code=entry.code,
            severity=entry.severity,
            original_error=error,
            when=known.when or self._clock(),
        )
        _log(error, entry, context)
        self._total.labels(entry.code, entry.severity.value).inc()
        self._listener(context)
        return context

    def _called(self, error: BaseException, context: ErrorContext) -> list[_Unfinished]:
        """Call whoever wants to know of it, and return what is to be awaited of that."""
        unfinished: list[_Unfinished] = []
        for wanted, callback in self._callbacks:
            if wanted == context.error_code if isinstance(wanted, str) else isinstance(error, wanted):
                name = getattr(callback, "__qualname__", repr(callback))
                try:
                    answer = callback(error, context)
                except Exception:
                    _complain(name, context)
                else:
                    if answer is not None:
                        unfinished.append(_Unfinished(answer, name, context))
        return unfinished

    def _put_off(self, call: _Unfinished) -> None:
        if len(self._unfinished) >= MOST_WAITING:
            self._unfinished.popleft().drop()
        self._unfinished.append(call)
        self._woken.set()


class _Unfinished(NamedTuple):
    """An async callback that was called."""

    answer: Awaitable[None]
    name: str
    context: ErrorContext

    def drop(self) -> None:
        """Nobody has the time to wait for it."""
        if inspect.iscoroutine(self.answer):
            self.answer.close()
        text = "the callback %s was left out of %s: too many wait"
        logger.error(text, self.name, self.context.error_code, extra={"event": "callback.left_out"})


async def _finish(call: _Unfinished) -> None:
    try:
        with anyio.fail_after(CALLBACK_SECONDS):
            await call.answer
    except Exception:
        _complain(call.name, call.context)


def entry_of(error: BaseException) -> Entry:
    """The catalogue's row of any error."""
    if isinstance(error, SpeechError):
        return error.entry
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in NO_MORE):
        return ResourcesExhausted.entry
    return UNKNOWN


def _log(error: BaseException, entry: Entry, context: ErrorContext) -> None:
    """One line; defects with their traceback, which nothing else tells."""
    known = {
        "session": context.session_id,
        "user": context.user_id,
        "endpoint": context.endpoint,
        "attempt": context.retry_attempt,
        "path": context.path,
        "ref": context.ref,
    }
    facts = {name: value for name, value in known.items() if value}
    facts |= {"event": "error", "code": entry.code, "severity": entry.severity.value}
    whose = f"session {context.session_id}: " if context.session_id else f"{context.path}: " if context.path else ""
    text = str(error) if isinstance(error, SpeechError) else f"{entry.code} {entry.name}: {error!r}"
    defect = error if entry is UNKNOWN else None
    quoted = f" (ref {context.ref})" if context.ref else ""
    logger.log(entry.severity.log_level, "%s%s%s", whose, text, quoted, extra=facts, exc_info=defect)


def _complain(callback: str, context: ErrorContext) -> None:
    logger.exception("the callback %s failed on %s", callback, context.error_code, extra={"event": "callback.failed"})
