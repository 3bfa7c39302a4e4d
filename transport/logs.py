"""Logging of a server: one line an event, as text or JSON, on stderr. Never audio, words or keys."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from actors.speech.catalogue import Severity
from actors.speech.errors import SpeechError
from supervisor.reports import (
    ChildFailed,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildUnstoppable,
    ErrorEscalated,
    ErrorSurvived,
    Event,
    GaveUp,
    Occasion,
)
from transport.settings import Log

logger = logging.getLogger("voxtree.supervision")

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
    Severity.CRITICAL: logging.CRITICAL,
}


def configure(settings: Log) -> None:
    """Send everything at the set level to stderr, in the set format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def log_event(event: Event) -> None:
    """What happened in the tree, at the level its error has in the catalogue."""
    path = "/".join(event.path)
    match event:
        case ChildStarted(number=number):
            logger.debug("started", extra={"path": path, "incarnation": number})
        case ChildFailed(exit=ended) | ChildStopFailed(exit=ended):
            what = "failed" if isinstance(event, ChildFailed) else "ended badly when stopped"
            _log_error(what, path, ended.error, ended.kind.value)
        case ChildStartFailed(occasion=Occasion.BOOT):
            pass  # raised where the tree was started; whoever started it says so
        case ChildStartFailed(error=error):
            _log_error("could not start", path, error)
        case ChildRestarting(delay=delay):
            logger.info("restarting", extra={"path": path, "delay": round(delay, 3)})
        case ErrorSurvived(error=error):
            _log_error("went on after an error", path, error)
        case ChildUnstoppable():
            logger.error("does not stop and was given up", extra={"path": path})
        case GaveUp(error=error) | ErrorEscalated(error=error):
            _log_error("gave up" if isinstance(event, GaveUp) else "escalates", path, error)
        case _:
            logger.debug(type(event).__name__, extra={"path": path})


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
        facts = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{_timestamp(record)} {record.levelname:8} {record.name}: {record.getMessage()}{facts}"
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS}


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"


def _log_error(what: str, path: str, error: BaseException | None, otherwise: str = "") -> None:
    if isinstance(error, SpeechError):
        logger.log(_LEVELS[error.entry.severity], "%s: %s", what, error, extra={"path": path, "code": error.code})
    else:
        logger.error("%s: %s", what, error or otherwise, extra={"path": path, "code": "UNKNOWN"}, exc_info=error)
