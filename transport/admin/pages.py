"""What is at each address of the admin port. Knows requests and answers, not sockets.

/metrics             Prometheus or OpenMetrics, as asked for       /livez      200 while the event loop moves
/console             the operators' page                           /readyz     200 while new clients may come
/debug/state.json    how everything stands                         /startupz   200 once everything has been started
/debug/session.json  ?id=ID: one session's timeline                /login      ?key=KEY: logs a browser in, once
/events              the state and what changes in it, as server-sent events
/actions, /login     by POST: do something; make a login link
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from transport.admin.access import Access
from transport.admin.board import Board, Feed
from transport.admin.orders import Order, OrderFailed, Orders
from transport.admin.state import Timeline

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ACTION_HEADER = "x-voxtree-action"  # a page of another origin cannot send it without asking first, and is refused then
MOST_VIEWERS = 8
LOOK_SECONDS = 0.1  # between a viewer's looks at the board
PULSE_SECONDS = 1.0  # after which a viewer who was told nothing is told that, and how long the loop has been silent
JSON, TEXT = "application/json", "text/plain; charset=utf-8"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. Names of headers are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered; `stream`, if there is one, follows the body until it ends or the viewer goes."""

    status: HTTPStatus = HTTPStatus.OK
    type: str = TEXT
    body: bytes = b""
    headers: Mapping[str, str] = {}
    stream: Generator[bytes, None, None] | None = None


class Pages:
    """Answers requests, from any thread.

    Args:
        timeline: a session's, for whoever asks; callable from any thread.
        orders: carries actions out; None: there are none.
    """

    def __init__(
        self,
        board: Board,
        registry: Collector,
        access: Access,
        timeline: Callable[[str], Timeline | None],
        orders: Orders | None = None,
    ) -> None:
        self._board = board
        self._feed = Feed(board)
        self._registry = registry
        self._access = access
        self._timeline = timeline
        self._orders = orders
        self._life = secrets.token_hex(4)  # a viewer's last version counts only with whom it had it from
        self._seats = threading.BoundedSemaphore(MOST_VIEWERS)
        self._ended = False
        self._open: dict[str, Callable[[Request], Answer]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/startupz": self._startupz,
            "/login": self._login,
            "/": _to_console,
            **{path: _file(name, type) for path, name, type in _FILES},
        }
        self._closed: dict[str, Callable[[Request], Answer]] = {
            "/metrics": self._metrics,
            "/debug/state.json": self._state,
            "/debug/session.json": self._session,
            "/events": self._events,
        }

    def end(self) -> None:
        """Let all who look go."""
        self._ended = True

    def answer(self, request: Request) -> Answer:
        """What a request gets. The console's own files and health hold nothing secret, and are given to everybody."""
        if (refusal := self._refused(request)) is not None:
            return refusal
        if request.method == "POST":
            return self._post(request)
        if request.method not in ("GET", "HEAD"):
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD and POST are known here", Allow="GET, HEAD")
        if (page := self._open.get(request.path)) is not None:
            return page(request)
        if (page := self._closed.get(request.path)) is None:
            return _problem(HTTPStatus.NOT_FOUND, "there is nothing at this address; the console is at /console")
        return _who_are_you() if self._who(request) is None else page(request)

    # ---- who asks

    def _refused(self, request: Request) -> Answer | None:
        """Requests that a foreign web page may have had a browser send."""
        if not self._access.knows(request.headers.get("host")):
            text = "this host name is not known here; `admin.names` lists those that are"
            return _problem(HTTPStatus.MISDIRECTED_REQUEST, text)
        navigates = request.headers.get("sec-fetch-mode") == "navigate" and request.path in self._open
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not navigates:
            return _problem(HTTPStatus.FORBIDDEN, "other web pages may not ask here")
        return None

    def _who(self, request: Request) -> str | None:
        return self._access.who(request.headers.get("authorization"), request.cookies)

    # ---- health

    def _livez(self, request: Request) -> Answer:
        silence = self._board.silence
        if self._board.stands_still:
            return _health(request, False, f"the event loop has stood still for {silence:.1f} s", {})
        return _health(request, True, "alive", {"last sign of life": f"{silence:.2f} s ago"})

    def _readyz(self, request: Request) -> Answer:
        checks = self._board.checks
        verdicts = {name: f"{_verdict(check.well, check.vital)}: {check.text}" for name, check in checks.items()}
        if self._board.stands_still:
            return _health(request, False, "the event loop stands still", verdicts)
        failed = [name for name, check in checks.items() if not check.well]
        if not checks or any(checks[name].vital for name in failed):
            return _health(request, False, f"not ready: {', '.join(failed) or 'starting'}", verdicts)
        return _health(request, True, f"ready, degraded: {', '.join(failed)}" if failed else "ready", verdicts)

    def _startupz(self, request: Request) -> Answer:
        return _health(request, self._board.started, "started" if self._board.started else "starting", {})

    # ---- what there is to see

    def _metrics(self, request: Request) -> Answer:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Answer(type=kind, body=encode(self._registry))

    def _state(self, _: Request) -> Answer:
        state = self._board.fresh()
        if state is None:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "there is no state yet; try again in a second")
        return Answer(type=JSON, body=msgspec.json.encode({"silence": round(self._board.silence, 3), "state": state}))

    def _session(self, request: Request) -> Answer:
        timeline = self._timeline(request.query.get("id", ""))
        if timeline is None:
            return _problem(HTTPStatus.NOT_FOUND, "nothing is known of such a session, any more")
        return Answer(type=JSON, body=msgspec.json.encode(timeline))

    def _events(self, request: Request) -> Answer:
        if request.method == "HEAD":
            return Answer(type="text/event-stream")
        if not self._seats.acquire(blocking=False):
            text = f"{MOST_VIEWERS} look already; close another console"
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, text, **{"Retry-After": "10"})
        life, _, version = request.headers.get("last-event-id", "").partition("-")
        seen = int(version) if life == self._life and version.isascii() and version.isdigit() else 0
        stream = self._watch(seen)
        return Answer(type="text/event-stream", body=next(stream), stream=stream)  # begun, so that it is also ended

    def _watch(self, seen: int) -> Generator[bytes, None, None]:
        try:
            told = time.monotonic()
            yield b"retry: 1000\n\n"
            while not self._ended:
                now = time.monotonic()
                self._board.look()
                for update in self._feed.after(seen):
                    seen, told = update.version, now
                    kind = b"patch" if update.is_patch else b"state"
                    yield b"event: %s\nid: %s-%d\ndata: %s\n\n" % (kind, self._life.encode(), seen, update.json)
                if now - told >= PULSE_SECONDS:
                    told = now
                    yield b'event: pulse\ndata: {"silence":%.1f}\n\n' % self._board.silence
                time.sleep(LOOK_SECONDS)
        finally:
            self._seats.release()

    # ---- what there is to do

    def _login(self, request: Request) -> Answer:
        cookie = self._access.log_in(request.query.get("key", ""))
        if cookie is None:
            text = "this login link was used, or is too old; `voxtree observe --login` makes a new one"
            return _problem(HTTPStatus.FORBIDDEN, text)
        return _to_console(request, **{"Set-Cookie": cookie})

    def _post(self, request: Request) -> Answer:
        if request.path not in ("/actions", "/login"):
            return _problem(HTTPStatus.NOT_FOUND, "nothing can be posted to this address")
        if ACTION_HEADER not in request.headers:
            return _problem(HTTPStatus.FORBIDDEN, "this takes the header X-Voxtree-Action")
        who = self._who(request)
        if who is None:
            return _who_are_you()
        if request.path == "/login":
            return Answer(type=JSON, body=msgspec.json.encode({"path": self._access.new_link()}))
        return self._act(request.body, who)

    def _act(self, body: bytes, who: str) -> Answer:
        if self._orders is None:
            return _problem(HTTPStatus.FORBIDDEN, "actions are off; `admin.actions = true` allows them")
        try:
            order = msgspec.json.decode(body, type=Order)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return _problem(HTTPStatus.BAD_REQUEST, f"no such action: {error}")
        try:
            done = self._orders.give(order, who)
        except OrderFailed as failed:
            return _problem(HTTPStatus.CONFLICT, str(failed))
        return Answer(type=JSON, body=msgspec.json.encode({"done": done}))


_FILES = (
    ("/console", "console.html", "text/html; charset=utf-8"),
    ("/console/console.css", "console.css", "text/css; charset=utf-8"),
    ("/console/console.js", "console.js", "text/javascript; charset=utf-8"),
    ("/console/icon.svg", "icon.svg", "image/svg+xml"),
)


def _file(name: str, kind: str) -> Callable[[Request], Answer]:
    answer = Answer(type=kind, body=files("transport.admin").joinpath("console", name).read_bytes())
    return lambda request: answer


def _to_console(_: Request, **headers: str) -> Answer:
    return Answer(status=HTTPStatus.SEE_OTHER, headers={"Location": "/console", **headers})


def _health(request: Request, well: bool, text: str, details: Mapping[str, str]) -> Answer:
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    answer: dict[str, Any] = {"status": text}
    if "verbose" in request.query:
        answer["checks"] = details
    return Answer(status=status, type=JSON, body=msgspec.json.encode(answer) + b"\n")


def _verdict(well: bool, vital: bool) -> str:
    return "ok" if well else "FAIL" if vital else "degraded"


def _who_are_you() -> Answer:
    text = "this takes the token (Authorization: Bearer) or a login link; `voxtree observe --login` makes one"
    return _problem(HTTPStatus.UNAUTHORIZED, text, **{"WWW-Authenticate": 'Bearer realm="voxtree"'})


def _problem(status: HTTPStatus, text: str, **headers: str) -> Answer:
    return Answer(status=status, body=f"{text}\n".encode(), headers=headers)
