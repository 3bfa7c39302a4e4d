"""Requests that are none for a WebSocket: read with h11, since the library for those knows only GET."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import h11

from transport.wire.port import Answer, Request

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 256 * 1024  # a session's settings with a long list of words
GO_AHEAD = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestRefused(Exception):
    """What was received is no request that is answered; `status` and the text say why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class RequestReader:
    """Puts one request together from what arrives. What follows behind it is ignored: the connection ends with it.

    Attributes:
        wants_go_ahead: the client sends its body once it was told `GO_AHEAD`, or after a pause of its own.
    """

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self.wants_go_ahead = False

    def feed(self, data: bytes) -> Request | None:
        """The request, once all of it has arrived.

        Raises:
            RequestRefused: it is malformed or too large.
        """
        try:
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                match event:
                    case h11.Request():
                        _require_short(event)
                        self._head = _unambiguous(event)
                        _require_small(_announced(event))
                    case h11.Data(data=part):
                        self._body += part
                        _require_small(len(self._body))
                    case h11.EndOfMessage():
                        assert self._head is not None
                        head = self._head
                        method = head.method.decode("ascii")
                        return request(head.target.decode("ascii"), head.headers, bytes(self._body), method=method)
                    case _:
                        raise RequestRefused(HTTPStatus.BAD_REQUEST, "That request ended before it was complete.")
        except h11.RemoteProtocolError as exc:
            raise RequestRefused(HTTPStatus(exc.error_status_hint), f"That was not HTTP: {exc}.") from exc
        self.wants_go_ahead = self._http.they_are_waiting_for_100_continue
        return None


def _unambiguous(head: h11.Request) -> h11.Request:
    """A head, if it says in one way only how long its body is; who reads it otherwise sees two requests in one."""
    names = {name for name, _ in head.headers}
    if {b"content-length", b"transfer-encoding"} <= names:
        text = "A request has a Content-Length or a Transfer-Encoding, and not both."
        raise RequestRefused(HTTPStatus.BAD_REQUEST, text)
    return head


def _announced(head: h11.Request) -> int:
    """How long the body is going to be; 0 if that is not said. h11 has seen to it that it is said once."""
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)


def _require_short(head: h11.Request) -> None:
    """h11 itself looks only while a head is not complete, and one may arrive in a single piece."""
    if sum(len(name) + len(value) for name, value in head.headers) > MAX_HEAD_BYTES:
        raise h11.RemoteProtocolError("Receive buffer too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def _require_small(size: int) -> None:
    if size > MAX_BODY_BYTES:
        text = f"The body of a request may have {MAX_BODY_BYTES} bytes."
        raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


def request(target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"", *, method: str = "GET") -> Request:
    """A request by its target, path and query, and its raw headers."""
    path, _, query = target.partition("?")
    named: dict[str, list[str]] = {}
    for name, value in headers:
        named.setdefault(name.decode("ascii", "replace").lower(), []).append(value.decode("latin-1"))
    return Request(path=path, method=method, query=_parsed(query), headers=named, body=body)


def _parsed(query: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=None):
        found.setdefault(name, []).append(value)
    return found


def response(answer: Answer) -> bytes:
    """What is sent for an answer; the connection is closed behind it."""
    phrase = HTTPStatus(answer.status).phrase
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(answer.body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **answer.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {phrase}\r\n{head}\r\n".encode("latin-1") + answer.body
