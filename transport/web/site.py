"""The files for browsers, each with the headers it is served with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

import msgspec

# The page runs nothing but its own files, of which one makes the audio worklet, and talks to servers of voxtree's only.
_POLICY = (
    "default-src 'none'; script-src 'self' blob:; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_JAVASCRIPT = "text/javascript; charset=utf-8"
_FILES = {
    "/": ("web/index.html", "text/html; charset=utf-8"),
    "/client.js": ("web/client.js", _JAVASCRIPT),
    "/client.d.ts": ("web/client.d.ts", "text/plain; charset=utf-8"),
    "/page.js": ("web/page.js", _JAVASCRIPT),
    "/transcript.js": ("web/transcript.js", _JAVASCRIPT),
    "/page.css": ("web/page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("admin/console/icon.svg", "image/svg+xml"),
}
_FOR_OTHERS = frozenset({"/client.js", "/client.d.ts"})  # pages of other origins may use these


class File(msgspec.Struct, frozen=True):
    """One file as it is served: `etag` changes with its content."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


def site() -> Mapping[str, File]:
    """The files by their paths."""
    return MappingProxyType({path: _file(path, name, kind) for path, (name, kind) in _FILES.items()})


def _file(path: str, name: str, kind: str) -> File:
    body = files("transport").joinpath(name).read_bytes()
    headers = {
        "Content-Type": kind,
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if path in _FOR_OTHERS:
        headers |= {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    if path == "/":
        headers |= {"Content-Security-Policy": _POLICY, "Permissions-Policy": "microphone=(self)"}
    return File(body, MappingProxyType(headers))
