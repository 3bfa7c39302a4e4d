"""What Riva, Triton, NVCF and the proxies between say when they refuse or fail, by names a plan can use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import grpc
import msgspec

Code = Literal[
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
]  # fmt: skip
Trailers = tuple[tuple[str, str | bytes], ...]


class Refused(Exception):
    """A call that ends with this status instead of OK."""

    def __init__(self, code: Code, text: str, trailers: Trailers = ()) -> None:
        super().__init__(f"{code}: {text}")
        self.code = grpc.StatusCode[code]
        self.text = text
        self.trailers = trailers


class Preset(msgspec.Struct, frozen=True):
    """A status as it is seen in the field."""

    code: Code
    text: str


PRESETS: Mapping[str, Preset] = MappingProxyType({
    # Riva
    "unknown_model": Preset(
        "INVALID_ARGUMENT",
        "Error: Unavailable model requested given these parameters: "
        "language_code=en-US; sample_rate=16000; type=online; ",
    ),
    "wrong_header": Preset("INVALID_ARGUMENT", "Error: config format doesn't match with header format"),
    "streaming_timed_out": Preset(
        "UNKNOWN", "Error: Triton model failed during inference. Error message: Streaming timed out"
    ),
    "stream_closed": Preset(
        "UNKNOWN", "Error: Triton model failed during inference. Error message: Stream has been closed."
    ),
    "response_timeout": Preset("UNKNOWN", "TRTIS response timeout"),
    "sequence_expired": Preset(
        "INVALID_ARGUMENT",
        "inference request for sequence 17 to model 'scripted-en' must specify the START flag on the first request of "
        "the sequence",
    ),
    # Triton
    "request_timeout": Preset("UNAVAILABLE", "Request timeout expired"),
    "queue_full": Preset("UNAVAILABLE", "Exceeds maximum queue size"),
    "sequence_timeout": Preset("UNAVAILABLE", "timeout of the corresponding sequence has been expired"),
    "stopping": Preset(
        "UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new inference requests"
    ),
    "not_ready": Preset("UNAVAILABLE", "Server not ready"),
    "model_not_ready": Preset("UNAVAILABLE", "'scripted-en' version 1 is not at ready state"),
    "exiting": Preset("UNAVAILABLE", "Server exiting"),
    "gpu_oom": Preset("INTERNAL", "Failed to allocate CUDA memory with byte size 16777216 on GPU 0: out of memory"),
    "cuda_oom": Preset("UNKNOWN", "CUDA error: out of memory"),
    "cpu_oom": Preset("UNAVAILABLE", "CPU memory allocation failed"),
    # NVCF
    "no_authorization": Preset("UNAUTHENTICATED", "no authorization was passed in the metadata"),
    "bad_key": Preset(
        "INTERNAL",
        "failed to open stateful work request: rpc error: code = Unauthenticated desc = invalid response from UAM",
    ),
    "no_function": Preset("INVALID_ARGUMENT", "no function-id was passed in the metadata"),
    "unknown_function": Preset("NOT_FOUND", "Function '0f0f0f0f': Not found for account 'a1b2c3'"),
    "rate_limited": Preset("RESOURCE_EXHAUSTED", "function exceeded rate limit"),
    "no_worker": Preset("DEADLINE_EXCEEDED", "failed to establish link to worker"),
    "no_session": Preset("NOT_FOUND", "no existing session found"),
    "worker_failed": Preset("INTERNAL", "Internal error while making inference request"),
    # gRPC and proxies
    "out_of_streams": Preset("RESOURCE_EXHAUSTED", "all streams are in use"),
    "socket_closed": Preset("UNAVAILABLE", "Socket closed"),
    "bad_gateway": Preset("UNAVAILABLE", "Received http2 header with status: 502"),
    "upstream_timeout": Preset("UNAVAILABLE", "upstream request timeout"),
    "too_large": Preset("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (5242885 vs. 4194304)"),
})  # fmt: skip


def unavailable_model(language: str, rate: int) -> Refused:
    """What Riva says to a stream that none of its models can serve."""
    return Refused(
        "INVALID_ARGUMENT",
        "Error: Unavailable model requested given these parameters: "
        f"language_code={language}; sample_rate={rate}; type=online; ",
    )


def retry_info(seconds: float) -> bytes:
    """`grpc-status-details-bin` that asks to come back after so many seconds: a google.rpc.Status with a RetryInfo."""
    whole, fraction = divmod(seconds, 1)
    duration = _number(1, int(whole)) + _number(2, round(fraction * 1e9))
    packed = _text(1, b"type.googleapis.com/google.rpc.RetryInfo") + _text(2, _text(1, duration))
    return _text(3, packed)


def _text(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
