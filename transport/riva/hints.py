"""When a server says it may be asked again: what the trailing metadata of a gRPC status can tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Metadata = Iterable[tuple[str, str | bytes]]


def retry_after(metadata: Metadata) -> float | None:
    """Seconds to wait: the first of pushback, `RetryInfo` and `retry-after` that is there and makes sense.

    A negative pushback ("do not retry") is no hint when to: whether to retry is not the server's to decide
    here.
    """
    values = {key.lower(): value for key, value in metadata}
    return next(
        (seconds for seconds in (
            _number(values.get("grpc-retry-pushback-ms"), 0.001),
            _retry_info(values.get("grpc-status-details-bin")),
            _number(values.get("retry-after"), 1.0),
        ) if seconds is not None and 0 <= seconds <= _LONGEST),
        None,
    )  # fmt: skip


_LONGEST = 3600.0  # a server that names more has made a mistake, or means a date


def _number(value: str | bytes | None, unit: float) -> float | None:
    try:
        return None if value is None else float(value) * unit
    except ValueError:  # `retry-after` may be a date
        return None


def _retry_info(details: str | bytes | None) -> float | None:
    """`Status.details[Any(RetryInfo)].retry_delay` of google.rpc, whose protos are not in Riva's stubs."""
    if not isinstance(details, bytes):
        return None
    try:
        for packed in _submessages(details, field=3):
            fields = dict(_fields(packed))
            if fields.get(1) == b"type.googleapis.com/google.rpc.RetryInfo":
                delay = next(_submessages(fields[2], field=1))
                return _duration(delay)
    except (IndexError, KeyError, StopIteration, TypeError, ValueError):  # malformed details are no details
        return None
    return None


def _duration(message: bytes) -> float:
    fields = dict(_fields(message))
    seconds, nanos = fields.get(1, 0), fields.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise ValueError("a duration holds integers")
    return seconds + nanos / 1e9


def _submessages(message: object, *, field: int) -> Iterator[bytes]:
    if isinstance(message, bytes):
        yield from (value for number, value in _fields(message) if number == field and isinstance(value, bytes))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The varint and length-delimited fields of a protobuf message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value, position = _varint(message, position)
        match tag & 7:
            case 0:
                yield tag >> 3, value
            case 2:
                yield tag >> 3, message[position : position + value]
                position += value
            case other:
                raise ValueError(f"unexpected wire type {other}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
