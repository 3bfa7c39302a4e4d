"""Logging of a server: one line an event, as text or JSON, on stderr. Never audio, words or keys."""

from __future__ import annotations

import logging
import time
from enum import Enum
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
from actors.speech.catalogue import CATALOGUE, Severity
from actors.speech.errors import SpeechError
from supervisor.logs import LogListener
from supervisor.reports import (
    ChildFailed,
    ChildRestarting,
    ChildStartFailed,
    ChildStopFailed,
    ErrorSurvived,
    Event,
    Exit,
    LoopBlocked,
    Occasion,
)
from transport.settings import Log

logger = logging.getLogger("voxtree.supervision")
backends_logger = logging.getLogger("voxtree.backends")

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
    Severity.CRITICAL: logging.CRITICAL,
}


# The watchdog logs a blocked loop itself while it stands, which its event, afterwards, can only repeat.
_log_other = LogListener(logger, levels={ChildRestarting: logging.INFO, LoopBlocked: logging.DEBUG})


def configure(settings: Log) -> None:
    """Send everything at the set level to stderr, in the set format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def log_event(event: Event) -> None:
    """What happened in the tree; errors of the catalogue at the catalogue's level, and without a traceback."""
    match event:
        case ChildStartFailed(occasion=Occasion.BOOT):
            pass  # raised where the tree was started; whoever started it says so
        case (
            ChildFailed(exit=Exit(error=SpeechError() as error))
            | ChildStopFailed(exit=Exit(error=SpeechError() as error))
            | ChildStartFailed(error=SpeechError() as error)
            | ErrorSurvived(error=SpeechError() as error)
        ):
            path = "/".join(event.path)
            level = _LEVELS[error.entry.severity]
            logger.log(level, "%s failed: %s", path, error, extra={"path": path, "code": error.code})
        case _:
            _log_other(event)


def log_pool_event(event: PoolEvent) -> None:
    """What happened to a backend; errors at the catalogue's level, a session's moves only for those who debug."""
    facts = {name: getattr(event, name) for name in event.__struct_fields__}
    code = facts.get("code")
    level = _LEVELS[CATALOGUE[code].severity] if code is not None else _POOL_LEVELS.get(type(event), logging.INFO)
    backends_logger.log(level, _POOL_TEXTS[type(event)].format(**facts), extra=_extra(facts))


_POOL_LEVELS: dict[type[PoolEvent], int] = {
    AdmissionLowered: logging.WARNING,
    QuotaSpent: logging.WARNING,
    SessionMoved: logging.DEBUG,
}
_POOL_TEXTS: dict[type[PoolEvent], str] = {
    BackendJoined: "backend {name} is configured",
    BackendDrained: "backend {name} gets no new streams",
    BackendUndrained: "backend {name} gets streams again",
    BackendLeft: "backend {name} has no streams left",
    BackendUp: "backend {name} works",
    BackendDown: "backend {name} is down: {detail}",
    BackendRests: "backend {name} gets no new streams for {seconds:.3g} s: {code}",
    AdmissionLowered: "backend {name} gets at most {streams} streams for a while",
    BreakerOpened: "backend {name} failed too often ({code}): no streams for {seconds:.3g} s, then one that tries",
    BreakerClosed: "backend {name} has proved itself",
    QuotaSpent: "the quota {key} is used up: nothing is asked of it for {seconds:.3g} s",
    QuotaFreed: "the quota {key} grants streams again",
    ModelMissing: "backend {name} gets no sessions in {language} for a while: {detail}",
    SessionMoved: "session {session} moved from {source} to {target}",
}


def _extra(facts: dict[str, Any]) -> dict[str, Any]:
    """`name` is what a log record calls its logger."""
    return {
        "backend" if name == "name" else name: value.value if isinstance(value, Enum) else value
        for name, value in facts.items()
        if name != "detail"
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, msg, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message key=value …`; control characters of the outside world are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        facts = "".join(f" {key}={value}" for key, value in _fields(record).items() if str(value) not in message)
        line = f"{_timestamp(record)} {record.levelname:8} {record.name}: {message}{facts}"
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS}


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
