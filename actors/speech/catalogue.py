"""Every error voxtree can show, in one table.

The exceptions (`actors.speech.errors`), the restart policies (`actors.speech.policies`), the wire's error events and
close codes, and `voxtree errors` all read their facts here; nothing else states them again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from types import MappingProxyType

import msgspec

_LOG_LEVELS = logging.getLevelNamesMapping()


class Severity(Enum):
    """How loudly an operator should hear of it."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"

    @property
    def log_level(self) -> int:
        """The standard library's."""
        return _LOG_LEVELS[self.value]


class Fault(Enum):
    """Who has to do something about it, if it should not happen again."""

    CLIENT = "client"  # what the client sent, or how it behaves
    NETWORK = "network"
    BACKEND = "backend"
    CONFIG = "config"  # what was asked for and what is deployed do not fit
    QUOTA = "quota"  # what was paid for, or set as a limit, is used up
    US = "us"  # voxtree
    UNKNOWN = "unknown"


class Retry(Enum):
    """What voxtree itself does about it."""

    KEEP_FOR_RESUME = "keep_for_resume"  # the session waits for its client
    CONTINUE = "continue"  # reported; the session goes on
    NOW = "immediately"  # a new stream at once, with the unconfirmed audio replayed
    BACKOFF = "exponential_backoff"  # another backend if there is one, else again with growing pauses
    RATE_LIMIT = "rate_limit"  # again when the backend's hint, or our own pause, is over
    NONE = "no_retry"  # the session ends
    RESTART = "restart, then escalate"  # a defect: a fresh start, and upwards if that does not help


class Action(Enum):
    """What the client should do about it."""

    NONE = "none"  # keep sending
    RECONNECT = "reconnect"
    RETRY = "retry"  # later, after `retry_after_ms`
    STOP_RECORDING = "stop_recording"
    FIX_CONFIG = "fix_config"
    NEW_SESSION = "new_session"
    NEW_TOKEN = "new_token"  # connect again, with another key or token


class Alert(Enum):
    """Who is to be told of an error, and how soon."""

    PAGE = "page"  # somebody, now
    TICKET = "ticket"  # somebody, today, if it repeats
    NONE = "none"  # it is expected, and counted


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row: what an error is called, says and leads to.

    `close` is the WebSocket close code sent when the error ends the connection; None for errors that never do.
    `meaning` and `remedy` are written for the operator, `message` for the speaker.
    """

    code: str
    name: str
    severity: Severity
    fault: Fault
    message: str
    retry: Retry
    action: Action
    close: int | None = None
    meaning: str
    remedy: str

    @property
    def http(self) -> int:
        """The status of a plain HTTP answer that says so."""
        is_callers_limit = self.fault is Fault.QUOTA and self.action is Action.RETRY
        return HTTPStatus.TOO_MANY_REQUESTS if is_callers_limit else _HTTP.get(self.close, 500)

    @property
    def alert(self) -> Alert:
        """Whether somebody is to be told of it."""
        return _ALERTS.get(self.severity, Alert.NONE)

    @property
    def family(self) -> str:
        """The first half of the code (`RIVA` of `RIVA_003`): what policies fall back to."""
        return self.code.partition("_")[0]


def _entry(
    code: str, name: str, severity: Severity, fault: Fault, message: str, retry: Retry, action: Action,
    close: int | None, meaning: str, remedy: str,
) -> Entry:  # fmt: skip
    return Entry(
        code=code, name=name, severity=severity, fault=fault, message=message, retry=retry, action=action,
        close=close, meaning=meaning, remedy=remedy,
    )  # fmt: skip


_ALERTS = {Severity.CRITICAL: Alert.PAGE, Severity.ERROR: Alert.TICKET}
_HTTP: dict[int | None, int] = {
    1003: 415, 1008: 400, 1009: 413, 1012: 503, 1013: 503, 4401: 403, 4404: 404, 4408: 408, 4409: 409,
}  # fmt: skip
_INFO, _WARNING, _ERROR, _CRITICAL = Severity
_ROWS = (
    _entry(
        "CONN_001", "CONN_CLIENT_DISCONNECT", _INFO, Fault.NETWORK,
        "Connection closed", Retry.KEEP_FOR_RESUME, Action.RECONNECT, None,
        "The client's connection ended without `stop`: closed, reset, or silent on a ping.",
        "Nothing, unless it happens to many at once: then look at the network or a proxy's idle timeout.",
    ),
    _entry(
        "CONN_002", "CONN_TIMEOUT", _WARNING, Fault.CLIENT,
        "Connection timed out. Please reconnect.", Retry.KEEP_FOR_RESUME, Action.RECONNECT, 4408,
        "The client sent nothing (no `start`, no audio, no ping) for longer than `session.idle_timeout`.",
        "Clients should send silence while muted. Raise `session.idle_timeout` if pauses are expected.",
    ),
    _entry(
        "CONN_003", "CONN_INVALID_MESSAGE", _ERROR, Fault.CLIENT,
        "Invalid message format", Retry.CONTINUE, Action.FIX_CONFIG, 1008,
        "The client sent a message that is not part of the protocol: bad JSON, unknown event, wrong field.",
        "Fix the client; the event's `detail` names the field. Five such messages end the connection.",
    ),
    _entry(
        "CONN_004", "CONN_NOT_ALLOWED", _WARNING, Fault.CLIENT,
        "You may not connect from here.", Retry.NONE, Action.FIX_CONFIG, 4401,
        "A web page from another origin wanted to connect, and `server.origins` does not list it.",
        "If the page is yours, add its origin to `server.origins`. Otherwise nothing: it was refused.",
    ),
    _entry(
        "CONN_005", "CONN_SERVER_BUSY", _WARNING, Fault.US,
        "The service is busy. Please try again shortly.", Retry.NONE, Action.RETRY, 1013,
        "There is no room: all sessions or backend streams are taken, or the event loop is late; `detail` says which. "
        "So this one was refused before it began, and told when to come back.",
        "Add capacity, or raise `session.max_sessions` if CPU and backend streams allow it.",
    ),
    _entry(
        "CONN_006", "CONN_GOING_AWAY", _INFO, Fault.US,
        "The service is restarting. Please reconnect.", Retry.KEEP_FOR_RESUME, Action.RECONNECT, 1012,
        "This server is shutting down and ends its sessions.",
        "Nothing: clients reconnect to the next server.",
    ),
    _entry(
        "CONN_007", "CONN_SLOW_CONSUMER", _WARNING, Fault.CLIENT,
        "Your connection is too slow to receive the transcript.", Retry.NONE, Action.RECONNECT, 1013,
        "The client stopped reading, or its line is too narrow for its finals. Interim results were dropped first.",
        "Look at the client's network, or at a client that never reads.",
    ),
    _entry(
        "CONN_008", "CONN_RESUME_FAILED", _WARNING, Fault.CLIENT,
        "Your session could not be resumed. What you have stays valid; please start a new one.", Retry.NONE,
        Action.NEW_SESSION, 4404,
        "A client asked to resume a session that is unknown, not its, or left for longer than `session.resume_window`.",
        "Nothing for a single one. If many fail, look whether clients stay away that long, or the journal was lost.",
    ),
    _entry(
        "CONN_009", "CONN_SESSION_IN_USE", _WARNING, Fault.CLIENT,
        "This session is already open elsewhere.", Retry.NONE, Action.NEW_SESSION, 4409,
        "A second connection asked for the id of a session that is connected.",
        "Give each session an id of its own (a UUID), or connect to /transcribe and let the server name it.",
    ),
    _entry(
        "CONN_010", "CONN_TAKEN_OVER", _INFO, Fault.CLIENT,
        "This session goes on in another connection.", Retry.KEEP_FOR_RESUME, Action.NONE, 4409,
        "Another connection has resumed the session, here or at another server; this one is closed, or came too late.",
        "Nothing: clients that lost their connection come back this way before the server has noticed.",
    ),
    _entry(
        "CONN_011", "CONN_NOT_AUTHENTICATED", _WARNING, Fault.CLIENT,
        "Please sign in again.", Retry.NONE, Action.NEW_TOKEN, 4401,
        "The client has not proved who it is: its key or token is missing, has expired, or is not known.",
        "Nothing for a single one: clients fetch another token. If all fail: `[auth]`, the clock, the provider's keys.",
    ),
    _entry(
        "CONN_012", "CONN_TOO_MANY", _WARNING, Fault.QUOTA,
        "There are too many connections from you. Please try again shortly.", Retry.NONE, Action.RETRY, 1013,
        "One user, or one address, holds as many sessions as `[limits]` allow it, or connects more often.",
        "Nothing, if it is one that should be held back. If many people share an address, raise its limits, or name "
        "the proxy before them in `server.trusted_proxies`.",
    ),
    _entry(
        "RIVA_001", "RIVA_CONNECTION_FAILED", _CRITICAL, Fault.BACKEND,
        "Service temporarily unavailable", Retry.BACKOFF, Action.NONE, 1013,
        "A recognition endpoint could not be reached: refused, unknown host, or no answer while connecting.",
        "Check that Riva runs and that `address` is right: `voxtree doctor`.",
    ),
    _entry(
        "RIVA_002", "RIVA_MODEL_NOT_FOUND", _ERROR, Fault.CONFIG,
        "Language not supported", Retry.NONE, Action.FIX_CONFIG, 4404,
        "No streaming model for the session's language (or `model`) is loaded at the endpoint.",
        "Ask for a language that `voxtree doctor` lists, or deploy its model to Riva.",
    ),
    _entry(
        "RIVA_003", "RIVA_QUOTA_EXCEEDED", _WARNING, Fault.QUOTA,
        "Service capacity reached. Please try again later.", Retry.RATE_LIMIT, Action.NONE, 1013,
        "The endpoint refused the stream because its quota or its streams are used up.",
        "Add endpoints or quota; lower `max_streams` to what the endpoint really carries.",
    ),
    _entry(
        "RIVA_004", "RIVA_NOT_AUTHORIZED", _CRITICAL, Fault.CONFIG,
        "Service temporarily unavailable", Retry.BACKOFF, Action.NONE, 1011,
        "The endpoint refused our credentials, or TLS could not be agreed.",
        "Check the endpoint's key, certificates and `tls` settings; other endpoints are used meanwhile.",
    ),
    _entry(
        "RIVA_005", "RIVA_STREAM_LOST", _ERROR, Fault.BACKEND,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.NOW, Action.NONE, None,
        "A running stream broke: the backend ended, dropped the connection or closed the stream early.",
        "Nothing for a single one: the audio is replayed. If it repeats, look at the backend's log.",
    ),
    _entry(
        "RIVA_006", "RIVA_STALLED", _ERROR, Fault.BACKEND,
        "The speech service is slow. Keep talking, nothing is lost.", Retry.NOW, Action.NONE, None,
        "The backend accepted audio and answered nothing in time.",
        "Look at the backend's GPU and queue: a hung or overloaded process looks like this.",
    ),
    _entry(
        "RIVA_007", "RIVA_NOT_READY", _WARNING, Fault.BACKEND,
        "The speech service is starting. Keep talking, nothing is lost.", Retry.BACKOFF, Action.NONE, 1013,
        "The backend is up but cannot recognise anything yet: it is still loading its models.",
        "Wait; if it lasts for minutes, look at the backend's log.",
    ),
    _entry(
        "RIVA_008", "RIVA_OUT_OF_MEMORY", _CRITICAL, Fault.BACKEND,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.BACKOFF, Action.NONE, None,
        "The backend's GPU (or its host) ran out of memory.",
        "Lower the endpoint's `max_streams`, or give the model a larger GPU.",
    ),
    _entry(
        "RIVA_009", "RIVA_INFERENCE_FAILED", _ERROR, Fault.BACKEND,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.BACKOFF, Action.NONE, None,
        "The backend's model failed on a request.",
        "Look at the backend's log; restart it if this repeats.",
    ),
    _entry(
        "RIVA_010", "RIVA_CONFIG_REJECTED", _ERROR, Fault.CONFIG,
        "The speech service does not support these settings.", Retry.NONE, Action.FIX_CONFIG, 1008,
        "The backend rejected the recognition settings of the session.",
        "The log line carries the backend's own words; fix the client's `config` or the endpoint's settings.",
    ),
    _entry(
        "RIVA_011", "RIVA_SEQUENCE_EXPIRED", _INFO, Fault.US,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.NOW, Action.NONE, None,
        "The backend had released the stream because no audio came for a while.",
        "Nothing: a new stream is opened at once.",
    ),
    _entry(
        "RIVA_012", "RIVA_WRONG_ENDPOINT", _CRITICAL, Fault.CONFIG,
        "Service temporarily unavailable", Retry.BACKOFF, Action.NONE, 1011,
        "What answers at the endpoint's address is not Riva's speech service.",
        "Check `address`: Riva's gRPC port is 50051 by default, not its HTTP port 9000.",
    ),
    _entry(
        "RIVA_013", "RIVA_NO_BACKEND", _CRITICAL, Fault.BACKEND,
        "Transcription is delayed. Keep talking, the words will follow.", Retry.BACKOFF, Action.NONE, 1013,
        "No endpoint can take a stream at the moment; sessions hold their audio and wait.",
        "Bring a backend back (`voxtree doctor` says what each one answers), or add one.",
    ),
    _entry(
        "RIVA_014", "RIVA_BACKEND_OVERLOAD", _WARNING, Fault.BACKEND,
        "The speech service is busy. Keep talking, nothing is lost.", Retry.BACKOFF, Action.NONE, None,
        "The backend has more to do than it can: its queue turns requests away, or they expire in it.",
        "Lower the endpoint's `max_streams` to what it really carries, or add endpoints.",
    ),
    _entry(
        "RIVA_015", "RIVA_BACKEND_DRAINING", _INFO, Fault.BACKEND,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.NOW, Action.NONE, None,
        "The backend is shutting down in order and takes no new streams.",
        "Nothing: the stream moves to another backend, or waits until this one is back.",
    ),
    _entry(
        "RIVA_016", "RIVA_KEEPALIVE_REJECTED", _WARNING, Fault.US,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.NOW, Action.NONE, None,
        "The endpoint, or a proxy before it, cut the connection because it was pinged more often than it allows.",
        "Nothing for a single one: the next connection is pinged half as often. If it repeats, let the server or proxy "
        "allow a ping every 10 s (`grpc.http2.min_ping_interval_without_data_ms` in servers built on gRPC's C core).",
    ),
    _entry(
        "RIVA_099", "RIVA_UNCLASSIFIED", _ERROR, Fault.UNKNOWN,
        "Reconnecting to the speech service. Keep talking, nothing is lost.", Retry.BACKOFF, Action.NONE, None,
        "The backend ended the stream with a status that no other row describes.",
        "Please report it with the log line, which has the backend's own words, so that it gets a row.",
    ),
    _entry(
        "AUDIO_001", "AUDIO_INVALID_FORMAT", _ERROR, Fault.CLIENT,
        "Invalid audio format. Please use PCM16.", Retry.NONE, Action.FIX_CONFIG, 1003,
        "The audio is in an encoding, rate or channel count that voxtree does not take.",
        "Send PCM16, mu-law or A-law at 8 to 48 kHz, one or two channels.",
    ),
    _entry(
        "AUDIO_002", "AUDIO_CHUNK_TOO_LARGE", _WARNING, Fault.CLIENT,
        "Audio chunk too large", Retry.CONTINUE, Action.FIX_CONFIG, 1009,
        "One message held more audio than `session.max_chunk_bytes`; it was not used. Or, on the way to or from a "
        "backend, a message was larger than the other side takes.",
        "Send audio in messages of 20 to 200 ms.",
    ),
    _entry(
        "AUDIO_003", "AUDIO_PROCESSING_FAILED", _ERROR, Fault.CLIENT,
        "Failed to process audio", Retry.CONTINUE, Action.FIX_CONFIG, None,
        "One audio message could not be decoded (odd byte count, bad base64, empty); it was not used.",
        "Send whole samples in each message; the event's `detail` says what was wrong.",
    ),
    _entry(
        "AUDIO_004", "AUDIO_LOST", _ERROR, Fault.BACKEND,
        "Part of the audio could not be transcribed.", Retry.CONTINUE, Action.NONE, None,
        "No backend took the audio for so long that the oldest was given up; the client got a `gap` that says which.",
        "Bring a backend back (`voxtree doctor`), or add a fallback. A larger `session.spool_seconds` bridges more.",
    ),
    _entry(
        "AUDIO_006", "AUDIO_SPOOL_FAILED", _ERROR, Fault.CONFIG,
        "Part of the audio could not be transcribed.", Retry.CONTINUE, Action.NONE, None,
        "Audio that waits for a backend could not be written to disk, or read again; memory alone holds it now.",
        "Make room on the disk of `session.spool_dir`, or choose another directory that the server may write.",
    ),
    _entry(
        "AUDIO_007", "AUDIO_NOT_KEPT", _ERROR, Fault.CLIENT,
        "Part of the audio could not be transcribed.", Retry.CONTINUE, Action.NONE, None,
        "A client came back without the audio that was wanted first: it had kept less. The `gap` says which.",
        "Let clients keep more audio (`ring_seconds` of ours), or look at why they were away for so long.",
    ),
    _entry(
        "JOURNAL_001", "JOURNAL_UNAVAILABLE", _CRITICAL, Fault.US,
        "Transcription is delayed. Keep talking, the words will follow.", Retry.BACKOFF, Action.NONE, 1013,
        "The journal's store does not answer, or refuses; finals wait in memory until it takes them.",
        "Look at the store (`voxtree doctor` tries it): the disk, or the database and the way to it.",
    ),
    _entry(
        "JOURNAL_002", "JOURNAL_FULL", _CRITICAL, Fault.US,
        "Transcription is delayed. Keep talking, the words will follow.", Retry.BACKOFF, Action.NONE, 1013,
        "The journal's store has no room; finals wait in memory until it has.",
        "Make room on the disk of `journal.path` or at the database; `voxtree journal purge` removes what is over.",
    ),
    _entry(
        "JOURNAL_003", "JOURNAL_DAMAGED", _CRITICAL, Fault.CONFIG,
        "Service temporarily unavailable", Retry.NONE, Action.RETRY, 1013,
        "What is at `journal.path`, or in the database, is damaged or no journal of this version. It was not changed.",
        "Move the file away, or name another one, and a new journal is begun; or restore it from a backup.",
    ),
    _entry(
        "SYS_001", "SYS_SESSION_GAVE_UP", _ERROR, Fault.US,
        "An unexpected error occurred", Retry.NONE, Action.NEW_SESSION, 1011,
        "The parts of one session failed more often than its restart budget allows. Other sessions are not affected.",
        "Look at the errors of the same session before it: they say what failed. A defect, or a backend that fails "
        "every stream.",
    ),
    _entry(
        "SYS_002", "SYS_RESOURCES", _CRITICAL, Fault.US,
        "Service temporarily unavailable", Retry.RESTART, Action.RETRY, 1013,
        "The process or its machine has no memory, or no file descriptors, left.",
        "Raise the limit (`LimitNOFILE` of the unit, the container's memory), or lower `session.max_sessions`.",
    ),
    _entry(
        "SYS_003", "SYS_GAVE_UP", _CRITICAL, Fault.US,
        "Service temporarily unavailable", Retry.RESTART, Action.RECONNECT, 1012,
        "A part of the server failed more often than its restart budget allows, and its supervisor gave up; what is "
        "above it starts it afresh, or the process ends.",
        "Look at the errors of the same part before it. If the process ended, whatever started it starts it again.",
    ),
    _entry(
        "SYS_004", "SYS_DOES_NOT_STOP", _CRITICAL, Fault.US,
        "Service temporarily unavailable", Retry.CONTINUE, Action.NONE, None,
        "A part of the server was told to stop, then cancelled, and goes on. It was given up, and what it holds.",
        "Please report it with the log. `voxtree serve` ends its process when nothing but such parts is left.",
    ),
    _entry(
        "SYS_005", "SYS_LOOP_STOOD_STILL", _ERROR, Fault.US,
        "The service is slow. Keep talking, nothing is lost.", Retry.CONTINUE, Action.NONE, None,
        "The event loop did nothing for a second or more: something blocked it, or the machine had no time for it.",
        "The log line before it has the place in the code. If it names none, look at the machine's processor.",
    ),
    _entry(
        "SYS_006", "SYS_NOT_RELOADED", _ERROR, Fault.CONFIG,
        "Service temporarily unavailable", Retry.CONTINUE, Action.NONE, None,
        "The settings were to be read again and cannot be used. All goes on as before.",
        "Correct what the log names (`voxtree config check` says the same) and send SIGHUP again.",
    ),
    _entry(
        "SYS_007", "SYS_WORKER_LOST", _ERROR, Fault.US,
        "The connection was interrupted. Reconnecting.", Retry.NOW, Action.NONE, None,
        "A worker process died, or gave no sign of life and was ended. Another takes its place; its clients resume.",
        "The log line says how it ended; its own last lines come before. One that was killed may have lacked memory.",
    ),
    _entry(
        "ALERT_001", "ALERT_NOT_DELIVERED", _WARNING, Fault.NETWORK,
        "Service temporarily unavailable", Retry.BACKOFF, Action.NONE, None,
        "An alert could not be delivered to the sink that the log line names. Sessions do not depend on it.",
        "Look at the sink's address and key in `[alerts]`, and at the way there.",
    ),
    _entry(
        "UNKNOWN", "UNKNOWN", _CRITICAL, Fault.US,
        "An unexpected error occurred", Retry.RESTART, Action.NEW_SESSION, 1011,
        "A defect in voxtree.",
        "Please report it with the log line, which has the traceback.",
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, Entry] = MappingProxyType({entry.code: entry for entry in _ROWS})
UNKNOWN = CATALOGUE["UNKNOWN"]
