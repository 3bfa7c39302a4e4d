from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from hypothesis import given
from hypothesis import strategies as st

from actors.speech import errors
from actors.speech.errors import SpeechError
from transport.riva.hints import retry_after
from transport.riva.status import Phase, classify, is_lost, redact, speech_error, unwrap

_ASCII = st.characters(codec="ascii")
PROBE, OPEN, STREAMING, DRAINING = Phase
ALL = "failed to connect to all addresses; last error: "
REFUSED = ALL + "UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: "
MODEL = "Error: Unavailable model requested given these parameters: language_code=en; sample_rate=16000; type=online; "
OLD_MODEL = "Error: Unavailable model requested. Lang: ru-RU, Type: online"
FORMAT = "Error: config format doesn't match with header format"
TRITON = "Error: Triton model failed during inference. Error message: "
NVCF = "failed to open stateful work request: rpc error: code = "
START = "inference request for sequence 7 to model 'm' must specify the START flag on the first request of the sequence"
RST = "Stream removed (RST_STREAM (Received RST_STREAM with error code {}))"
GOAWAY = "Stream removed (GOAWAY received; Error code: {}; Debug Text: {})"
HANDSHAKE = ALL + "UNKNOWN: Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: "
STOPPING = "Server is stopping, scheduler for model has stopped accepting new inference requests"
EXPIRED = "timeout of the corresponding sequence has been expired"
CUDA = "Failed to allocate CUDA memory with byte size 9 on GPU 0: "
HTTP = "Received http2 header with status: {}"
LARGE = "SERVER: Received message larger than max (5242885 vs. 4194304)"
END_STREAM = "Stream removed (Data frame with END_STREAM flag received)"

# What Riva, Triton, NVCF, proxies and grpcio itself have been seen to say.
STATUSES: list[tuple[Phase, str, str, type[SpeechError]]] = [
    # Riva and NIM
    (OPEN, "INVALID_ARGUMENT", MODEL, errors.ModelNotFound),
    (OPEN, "INVALID_ARGUMENT", OLD_MODEL, errors.ModelNotFound),
    (OPEN, "INVALID_ARGUMENT", FORMAT, errors.InvalidAudioFormat),
    (STREAMING, "UNKNOWN", TRITON + "Streaming timed out", errors.BackendStalled),
    (STREAMING, "UNKNOWN", TRITON + "Stream has been closed.", errors.InferenceFailed),
    (STREAMING, "INTERNAL", TRITON + "anything", errors.InferenceFailed),
    (STREAMING, "UNKNOWN", TRITON + "CUDA error: out of memory", errors.BackendOutOfMemory),
    (STREAMING, "UNKNOWN", "TRTIS response timeout", errors.BackendStalled),
    (DRAINING, "UNKNOWN", "TRTIS response timeout", errors.BackendStalled),
    (STREAMING, "INVALID_ARGUMENT", START, errors.SequenceExpired),
    # Triton
    (STREAMING, "UNAVAILABLE", "Request timeout expired", errors.BackendOverloaded),
    (OPEN, "UNAVAILABLE", "Exceeds maximum queue size", errors.BackendOverloaded),
    (STREAMING, "UNKNOWN", TRITON + "Exceeds maximum queue size", errors.BackendOverloaded),
    (STREAMING, "UNAVAILABLE", EXPIRED, errors.BackendOverloaded),
    (OPEN, "UNAVAILABLE", STOPPING, errors.BackendDraining),
    (OPEN, "UNAVAILABLE", "Server exiting", errors.BackendDraining),
    (OPEN, "UNAVAILABLE", "'m' version 1 is not at ready state", errors.BackendNotReady),
    (OPEN, "UNAVAILABLE", "Server not ready", errors.BackendNotReady),
    (STREAMING, "INVALID_ARGUMENT", "inference request batch-size must be <= 8 for 'm'", errors.ConfigRejected),
    (STREAMING, "INTERNAL", CUDA + "out of memory", errors.BackendOutOfMemory),
    (STREAMING, "UNKNOWN", "CUDA out of memory. Tried to allocate", errors.BackendOutOfMemory),
    (STREAMING, "UNKNOWN", "CUDA error: out of memory", errors.BackendOutOfMemory),
    (STREAMING, "UNKNOWN", "CUDA_ERROR_OUT_OF_MEMORY", errors.BackendOutOfMemory),
    (STREAMING, "UNKNOWN", "cudaErrorMemoryAllocation", errors.BackendOutOfMemory),
    (STREAMING, "INTERNAL", "CUDA runtime error", errors.BackendOutOfMemory),
    (STREAMING, "UNAVAILABLE", "CPU memory allocation failed", errors.BackendOutOfMemory),
    # NVCF
    (OPEN, "UNAUTHENTICATED", "no authorization was passed in the metadata", errors.NotAuthorized),
    (OPEN, "INTERNAL", NVCF + "Unauthenticated desc = invalid response from UAM", errors.NotAuthorized),
    (OPEN, "INTERNAL", NVCF + "Unauthenticated desc = anything", errors.NotAuthorized),
    (OPEN, "INTERNAL", NVCF + "PermissionDenied desc = no", errors.NotAuthorized),
    (OPEN, "INVALID_ARGUMENT", "no function-id was passed in the metadata", errors.ModelNotFound),
    (OPEN, "INTERNAL", NVCF + "NotFound desc = Function 'f': Not found for account 'a'", errors.ModelNotFound),
    (OPEN, "INTERNAL", NVCF + "NotFound desc = anything", errors.ModelNotFound),
    (OPEN, "RESOURCE_EXHAUSTED", "f on a exceeded rate limit", errors.QuotaExceeded),
    (OPEN, "INTERNAL", NVCF + "Unavailable desc = upstream says 429", errors.ConnectionFailed),
    (OPEN, "DEADLINE_EXCEEDED", "failed to establish link to worker", errors.BackendNotReady),
    (OPEN, "NOT_FOUND", "no existing session found", errors.StreamLost),
    (OPEN, "UNAVAILABLE", HTTP.format(502), errors.BackendNotReady),
    (OPEN, "INVALID_ARGUMENT", "DEGRADED function cannot be invoked", errors.BackendNotReady),
    (STREAMING, "INTERNAL", "Internal error while making inference request", errors.InferenceFailed),
    (STREAMING, "INTERNAL", "Received RST_STREAM with error code 2", errors.StreamLost),
    # grpcio and the network
    (OPEN, "UNAVAILABLE", REFUSED + "Connection refused", errors.ConnectionFailed),
    (OPEN, "UNAVAILABLE", REFUSED + "Connection timed out", errors.ConnectionFailed),
    (OPEN, "UNAVAILABLE", "errors resolving host:50051: [Domain name not found]", errors.ConnectionFailed),
    (OPEN, "UNAVAILABLE", "DNS resolution failed for host:50051", errors.ConnectionFailed),
    (OPEN, "UNAVAILABLE", HANDSHAKE + "WRONG_VERSION_NUMBER", errors.NotAuthorized),
    (OPEN, "UNAVAILABLE", HANDSHAKE + "CERTIFICATE_VERIFY_FAILED: self signed certificate", errors.NotAuthorized),
    (OPEN, "UNAVAILABLE", ALL + "UNAUTHENTICATED: Hostname Verification Check failed.", errors.NotAuthorized),
    (OPEN, "UNAVAILABLE", ALL + "UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", errors.ConnectionFailed),
    (OPEN, "UNAVAILABLE", "Socket closed", errors.ConnectionFailed),
    (STREAMING, "UNAVAILABLE", "Stream removed (Socket closed)", errors.StreamLost),
    (STREAMING, "UNAVAILABLE", "Stream removed (recvmsg:Connection reset by peer (104))", errors.StreamLost),
    (DRAINING, "UNAVAILABLE", "Stream removed (Socket closed)", errors.StreamLost),
    (STREAMING, "UNAVAILABLE", "Cancelling all calls", errors.StreamLost),
    (OPEN, "UNAVAILABLE", GOAWAY.format(0, "graceful"), errors.BackendDraining),
    (STREAMING, "UNAVAILABLE", GOAWAY.format(2, "bug"), errors.StreamLost),
    (OPEN, "UNAUTHENTICATED", HTTP.format(401), errors.NotAuthorized),
    (OPEN, "PERMISSION_DENIED", HTTP.format(403), errors.NotAuthorized),
    (OPEN, "UNIMPLEMENTED", HTTP.format(404), errors.WrongEndpoint),
    (OPEN, "UNAVAILABLE", HTTP.format(429), errors.QuotaExceeded),
    (OPEN, "UNAVAILABLE", HTTP.format(503), errors.BackendNotReady),
    (OPEN, "UNAVAILABLE", HTTP.format(504), errors.BackendNotReady),
    (OPEN, "UNKNOWN", HTTP.format(500), errors.InferenceFailed),
    (STREAMING, "INTERNAL", RST.format(2), errors.StreamLost),
    (STREAMING, "UNAVAILABLE", RST.format(7), errors.StreamLost),
    (STREAMING, "CANCELLED", RST.format(8), errors.StreamLost),
    (STREAMING, "RESOURCE_EXHAUSTED", RST.format(11), errors.QuotaExceeded),
    (STREAMING, "UNKNOWN", END_STREAM, errors.StreamLost),
    (STREAMING, "RESOURCE_EXHAUSTED", LARGE, errors.ChunkTooLarge),
    (STREAMING, "UNAVAILABLE", "Stream removed (ping timeout)", errors.BackendStalled),
    (STREAMING, "UNAVAILABLE", "Stream removed (recvmsg:Connection timed out (110))", errors.BackendStalled),
    (STREAMING, "UNAVAILABLE", "Too many pings", errors.KeepaliveRejected),
    (OPEN, "UNAVAILABLE", GOAWAY.format(11, "too_many_pings"), errors.KeepaliveRejected),
    (PROBE, "DEADLINE_EXCEEDED", "Deadline Exceeded", errors.ConnectionFailed),
    (STREAMING, "DEADLINE_EXCEEDED", "Stream removed (Deadline Exceeded)", errors.BackendStalled),
    (DRAINING, "DEADLINE_EXCEEDED", "Deadline Exceeded", errors.BackendStalled),
    (PROBE, "UNIMPLEMENTED", "Method not found!", errors.WrongEndpoint),
    (PROBE, "UNAVAILABLE", "Trying to connect an http1.x server", errors.WrongEndpoint),
    (PROBE, "UNAVAILABLE", "Failed parsing HTTP/2", errors.WrongEndpoint),
    (STREAMING, "INTERNAL", "Internal error from Core", errors.StreamLost),
    (STREAMING, "OK", "", errors.StreamLost),
    (STREAMING, "CANCELLED", "Locally cancelled by application!", errors.StreamLost),
    # proxies, and Python servers
    (STREAMING, "UNAVAILABLE", "upstream request timeout", errors.BackendStalled),
    (OPEN, "UNAVAILABLE", "no healthy upstream", errors.BackendNotReady),
    (STREAMING, "UNKNOWN", "Unexpected <class 'KeyError'>: 'x'", errors.InferenceFailed),
    (STREAMING, "UNKNOWN", "Exception iterating responses: 'x'", errors.InferenceFailed),
    (PROBE, "UNKNOWN", "Exception calling application: 'x'", errors.InferenceFailed),
]  # fmt: skip

Meanings = tuple[type[SpeechError], type[SpeechError]]
BY_CODE: dict[str, Meanings] = {  # of a text that nobody knows: before the first answer, and after it
    "OK": (errors.StreamLost, errors.StreamLost),
    "CANCELLED": (errors.StreamLost, errors.StreamLost),
    "UNAVAILABLE": (errors.ConnectionFailed, errors.StreamLost),
    "DEADLINE_EXCEEDED": (errors.ConnectionFailed, errors.BackendStalled),
    "INTERNAL": (errors.InferenceFailed, errors.InferenceFailed),
    "RESOURCE_EXHAUSTED": (errors.QuotaExceeded, errors.QuotaExceeded),
    "UNAUTHENTICATED": (errors.NotAuthorized, errors.NotAuthorized),
    "PERMISSION_DENIED": (errors.NotAuthorized, errors.NotAuthorized),
    "NOT_FOUND": (errors.ModelNotFound, errors.UnclassifiedError),
    "UNIMPLEMENTED": (errors.WrongEndpoint, errors.WrongEndpoint),
    "INVALID_ARGUMENT": (errors.ConfigRejected, errors.ConfigRejected),
    "OUT_OF_RANGE": (errors.ConfigRejected, errors.ConfigRejected),
    "FAILED_PRECONDITION": (errors.ConfigRejected, errors.ConfigRejected),
    "UNKNOWN": (errors.UnclassifiedError, errors.UnclassifiedError),
    "ABORTED": (errors.UnclassifiedError, errors.UnclassifiedError),
    "ALREADY_EXISTS": (errors.UnclassifiedError, errors.UnclassifiedError),
    "DATA_LOSS": (errors.UnclassifiedError, errors.UnclassifiedError),
}


@pytest.mark.parametrize(("phase", "code", "text", "error"), STATUSES)
def test_a_status_is_read_for_what_it_means(phase: Phase, code: str, text: str, error: type[SpeechError]) -> None:
    assert classify(code, text, phase) is error


@pytest.mark.parametrize("code", grpc.StatusCode, ids=lambda code: code.name)
def test_a_text_nobody_knows_leaves_the_code_and_the_phase(code: grpc.StatusCode) -> None:
    early, late = BY_CODE[code.name]
    found = [classify(code.name, "words never heard before", phase) for phase in Phase]
    assert found == [early, early, late, late]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ("INTERNAL", "plain")),
        ("a: rpc error: code = Canceled desc = b", ("CANCELLED", "b")),
        (
            "a: rpc error: code = Internal desc = b: rpc error: code = ResourceExhausted desc = c\nd",
            ("RESOURCE_EXHAUSTED", "c\nd"),
        ),
    ],
)
def test_the_innermost_code_counts(text: str, expected: tuple[str, str]) -> None:
    assert unwrap("INTERNAL", text) == expected


@given(st.text(_ASCII), st.text(_ASCII), st.sampled_from(Phase))
def test_whatever_a_server_says_has_an_error(code: str, text: str, phase: Phase) -> None:
    assert issubclass(classify(code, text, phase), SpeechError)


def test_only_the_exact_status_of_grpc_aio_counts_as_lost() -> None:
    assert is_lost("INTERNAL", "Internal error from Core")
    assert not is_lost("UNAVAILABLE", "Internal error from Core")
    assert not is_lost("INTERNAL", "Triton: Internal error from Core")


# ---- what may not be logged


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        ("Function 'f': Not found for account 'nca-1'", [], "Function 'f': Not found for account '***'"),
        ("key nvapi-Ab_c-1 refused", [], "key *** refused"),
        ("got Bearer abc.def", [], "got Bearer ***"),
        ("see https://host/path?key=1 for more", [], "see <url> for more"),
        ("token " + "aB3-" * 12, [], "token ***"),
        ("header was swordfish9", ["Bearer swordfish9"], "header was ***"),
        ("it is true", ["true"], "it is true"),
        ("ipv4:10.0.0.1:50051: Connection refused", [], "ipv4:10.0.0.1:50051: Connection refused"),
        ("a " * 400, [], ("a " * 400)[:499] + "…"),
    ],
)
def test_secrets_are_cut_out_of_a_backends_words(text: str, secrets: list[str], expected: str) -> None:
    assert redact(text, secrets) == expected


# ---- when to come back


def retry_info(seconds: int, nanos: int, *, kind: str = "type.googleapis.com/google.rpc.RetryInfo") -> bytes:
    def field(number: int, message: bytes) -> bytes:
        return bytes([number << 3 | 2, len(message)]) + message

    delay = duration_pb2.Duration(seconds=seconds, nanos=nanos).SerializeToString()
    packed = any_pb2.Any(type_url=kind, value=field(1, delay)).SerializeToString()
    return b"\x08\x08" + field(2, b"slow down") + field(3, packed)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([], None),
        ([("grpc-retry-pushback-ms", "1500")], 1.5),
        ([("grpc-retry-pushback-ms", "-1")], None),
        ([("grpc-retry-pushback-ms", "soon"), ("retry-after", "7")], 7.0),
        ([("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None),
        ([("retry-after", "1e9")], None),
        ([("retry-after", "nan")], None),
        ([("grpc-status-details-bin", retry_info(2, 500_000_000))], 2.5),
        ([("grpc-status-details-bin", retry_info(300, 0)), ("retry-after", "7")], 300.0),
        ([("grpc-status-details-bin", retry_info(2, 0, kind="type.googleapis.com/google.rpc.Help"))], None),
    ],
)
def test_a_servers_hint_is_read(metadata: list[tuple[str, str | bytes]], expected: float | None) -> None:
    assert retry_after(metadata) == expected


@given(st.binary(max_size=60))
def test_malformed_details_are_no_hint(details: bytes) -> None:
    assert retry_after([("grpc-status-details-bin", details)]) is None


@given(st.integers(0, 59))
def test_details_cut_short_are_no_hint(length: int) -> None:
    cut = retry_info(2, 500_000_000)[:length]
    assert retry_after([("grpc-status-details-bin", cut)]) in (None, 2.0)


def test_an_error_carries_what_the_status_said() -> None:
    error = speech_error(
        "RESOURCE_EXHAUSTED", "nvapi-x exceeded rate limit", phase=OPEN, endpoint="riva",
        metadata=[("retry-after", "3")],
    )  # fmt: skip
    facts = (type(error), error.endpoint, error.grpc_code, error.backend_detail, error.retry_after)
    assert facts == (errors.QuotaExceeded, "riva", "RESOURCE_EXHAUSTED", "*** exceeded rate limit", 3.0)
