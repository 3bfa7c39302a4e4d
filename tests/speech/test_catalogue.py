"""The catalogue holds every error once, and everything else agrees with it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from actors.speech import errors
from actors.speech.catalogue import CATALOGUE, Action, Fault, Retry, Severity
from actors.speech.errors import SpeechError
from actors.speech.policies import AT_ONCE, SERVER_POLICIES, SESSION_POLICIES
from supervisor.policy import Directive, Policy

ROOT = Path(__file__).parent.parent.parent
FRAMEWORK = [
    ("CONN_001", "CONN_CLIENT_DISCONNECT", "INFO", "Connection closed", "keep_for_resume"),
    ("CONN_002", "CONN_TIMEOUT", "WARNING", "Connection timed out. Please reconnect.", "keep_for_resume"),
    ("CONN_003", "CONN_INVALID_MESSAGE", "ERROR", "Invalid message format", "continue"),
    ("RIVA_001", "RIVA_CONNECTION_FAILED", "CRITICAL", "Service temporarily unavailable", "exponential_backoff"),
    ("RIVA_002", "RIVA_MODEL_NOT_FOUND", "ERROR", "Language not supported", "no_retry"),
    ("RIVA_003", "RIVA_QUOTA_EXCEEDED", "WARNING", "Service capacity reached. Please try again later.", "rate_limit"),
    ("AUDIO_001", "AUDIO_INVALID_FORMAT", "ERROR", "Invalid audio format. Please use PCM16.", "no_retry"),
    ("AUDIO_002", "AUDIO_CHUNK_TOO_LARGE", "WARNING", "Audio chunk too large", "continue"),
    ("AUDIO_003", "AUDIO_PROCESSING_FAILED", "ERROR", "Failed to process audio", "continue"),
    ("UNKNOWN", "UNKNOWN", "CRITICAL", "An unexpected error occurred", "restart, then escalate"),
]  # fmt: skip

CLASSES = SpeechError.__subclasses__()


@pytest.mark.parametrize("row", FRAMEWORK, ids=lambda row: row[0])
def test_the_published_rows_are_kept_to_the_letter(row: tuple[str, ...]) -> None:
    entry = CATALOGUE[row[0]]
    assert (entry.code, entry.name, entry.severity.value, entry.message, entry.retry.value) == row


def test_every_row_has_one_exception_and_every_exception_a_row() -> None:
    assert sorted(cls.entry.code for cls in CLASSES) == sorted(CATALOGUE)
    assert all(cls.__module__ == errors.__name__ for cls in CLASSES)


def test_no_exception_is_without_a_place_that_raises_it() -> None:
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for package in ("actors", "transport")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert {cls.__name__ for cls in CLASSES} - used == set()


def test_every_fault_has_an_error() -> None:
    assert {entry.fault for entry in CATALOGUE.values()} == set(Fault)


def test_names_are_unique_and_begin_with_the_family() -> None:
    assert len({entry.name for entry in CATALOGUE.values()}) == len(CATALOGUE)
    assert all(entry.name.startswith(entry.family) for entry in CATALOGUE.values())


def test_every_row_says_all_it_must_in_sentences() -> None:
    for entry in CATALOGUE.values():
        assert re.fullmatch(r"[A-Z]+(_\d{3})?", entry.code)
        assert entry.message
        assert entry.meaning.endswith(".")
        assert entry.remedy
        assert isinstance(entry.severity, Severity)
        assert isinstance(entry.action, Action)


def test_close_codes_are_ones_a_server_may_send() -> None:
    closes = {entry.close for entry in CATALOGUE.values() if entry.close is not None}
    assert all(1000 <= code < 5000 and code not in (1004, 1005, 1006, 1015) for code in closes)


def test_the_protocol_names_every_close_code() -> None:
    named = (ROOT / "docs" / "protocol.md").read_text().partition("Close codes: ")[2].partition("\n\n")[0]
    closes = {entry.close for entry in CATALOGUE.values() if entry.close is not None}
    assert {int(code) for code in re.findall(r"\b\d{4}\b", named)} == closes | {1000}


def test_an_error_that_ends_a_session_has_a_close_code() -> None:
    ending = [entry for entry in CATALOGUE.values() if entry.retry is Retry.NONE]
    assert all(entry.close is not None for entry in ending)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.entry.code)
def test_a_supervisor_finds_the_policy_of_every_row(cls: type[SpeechError]) -> None:
    directive = SERVER_POLICIES.lookup(cls()).directive
    expected = {
        Retry.KEEP_FOR_RESUME: Directive.CONTINUE,
        Retry.CONTINUE: Directive.CONTINUE,
        Retry.NOW: Directive.BACKOFF,
        Retry.BACKOFF: Directive.BACKOFF,
        Retry.RATE_LIMIT: Directive.RATE_LIMIT,
        Retry.NONE: Directive.STOP,
        Retry.RESTART: Directive.RESTART,
    }
    assert directive is expected[cls.entry.retry]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.entry.code)
def test_in_a_session_every_failure_has_a_consequence(cls: type[SpeechError]) -> None:
    general, here = SERVER_POLICIES.lookup(cls()), SESSION_POLICIES.lookup(cls())
    ends = general.directive in (Directive.STOP, Directive.RESTART)
    assert here == (general if ends else Policy(Directive.BACKOFF, AT_ONCE))  # what has to wait waits in the pool


def test_an_error_says_its_facts_in_one_line() -> None:
    error = errors.StreamLost("early end", endpoint="riva-a", grpc_code="UNAVAILABLE", backend_detail="Socket closed")
    assert str(error) == (
        "RIVA_005 RIVA_STREAM_LOST: early end, endpoint 'riva-a', grpc 'UNAVAILABLE', backend said 'Socket closed'"
    )
