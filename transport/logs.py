"""Logging of a server: one line an event, as text or JSON, on stderr. Never audio, words or keys."""

from __future__ import annotations

import json
import logging
import time
from enum import Enum
from functools import partial
from typing import Any

import msgspec

from actors.speech.backends.events import (
    AdmissionLowered,
    BackendDown,
    BackendDrained,
    BackendJoined,
    BackendLeft,
    BackendRests,
    BackendUndrained,
    BackendUp,
    BreakerClosed,
    BreakerOpened,
    ModelMissing,
    PoolEvent,
    QuotaFreed,
    QuotaSpent,
    SessionMoved,
)
from actors.speech.reports import (
    Recovered,
    SessionEnded,
    SessionLeft,
    SessionOpened,
    SessionReport,
    SessionResumed,
    Stated,
    StreamBegan,
)
from supervisor.logs import LogListener
from supervisor.names import event_name
from supervisor.reports import (
    ChildFailed,
    ChildRestarting,
    ChildStartFailed,
    ErrorSurvived,
    Event,
    LoopBlocked,
    SignificantEnded,
)
from transport.observers import Observer
from transport.repeats import RepeatsHandler
from transport.settings import Log

logger = logging.getLogger("voxtree.supervision")
backends_logger = logging.getLogger("voxtree.backends")
sessions_logger = logging.getLogger("voxtree.sessions")


# The watchdog logs a blocked loop itself while it stands, which its event, afterwards, can only repeat; and that a
# session's tree ends with the session, its end says.
_LEVELS = {ChildRestarting: logging.INFO, LoopBlocked: logging.DEBUG, SignificantEnded: logging.DEBUG}
_log_other = LogListener(logger, levels=_LEVELS)


def configure(settings: Log, *, worker: int | None = None) -> None:
    """Send everything at the set level to stderr, in the set format. What repeats is summed, unless one debugs.

    Args:
        worker: the number of this process among several, to be in every line; None: what it was before, or nothing.
    """
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(_FORMATTERS[settings.format]())
    if worker is not None:
        logging.setLogRecordFactory(partial(_record_of, worker))
    if settings.level != "debug":
        handler = RepeatsHandler(handler)
    root = logging.getLogger()
    before, root.handlers[:] = list(root.handlers), [handler]
    for each in before:
        each.flush()
    root.setLevel(settings.level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)  # below it tells URLs, and keys in them


def _record_of(worker: int, *facts: Any, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord(*facts, **more)
    record.worker = worker
    return record


class Logging(Observer):
    """Logs what happens. Errors themselves are logged by the error handler, so only what follows from them is here."""

    def tree(self, event: Event) -> None:
        if not isinstance(event, _ERRORS):
            _log_other(event)

    def pool(self, event: PoolEvent) -> None:
        """What it means for the backend; a session's moves only for those who debug."""
        facts = {name: getattr(event, name) for name in event.__struct_fields__}
        if isinstance(event, BackendDown | ModelMissing):
            facts["code"] = facts.pop("error").code
        level = _POOL_LEVELS.get(type(event), logging.INFO)
        backends_logger.log(level, _POOL_TEXTS[type(event)].format(**facts), extra=_extra(event, facts))

    def session(self, report: SessionReport) -> None:
        """Its beginning and end, and its client's coming and going; what its streams do only for those who debug."""
        if (text := _SESSION_TEXTS.get(type(report))) is None:
            return
        level = logging.INFO if isinstance(report, _LIFE) else logging.DEBUG
        if sessions_logger.isEnabledFor(level):
            facts = {name: _plain(getattr(report, name)) for name in report.__struct_fields__}
            event = {"event": f"session.{event_name(type(report)).removeprefix('session_')}"}
            known = {name: fact for name, fact in facts.items() if fact is not None}
            sessions_logger.log(level, text.format(**facts), extra=event | known)


_ERRORS = (ChildFailed, ChildStartFailed, ErrorSurvived)  # the handler says who failed, and of what
_POOL_LEVELS: dict[type[PoolEvent], int] = {
    AdmissionLowered: logging.WARNING,
    BackendDown: logging.WARNING,
    BackendRests: logging.WARNING,
    BreakerOpened: logging.WARNING,
    ModelMissing: logging.WARNING,
    QuotaSpent: logging.WARNING,
    SessionMoved: logging.DEBUG,
}
_POOL_TEXTS: dict[type[PoolEvent], str] = {
    BackendJoined: "backend {name} is configured",
    BackendDrained: "backend {name} gets no new streams",
    BackendUndrained: "backend {name} gets streams again",
    BackendLeft: "backend {name} has no streams left",
    BackendUp: "backend {name} works",
    BackendDown: "backend {name} is down: {code}",
    BackendRests: "backend {name} gets no new streams for {seconds:.3g} s: {code}",
    AdmissionLowered: "backend {name} gets at most {streams} streams for a while",
    BreakerOpened: "backend {name} failed too often ({code}): no streams for {seconds:.3g} s, then one that tries",
    BreakerClosed: "backend {name} has proved itself",
    QuotaSpent: "the quota {key} is used up: nothing is asked of it for {seconds:.3g} s",
    QuotaFreed: "the quota {key} grants streams again",
    ModelMissing: "backend {name} gets no sessions in {language} for a while",
    SessionMoved: "session {session} moved from {source} to {target}",
}


_LIFE = (SessionOpened, SessionResumed, SessionLeft, SessionEnded)
_SESSION_TEXTS: dict[type[SessionReport], str] = {
    SessionOpened: "session {session} is open",
    SessionResumed: "session {session} is resumed after {away:.1f} s",
    SessionLeft: "session {session} has lost its client, and waits",
    SessionEnded: "session {session} has ended: {ending}, {age:.1f} s, {audio:.1f} s of audio",
    StreamBegan: "session {session} is heard by {endpoint}, {replayed:.1f} s once more",
    Recovered: "session {session} has words again after {seconds:.3f} s, from {target}",
    Stated: "session {session} is {state}",
}


def _extra(event: PoolEvent, facts: dict[str, Any]) -> dict[str, Any]:
    """`name` is what a log record calls its logger."""
    return {"event": f"backend.{event_name(type(event)).removeprefix('backend_')}"} | {
        "backend" if name == "name" else name: _plain(value) for name, value in facts.items()
    }


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, event, msg, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        try:
            return _printable(msgspec.json.encode(line, enc_hook=str).decode())
        except UnicodeEncodeError:  # half a character, as in the name of a file that is not UTF-8
            return json.dumps(line, default=str)

    def line(self, record: logging.LogRecord) -> dict[str, Any]:
        """The record's fields."""
        line = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": "log",
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return line


class EcsFormatter(JsonFormatter):
    """The same with the names of the Elastic Common Schema."""

    def line(self, record: logging.LogRecord) -> dict[str, Any]:
        named = {_ECS.get(name, f"labels.{name}"): value for name, value in super().line(record).items()}
        return named | {"ecs.version": ECS_VERSION}


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message key=value …`; control characters of the outside world are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        facts = "".join(
            f" {key}={value}"
            for key, value in _fields(record).items()
            if key != "event" and (key == "worker" or str(value) not in message)
        )
        line = _printable(f"{_timestamp(record)} {record.levelname:8} {record.name}: {message}{facts}")
        return f"{line}\n{_indented(self.formatException(record.exc_info))}" if record.exc_info else line


def _indented(traceback: str) -> str:
    """A traceback holds what was said in an error, which must not look like a line of the log."""
    return "\n".join(f"    {_printable(line)}" for line in traceback.split("\n"))


def _printable(line: str) -> str:
    """Without what a terminal or a viewer might take for the end of a line, or for an order; JSON allows some of it."""
    return line if line.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


ECS_VERSION = "8.11.0"
_ECS = {
    "ts": "@timestamp", "level": "log.level", "logger": "log.logger", "msg": "message", "event": "event.action",
    "code": "error.code", "traceback": "error.stack_trace", "user": "user.id", "trace_id": "trace.id",
    "span_id": "span.id",
}  # fmt: skip
_FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter, "ecs": EcsFormatter}
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: _short(value) for key, value in vars(record).items() if key not in _OWN_FIELDS}


def _short(value: Any) -> Any:
    """Times are differences of clocks: 16.856000000000222 s."""
    return round(value, 6) if isinstance(value, float) else value


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
