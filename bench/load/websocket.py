"""A client's side of WebSocket, by hand and no more than is needed, since that is not to be measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="  # that a server has read it, nobody checks here


def request(path: str, host: str, key: str | None = None) -> bytes:
    """The request for a WebSocket. `key`: who we are, for `Authorization: Bearer`."""
    who = f"Authorization: Bearer {key}\r\n" if key is not None else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{who}"
        f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int) -> bytes:
    """A frame of up to 64 KiB. Masked by zeros, which changes nothing, and is as good a mask as any other."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Answer:
    """What a server says: first its answer to the request, then frames.

    Attributes:
        status: of the answer; None: it has not come.
        retry_after: seconds, if it names them.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: float | None = None
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take what came; the frames that are complete now, each with its opcode."""
        data = self._rest + data if self._rest else data
        position = 0
        if self.status is None:
            head, end, _ = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = data
                return
            self._read_head(head.decode("latin-1").split("\r\n"))
            position = len(head) + 4
        while self.status == 101:
            start, length = position + 2, data[position + 1] & 0x7F if len(data) > position + 1 else 0
            if length >= 126:
                size = 2 if length == 126 else 8
                length = int.from_bytes(data[start : start + size], "big")
                start += size
            if len(data) < start + length:
                break
            opcode, position = data[position] & 0x0F, start + length
            yield opcode, data[start:position]
        self._rest = data[position:]

    def _read_head(self, lines: list[str]) -> None:
        self.status = int(status) if (status := lines[0].partition(" ")[2][:3]).isdecimal() else 0
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "retry-after" and value.strip().isdecimal():
                self.retry_after = float(value)
