"""Asking a worker's admin port, which is a socket in a folder of the parent's. From any thread but the event loop's."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from types import MappingProxyType

PATIENCE = 1.0  # seconds; its threads answer also while its event loop stands still


class Silent(Exception):
    """It gave no answer."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    path: str,
    target: str,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    patience: float = PATIENCE,
) -> tuple[int, bytes]:
    """The status and the body of an answer.

    Args:
        path: of the socket.
        body: what to post; None: ask by GET.

    Raises:
        Silent: there was none within the time.
    """
    connection = _Connection(path, patience)
    try:
        connection.request("GET" if body is None else "POST", target, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Silent(str(error) or type(error).__name__) from error
    finally:
        connection.close()
