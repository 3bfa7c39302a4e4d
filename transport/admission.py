"""Who is let in, whichever way clients come: the names of sessions, and the pages that may connect."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from actors.speech.errors import NotAllowed, NotAuthenticated, SpeechError
from transport.limits.accounts import Pace
from transport.limits.addresses import Proxies, network_of
from transport.limits.gate import Gate
from transport.limits.returns import LEAST
from transport.settings import Server as ServerSettings
from transport.wire.port import Answer, Request

HELP = "Connect a WebSocket to /transcribe/ID, where ID is 1 to 128 of A-Z a-z 0-9 . _ ~ -"

# Offered, as a subprotocol that is never chosen, by clients of ours that come back to a session: a page can say nothing
# else in its handshake. It is worth no more than a place, if there is one.
RESUMES = "voxtree.resumes"

_SESSION_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class Caller(NamedTuple):
    """Who is at the other end.

    Attributes:
        user: who that is, as it has proved; empty: nobody has asked.
        address: of the machine it comes from, which is never logged whole; empty: unknown. It is the one that a proxy
            has named, if that may be believed.
    """

    user: str = ""
    address: str = ""


NOBODY = Caller()


class Refused(NamedTuple):
    """It is not let in.

    Attributes:
        status: of the answer to its request, where that is how it is told.
        error: why; its detail is said to it.
        reason: the same in a word, of few, for metrics.
        to_page: a page may have it explained. Browsers show their scripts nothing of a handshake that failed, so a page
            is let in, told, and closed. One that may not speak to us at all is not.
    """

    status: HTTPStatus
    error: SpeechError
    reason: str
    to_page: bool = True

    def is_told_inside(self, request: Request) -> bool:
        """Whether whoever asked so is told by the error of its protocol, instead of by an answer to its request."""
        return self.to_page and "origin" in request.headers

    def answer(self, *, to_post: bool = False) -> Answer:
        """The answer to its request: the error as clients of ours read it.

        Args:
            to_post: clients of other systems show their users `detail` alone, so the sentence for users is in it.
        """
        error, entry = self.error, self.error.entry
        detail = error.detail or entry.message
        body: dict[str, object] = {
            "code": entry.code,
            "message": entry.message,
            "detail": f"{entry.message} ({detail})" if to_post else detail,
            "reason": self.reason,
            "action": entry.action.value,
        }
        headers = {"Cache-Control": "no-store"}
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="voxtree"'
        if error.retry_after is not None:
            body["retry_after_ms"] = round(1000 * error.retry_after)
            headers["Retry-After"] = str(math.ceil(error.retry_after))
        return Answer(self.status, msgspec.json.encode(body), headers)


class Identify(Protocol):
    """Who a client is (`transport.auth.Authentication`)."""

    def user(self, request: Request) -> str:
        """Its name; empty: nobody is asked.

        Raises:
            SpeechError: it has not proved it.
        """
        ...


class Admission:
    """Decides who is let in, by what is known before there is a session.

    Pages may connect from the host they connect to and from `server.origins` (`*`: from anywhere); clients that are no
    browsers always may.

    Args:
        identify: asks clients who they are; None: nobody does.
        gate: what there is room for, and for whom; None: everybody.
    """

    def __init__(self, server: ServerSettings, identify: Identify | None = None, gate: Gate | None = None) -> None:
        self._identify = identify
        self._gate = gate
        self.adopt(server)

    def adopt(self, server: ServerSettings) -> None:
        """Let these origins and proxies hold for whoever connects from now on."""
        self._origins = server.origins
        self._proxies = Proxies(server.trusted_proxies, server.proxy_header)

    def admit(
        self, request: Request, address: str, session_id: str = "", *, for_session: bool = True
    ) -> Caller | Refused:
        """Let a client in, or say why not.

        Args:
            request: for a WebSocket, a POST, or a call's metadata as its headers.
            address: of the machine that is connected; empty: unknown.
            session_id: the session that it asks for; empty: a new one.
            for_session: it wants one. Otherwise there is room for it in any case.
        """
        origins = request.headers.get("origin", ())
        if not may_connect(origins, request.headers.get("host", ()), self._origins):
            return Refused(HTTPStatus.FORBIDDEN, NotAllowed(foreign(origins)), "origin", to_page=False)
        try:
            user = "" if self._identify is None else self._identify.user(request)
        except NotAuthenticated as error:
            return Refused(HTTPStatus.UNAUTHORIZED, error, "credentials")
        except SpeechError as error:
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, error, "credentials_unknown")
        caller = Caller(user, self._proxies.client(request, address))
        return (for_session and self._no_room(caller, request, session_id)) or caller

    def newcomer(self, address: str) -> str:
        """What one that has just connected is counted by, before it has said anything; empty: by nothing."""
        return "" if self._proxies.are(address) else network_of(address)

    def retry_after(self) -> float:
        """Seconds after which one who is refused now may come back."""
        return LEAST if self._gate is None else self._gate.retry_after()

    @contextmanager
    def present(self, caller: Caller, session_id: str) -> Iterator[Pace | None]:
        """A client is connected while the context is open; gives how fast it may send."""
        if self._gate is None:
            yield None
            return
        with self._gate.present(caller.user, network_of(caller.address), session_id) as pace:
            yield pace

    def _no_room(self, caller: Caller, request: Request, session_id: str) -> Refused | None:
        if self._gate is None:
            return None
        resumes = RESUMES in request.subprotocols
        denied = self._gate.refusal(caller.user, network_of(caller.address), session_id, resumes=resumes)
        return denied and Refused(HTTPStatus(denied.error.entry.http), denied.error, denied.reason)


def is_session_id(name: str) -> bool:
    """Whether a session may be called so: what needs no escape in a URL."""
    return _SESSION_ID.fullmatch(name) is not None


def may_connect(origins: Sequence[str], hosts: Sequence[str], allowed: Sequence[str]) -> bool:
    """Whether a client may that sent these `Origin` and `Host` headers: no page, one from here, or an allowed one.

    Args:
        allowed: origins (`https://app.example.com`); `*`: all.
    """
    if not origins:  # not a browser: a page cannot leave it out
        return True
    if len(origins) > 1:
        return False
    return "*" in allowed or origins[0] in allowed or (len(hosts) == 1 and _same_origin(origins[0], hosts[0]))


def foreign(origins: Sequence[str]) -> str:
    """What is said to whoever may not."""
    shown = ascii(", ".join(origins)[:200])
    return f"Pages from {shown} may not connect here: the server's `origins` do not list them."


def _same_origin(origin: str, host: str) -> bool:
    # Without the scheme: behind a proxy that ends TLS we see http where the page says https.
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        default = {"http": 80, "https": 443}.get(page.scheme)
        ports = {page.port or default, here.port or default}
    except ValueError:
        return False
    return default is not None and page.hostname == here.hostname and len(ports) == 1
