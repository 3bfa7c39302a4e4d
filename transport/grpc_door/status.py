"""How a call ends when something is wrong with it: the catalogue's error as a gRPC status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from grpc import StatusCode

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Action, Entry
from actors.speech.messages import Problem

_LONGEST = 500  # characters of a status' text; it travels in an HTTP/2 header, and gRPC drops large ones

_BY_ACTION: Mapping[Action, StatusCode] = MappingProxyType(
    {
        Action.NONE: StatusCode.UNAVAILABLE,  # a backend's failure that ended the session after all
        Action.RECONNECT: StatusCode.UNAVAILABLE,
        Action.RETRY: StatusCode.UNAVAILABLE,
        Action.STOP_RECORDING: StatusCode.INVALID_ARGUMENT,
        Action.FIX_CONFIG: StatusCode.INVALID_ARGUMENT,  # also for a model that is not there, as Riva does
        Action.NEW_SESSION: StatusCode.INTERNAL,
        Action.NEW_TOKEN: StatusCode.UNAUTHENTICATED,
    }
)
_BY_CODE: Mapping[str, StatusCode] = MappingProxyType(  # where gRPC has a status that says it better
    {
        "CONN_002": StatusCode.DEADLINE_EXCEEDED,
        "CONN_004": StatusCode.PERMISSION_DENIED,
        "CONN_005": StatusCode.RESOURCE_EXHAUSTED,
        "CONN_007": StatusCode.RESOURCE_EXHAUSTED,
        "CONN_009": StatusCode.ALREADY_EXISTS,
        "CONN_010": StatusCode.ABORTED,
        "CONN_012": StatusCode.RESOURCE_EXHAUSTED,
        "RIVA_003": StatusCode.RESOURCE_EXHAUSTED,
    }
)


class Status(NamedTuple):
    """What ends a call. `metadata` is trailing: `voxtree-code`, `voxtree-ref`, and when to come back, if that is known.

    When to come back is there twice: `grpc-retry-pushback-ms` for gRPC's own retries, `retry-after` in seconds.
    """

    code: StatusCode
    text: str
    metadata: tuple[tuple[str, str], ...]


def status(problem: Problem, ref: str) -> Status:
    """The status for a problem. `ref` is what the log has it under; empty: it is not there under any."""
    entry = CATALOGUE.get(problem.code, UNKNOWN)
    text = f"{entry.message} ({problem.detail})" if problem.detail else entry.message
    metadata = [("voxtree-code", entry.code)]
    if ref:
        metadata.append(("voxtree-ref", ref))
    if problem.retry_after is not None:
        metadata.append(("retry-after", str(math.ceil(problem.retry_after))))
        metadata.append(("grpc-retry-pushback-ms", str(round(problem.retry_after * 1000))))
    return Status(code_of(entry), text[:_LONGEST], tuple(metadata))


def code_of(entry: Entry) -> StatusCode:
    """The gRPC status of a row of the catalogue: by what the client should do, unless gRPC has a better word for it."""
    return _BY_CODE.get(entry.code, _BY_ACTION[entry.action])
