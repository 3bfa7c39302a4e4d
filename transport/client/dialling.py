"""Opening connections to a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidProxy, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from transport.admission import RESUMES
from transport.client.events import Problem
from transport.websocket import SafeToAbort

MAX_EVENT_BYTES = 1 << 20
OPEN_SECONDS = 10.0
_PATH = "/transcribe"
_FOR_NOW = (408, 425, 429, *range(500, 600))  # HTTP statuses of proxies whose servers are just restarting


class Unreachable(Exception):
    """No connection could be opened.

    Attributes:
        for_good: the answer was clear, and will stay the same.
        broke: somebody had taken the connection, and was gone before the answer.
        problem: what a voxtree server said of it; None: it was none, or had nothing to say.
        retry_after: seconds after which another attempt makes sense, if anybody said so.
    """

    def __init__(
        self,
        message: str,
        *,
        for_good: bool,
        broke: bool = False,
        problem: Problem | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.for_good = for_good
        self.broke = broke
        self.problem = problem
        self.retry_after = retry_after


class _Refusal(msgspec.Struct):
    """The body of a voxtree server's answer that is no WebSocket."""

    code: str
    message: str
    action: str
    detail: str = ""
    retry_after_ms: float | None = None


_refusal = msgspec.json.Decoder(_Refusal).decode


Token = str | Callable[[], Awaitable[str]]


class _Connection(SafeToAbort, ClientConnection):
    """A client's connection that a server may refuse while we are sending."""


class Dialler:
    """Opens connections to one server.

    Args:
        url: `ws://HOST:PORT/transcribe`, or with a session id of one's own behind it.
        token: sent as `Authorization: Bearer`, or what gives one, which is asked again when that is refused; None:
            nothing is.
    """

    def __init__(self, url: str, token: Token | None = None) -> None:
        self._url = url
        self._token = token
        self._current = token if isinstance(token, str) else None

    async def dial(self, session_id: str) -> ClientConnection:
        """A new connection. `session_id`: of the session that is resumed; empty: none is.

        Raises:
            Unreachable: there will be none.
        """
        had = self._current
        await self._need_token()
        try:
            return await self._connected(session_id)
        except Unreachable as error:
            if not _is_refused(error.__cause__) or not callable(self._token) or had is None:
                raise
            self._current = None  # it was good once, and may have expired
        await self._need_token()
        return await self._connected(session_id)

    async def _need_token(self) -> None:
        if self._current is None and callable(self._token):
            self._current = await self._token()

    async def _connected(self, session_id: str) -> ClientConnection:
        try:
            return await connect(
                named(self._url, session_id),
                additional_headers={} if self._current is None else {"Authorization": f"Bearer {self._current}"},
                subprotocols=[Subprotocol(each) for each in ("voxtree.v1", *((RESUMES,) if session_id else ()))],
                compression=None,
                max_size=MAX_EVENT_BYTES,
                open_timeout=OPEN_SECONDS,
                ping_interval=None,
                create_connection=_Connection,
            )
        except (OSError, TimeoutError, InvalidURI, InvalidProxy, InvalidHandshake) as error:
            text = f"no voxtree server answers at {self._url} ({error})"
            problem, retry_after = _told(error)
            raise Unreachable(
                text, for_good=_is_for_good(error), broke=_broke(error), problem=problem, retry_after=retry_after
            ) from error


def named(url: str, session_id: str) -> str:
    """The address of a session at a server, whatever session `url` names."""
    if not session_id:
        return url
    parts = urlsplit(url)
    before, found, _ = parts.path.rpartition(_PATH)
    path = (before + found if found else parts.path.rstrip("/")) + f"/{session_id}"
    return urlunsplit(parts._replace(path=path))


def _is_refused(error: BaseException | None) -> bool:
    return isinstance(error, InvalidStatus) and error.response.status_code == 401


def _told(error: Exception) -> tuple[Problem | None, float | None]:
    """What the answer says of why, and of when to come back: of a voxtree server, or of a proxy before it."""
    if not isinstance(error, InvalidStatus):
        return None, None
    try:
        refusal = _refusal(error.response.body or b"")
    except msgspec.MsgspecError:
        named = error.response.headers.get("Retry-After", "")
        return None, float(named) if named.isdecimal() else None
    after = None if refusal.retry_after_ms is None else refusal.retry_after_ms / 1000
    problem = Problem(
        code=refusal.code, message=refusal.message, action=refusal.action, detail=refusal.detail, retry_after=after
    )
    return problem, after


def _broke(error: Exception) -> bool:
    """Whether there was somebody, who has gone; not one who speaks something else."""
    gone = (ConnectionResetError, BrokenPipeError, EOFError)
    return isinstance(error, gone) or (isinstance(error, InvalidMessage) and isinstance(error.__cause__, gone))


def _is_for_good(error: Exception) -> bool:
    if isinstance(error, InvalidStatus):
        return error.response.status_code not in _FOR_NOW
    return not isinstance(error, OSError | TimeoutError | InvalidMessage)
