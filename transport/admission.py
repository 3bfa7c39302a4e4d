"""Who is let in, whichever way clients come: the names of sessions, and the pages that may connect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

HELP = "Connect a WebSocket to /transcribe/ID, where ID is 1 to 128 of A-Z a-z 0-9 . _ ~ -"

_SESSION_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


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
