"""POSTing in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener
from urllib.request import Request as UrllibRequest

from transport.alerts.port import Answer, Request, Unreachable, retry_after

MOST_HANGING = 2  # threads left behind; a name that does not resolve holds one for half a minute
_AGENT = "voxtree"


class Poster:
    """Sends requests one at a time. Proxies of the environment are used; redirects are not followed, so that no body
    goes where nobody wanted it.

    The standard library's sockets block, each time for `timeout` at most; whoever sends little for long can hold on to
    one for longer. So each request has a daemon thread of its own, which neither a cancelled caller nor the end of the
    process waits for.

    Args:
        timeout: seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        # Made now: it reads the system's certificates, and the first alert comes when everybody is busy.
        self._opener = build_opener(_NoRedirects, HTTPSHandler(context=ssl.create_default_context()))
        self._threads: list[threading.Thread] = []

    async def post(self, request: Request) -> Answer:
        """Send it.

        Raises:
            Unreachable: there was no answer in time.
        """
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MOST_HANGING:
            raise Unreachable("earlier requests still hang")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def work() -> None:
            try:
                answer = self._post(request)
            except Exception as error:
                _tell(loop, answered, error=error)
            else:
                _tell(loop, answered, answer)

        thread = threading.Thread(target=work, name="alert", daemon=True)
        self._threads.append(thread)
        thread.start()
        try:
            async with asyncio.timeout(self._timeout):
                return await answered
        except TimeoutError:
            raise Unreachable("no answer in time") from None

    def _post(self, request: Request) -> Answer:
        """In the thread."""
        headers = {"Content-Type": "application/json", "User-Agent": _AGENT, **request.headers}
        try:
            with self._opener.open(
                UrllibRequest(request.url, request.body, headers, method="POST"), timeout=self._timeout
            ) as response:
                return Answer(response.status)
        except HTTPError as error:
            with error:
                return Answer(error.code, retry_after(error.headers.get("Retry-After"), time.time()))
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable(_reason(error)) from None


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: UrllibRequest, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """None: the answer stays what it is, an error."""


def _tell(
    loop: asyncio.AbstractEventLoop,
    answered: asyncio.Future[Answer],
    answer: Answer | None = None,
    error: BaseException | None = None,
) -> None:
    """Hand it over to the loop, if that is still there."""

    def hand_over() -> None:
        if answered.done():
            return
        if answer is not None:
            answered.set_result(answer)
        elif error is not None:
            answered.set_exception(error)

    call: Callable[[], object] = hand_over
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        return  # it is closed


def _reason(error: Exception) -> str:
    """Why, in words that are not the sink's: an address may hold a secret, and so may what it answered."""
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, ssl.SSLError):
        return f"TLS failed: {inner.reason}"
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return f"the request failed: {type(inner).__name__}"
