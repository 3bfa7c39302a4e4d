"""What systemd wants to know of a service: that it is ready, reloads, stops, and still lives.

The protocol is datagrams of `KEY=VALUE` lines to the socket that $NOTIFY_SOCKET names; see sd_notify(3).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Self

logger = logging.getLogger("voxtree.systemd")

_RETRY = 0.1  # seconds after which a manager that takes nothing more is tried again


class Notifier:
    """Tells the service manager; where there is none, it tells nobody.

    As a context it lasts as long as what it speaks for: once ready, it gives signs of life from the event loop until
    the end, also while the service stops, which may take longer than the watchdog waits. A manager that is busy holds
    nobody up: what its socket has no room for is told later, in order.

    Args:
        environ: the environment, of which `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` count.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(usec) / 1e6 if self._address and ours and usec.isdecimal() else 0.0
        self._next_sign: asyncio.TimerHandle | None = None
        self._untold: list[bytes] = []
        self._retry: asyncio.TimerHandle | None = None  # None: the socket had room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for timer in (self._next_sign, self._retry):
            if timer is not None:
                timer.cancel()

    def ready(self, status: str) -> None:
        """It serves."""
        self._tell("READY=1", f"STATUS={status}")
        if self.watchdog and self._next_sign is None:
            self._live()

    def reloading(self) -> None:
        """It reads its settings again; `ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """It stops, and wants so many seconds for that."""
        status = "STATUS=sessions get their last words"
        self._tell("STOPPING=1", status, f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _live(self) -> None:
        if not self._untold:  # what waits is as good a sign of life
            self._tell("WATCHDOG=1")
        self._next_sign = asyncio.get_running_loop().call_later(self.watchdog / 2, self._live)

    def _tell(self, *lines: str) -> None:
        if self._address:
            self._untold.append("\n".join(lines).encode())
            if self._retry is None:
                self._send()

    def _send(self) -> None:
        name, self._retry = self._address, None
        address = f"\0{name[1:]}" if name.startswith("@") else name  # an abstract socket has no file
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            while self._untold:
                try:
                    to.sendto(self._untold[0], socket.MSG_DONTWAIT, address)
                except BlockingIOError:
                    self._retry = asyncio.get_running_loop().call_later(_RETRY, self._send)
                    return
                except OSError as error:
                    logger.warning("systemd cannot be told: %s", error.strerror, extra={"event": "systemd.unreachable"})
                del self._untold[0]
