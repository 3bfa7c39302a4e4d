"""Who may ask the admin port, and for what. Knows requests, not sockets."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from transport.settings import Admin, SettingsError

SHORTEST_TOKEN = 16  # characters
LINK_SECONDS = 600.0  # for which a login link is good, once
LOGIN_SECONDS = 12 * 3600.0
MOST_LOGINS = 100  # links and logins that are remembered; the oldest go
COOKIE = "voxtree_admin"


class Access:
    """Without a token whoever reaches the port may ask, which settings allow on loopback only.

    With one it takes the token itself (`Authorization: Bearer`), or the cookie that a login link sets, once.

    Args:
        names: host names, besides `localhost` and addresses, by which browsers may call this server. Another name that
            resolves to us is a web page's that wants to look like ours.
        clock: monotonic.
    """

    def __init__(
        self, token: str | None, names: tuple[str, ...] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = token
        self._names = {"localhost", *(name.lower() for name in names)}
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[bytes, float] = {}
        self._logins: dict[bytes, float] = {}

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    def knows(self, host: str | None) -> bool:
        """Whether a `Host` header may be a browser's that means this server. No browser leaves it out."""
        if host is None:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def who(self, authorization: str | None, cookies: Mapping[str, str]) -> str | None:
        """Who asks, for the log; None: somebody who may not."""
        if self._token is None:
            return "this machine"
        kind, _, given = (authorization or "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode()):
            return "token"
        login = _digest(cookies.get(COOKIE, ""))
        with self._lock:
            known = self._clock() < self._logins.get(login, 0.0)
        return f"login {login.hex()[:8]}" if known else None

    def new_link(self) -> str:
        """The path of a link that logs one browser in; without a token no login is needed."""
        if self._token is None:
            return "/console"
        key = secrets.token_urlsafe(24)
        self._remember(self._links, key, LINK_SECONDS)
        return f"/login?key={key}"

    def log_in(self, key: str) -> str | None:
        """Use up a link's key. The cookie for it; None: there is no such link any more."""
        with self._lock:
            until = self._links.pop(_digest(key), 0.0)
        if self._clock() >= until:
            return None
        value = secrets.token_urlsafe(24)
        self._remember(self._logins, value, LOGIN_SECONDS)
        return f"{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={LOGIN_SECONDS:.0f}"

    def _remember(self, where: dict[bytes, float], secret: str, seconds: float) -> None:
        with self._lock:
            while len(where) >= MOST_LOGINS:
                del where[next(iter(where))]
            where[_digest(secret)] = self._clock() + seconds


def make_access(wanted: Admin) -> Access:
    """What the settings say.

    Raises:
        SettingsError: the token's file cannot be used.
    """
    return Access(read_token(wanted), (*wanted.names, wanted.host))


def read_token(wanted: Admin) -> str | None:
    """The token, if one is needed.

    Raises:
        SettingsError: its file cannot be read, or holds too little to be a secret.
    """
    if wanted.token_file is None:
        return None
    try:
        token = Path(wanted.token_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"admin.token_file: {wanted.token_file}: {(reason or str(error)).lower()}") from None
    if len(token) < SHORTEST_TOKEN:
        raise SettingsError(
            f"admin.token_file: {wanted.token_file}: a token takes at least {SHORTEST_TOKEN} characters; "
            "`openssl rand -hex 32` makes one"
        )
    return token


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(secret: str) -> bytes:
    """What is kept of a secret; looking it up then tells nothing by the time it takes."""
    return hashlib.sha256(secret.encode()).digest()
