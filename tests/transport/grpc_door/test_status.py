"""Which gRPC status each error of the catalogue becomes."""

from __future__ import annotations

import grpc
import pytest

from actors.speech.catalogue import CATALOGUE, Action, Entry, Fault
from actors.speech.messages import Problem
from transport.grpc_door.status import code_of, status

CODES = grpc.StatusCode


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_every_error_has_a_status_that_blames_the_right_side(entry: Entry) -> None:
    theirs = {CODES.INVALID_ARGUMENT, CODES.PERMISSION_DENIED, CODES.ALREADY_EXISTS}
    if code_of(entry) in theirs:
        assert entry.fault in (Fault.CLIENT, Fault.CONFIG)
    assert code_of(entry) not in (CODES.OK, CODES.CANCELLED, CODES.UNIMPLEMENTED)
    assert (code_of(entry) is CODES.UNAUTHENTICATED) == (entry.action is Action.NEW_TOKEN)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("CONN_002", CODES.DEADLINE_EXCEEDED),
        ("CONN_003", CODES.INVALID_ARGUMENT),
        ("CONN_005", CODES.RESOURCE_EXHAUSTED),
        ("CONN_006", CODES.UNAVAILABLE),
        ("CONN_009", CODES.ALREADY_EXISTS),
        ("RIVA_001", CODES.UNAVAILABLE),
        ("RIVA_002", CODES.INVALID_ARGUMENT),
        ("RIVA_003", CODES.RESOURCE_EXHAUSTED),
        ("RIVA_004", CODES.UNAVAILABLE),
        ("RIVA_010", CODES.INVALID_ARGUMENT),
        ("AUDIO_001", CODES.INVALID_ARGUMENT),
        ("SYS_001", CODES.INTERNAL),
        ("SYS_002", CODES.UNAVAILABLE),
        ("UNKNOWN", CODES.INTERNAL),
    ],
)
def test_statuses_are_those_that_riva_clients_know(code: str, expected: grpc.StatusCode) -> None:
    assert code_of(CATALOGUE[code]) is expected


def test_a_status_has_the_catalogues_sentence_and_what_to_quote() -> None:
    told = status(Problem(code="AUDIO_002", detail="d" * 1000), "ab12cd34")
    assert told.text == ("Audio chunk too large (" + "d" * 1000)[:500]
    assert told.metadata == (("voxtree-code", "AUDIO_002"), ("voxtree-ref", "ab12cd34"))
    assert status(Problem(code="CONN_999"), "").code is CODES.INTERNAL
