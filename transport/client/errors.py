"""Why a session ended before everything was said."""

from __future__ import annotations

from typing import ClassVar

from actors.speech.catalogue import CATALOGUE, Action
from transport.client.events import Problem
from transport.expected import ExpectedError


class SessionFailed(ExpectedError):
    """The session is over, and its transcript not complete. The finals that came stay valid.

    Attributes:
        code: the catalogue's code (`voxtree errors CODE` explains it); None: there is none, no server was met.
        action: what to do: none, reconnect, retry, stop_recording, fix_config, new_session.
        retry_after: seconds, when the server named them.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        action: str = Action.NONE.value,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.action = action
        self.retry_after = retry_after


class CannotConnect(SessionFailed):
    """No voxtree server answers at the address. Nothing was sent."""


class ConnectionLost(SessionFailed):
    """The connection was lost, and could not be made again for as long as the client was willing to try."""


class ResumeFailed(SessionFailed):
    """The server knows no such session any more. A new one begins with silence before it: nothing is re-sent."""

    of: ClassVar[str] = "CONN_008"


class TakenOver(SessionFailed):
    """Another connection has resumed the session; it goes on there."""

    of: ClassVar[str] = "CONN_010"


def failure(problem: Problem) -> SessionFailed:
    """The error for a fatal problem."""
    kind = next((kind for kind in (ResumeFailed, TakenOver) if kind.of == problem.code), SessionFailed)
    detail = f" ({problem.detail})" if problem.detail else ""
    return kind(
        f"{problem.message}{detail} [{problem.code}]",
        code=problem.code,
        action=problem.action,
        retry_after=problem.retry_after,
    )


def connection_lost(reason: str, seconds: float) -> ConnectionLost:
    """The error for a client that has tried to come back for so many seconds."""
    entry = CATALOGUE["CONN_001"]
    text = f"the connection was lost and could not be made again for {seconds:.0f} s: {reason} [{entry.code}]"
    return ConnectionLost(text, code=entry.code, action=entry.action.value)


def resume_failed(detail: str) -> ResumeFailed:
    """The error for a server that does not go on where the session was."""
    entry = CATALOGUE[ResumeFailed.of]
    return ResumeFailed(f"{entry.message} ({detail}) [{entry.code}]", code=entry.code, action=entry.action.value)
