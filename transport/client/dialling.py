"""Opening connections to a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidProxy, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from transport.websocket import SafeToAbort

MAX_EVENT_BYTES = 1 << 20
OPEN_SECONDS = 10.0
_PATH = "/transcribe"
_FOR_NOW = (408, 425, 429, *range(500, 600))  # HTTP statuses of proxies whose servers are just restarting


class Unreachable(Exception):
    """No connection could be opened. `for_good`: the answer was clear, and will stay the same."""

    def __init__(self, message: str, *, for_good: bool) -> None:
        super().__init__(message)
        self.for_good = for_good


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
                subprotocols=[Subprotocol("voxtree.v1")],
                compression=None,
                max_size=MAX_EVENT_BYTES,
                open_timeout=OPEN_SECONDS,
                ping_interval=None,
                create_connection=_Connection,
            )
        except (OSError, TimeoutError, InvalidURI, InvalidProxy, InvalidHandshake) as error:
            text = f"no voxtree server answers at {self._url} ({error})"
            raise Unreachable(text, for_good=_is_for_good(error)) from error


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


def _is_for_good(error: Exception) -> bool:
    if isinstance(error, InvalidStatus):
        return error.response.status_code not in _FOR_NOW
    return not isinstance(error, OSError | TimeoutError | InvalidMessage)
