"""What the `websockets` library logs of clients, as far as an operator can use it: no tracebacks for port scanners."""

from __future__ import annotations

import ipaddress
import logging

from websockets.exceptions import ConnectionClosed, InvalidHandshake


class _Quiet(logging.Filter):
    """Lets through what an operator can use: failed handshakes as one line, and defects whole."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        vars(record)["event"] = "websocket.failed"
        if not isinstance(error, InvalidHandshake | ConnectionClosed | OSError):
            return record.levelno >= logging.WARNING
        if isinstance(error, ConnectionClosed) or isinstance(error.__cause__, EOFError):
            return False  # connected and left: how load balancers check a port
        reason = ": ".join(str(part) for part in (error, error.__cause__) if part is not None)
        record.msg, record.args = "%s (%s): %s", (record.msg, _peer(record), reason[:200])
        record.exc_info, record.exc_text = None, None
        vars(record)["event"] = "websocket.refused"
        record.levelno, record.levelname = logging.INFO, "INFO"
        return True


def _peer(record: logging.LogRecord) -> str:
    client = getattr(record, "websocket", None)  # where the library's adapter puts the connection
    address = client.remote_address if client is not None else None
    return _network(str(address[0])) if address else "unknown"


def _network(address: str) -> str:
    """What may be logged of a client's address: not whose it is."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network(f"{ip.compressed.partition('%')[0]}/{24 if ip.version == 4 else 48}", strict=False))


def library_logger() -> logging.Logger:
    """The logger to hand to `websockets`; never at DEBUG, where it writes every frame: what people said."""
    logger = logging.getLogger("transport.websocket.library")
    logger.setLevel(logging.INFO)
    if not logger.filters:
        logger.addFilter(_Quiet())
    return logger
