"""What a gRPC status from a Riva endpoint means: the one place that reads status codes and their texts.

Codes alone mislead. TLS faults arrive as UNAVAILABLE, an oversized message as RESOURCE_EXHAUSTED like a spent
quota, NVCF wraps the true code into the text of an INTERNAL one, and proxies speak in Riva's name. So the end of
a call is read in this order; the first that says something decides:

1. what we did to the call ourselves (closed it, gave it up as stalled): its stream knows, no status is read;
2. how far it had come, which is the `Phase` that goes into step 6;
3. the innermost of the codes that proxies wrap into each other;
4. the texts that are known;
5. a status that grpc.aio has lost: a stream that had no answer yet asks the endpoint again, and takes the status of
   that answer; where that is fine, the stream was lost, and no more can be known;
6. the code, together with the phase;
7. nothing: `UnclassifiedError`, whose log line brings the backend's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache

from actors.speech import errors
from actors.speech.errors import SpeechError
from transport.riva.hints import Metadata, retry_after


class Phase(Enum):
    """How far a call had come when it failed."""

    PROBE = "probe"  # the question what the endpoint can recognise
    OPEN = "open"  # a stream that has not answered yet
    STREAMING = "streaming"
    DRAINING = "draining"  # all audio is sent, the remaining results are awaited


def speech_error(
    code: str,
    text: str,
    *,
    phase: Phase,
    endpoint: str,
    metadata: Metadata = (),
    secrets: Iterable[str] = (),
) -> SpeechError:
    """The error for a status that ended a call.

    Args:
        code: the status' name as received (`UNAVAILABLE`).
        text: its details.
        endpoint: the configured name.
        metadata: the trailing metadata, which may say when to come back.
        secrets: strings to remove from the text, besides everything that looks like one.
    """
    return classify(code, text, phase)(
        f"{phase.value} failed",
        endpoint=endpoint,
        grpc_code=code,
        backend_detail=redact(text, secrets),
        retry_after=retry_after(metadata),
    )


@lru_cache(maxsize=64)  # a thousand streams that break together break of the same words
def classify(code: str, text: str, phase: Phase) -> type[SpeechError]:
    """The class of error that a status stands for: steps 3, 4, 6 and 7 above, and what is left of 5."""
    code, text = unwrap(code, text)
    for pattern, error in _TEXTS:
        if pattern.search(text):
            return error
    if is_lost(code, text):
        return errors.StreamLost
    early = phase in (Phase.PROBE, Phase.OPEN)
    return (early and _CODES_BEFORE_ANSWERS.get(code)) or _CODES.get(code, errors.UnclassifiedError)


def unwrap(code: str, text: str) -> tuple[str, str]:
    """The innermost code and text of `rpc error: code = X desc = Y`, as Go proxies nest them."""
    while (match := _WRAPPED.search(text)) is not None:
        name = _CAMEL.sub("_", match["code"]).upper()
        code, text = "CANCELLED" if name == "CANCELED" else name, match["text"]
    return code, text


def is_lost(code: str, text: str) -> bool:
    """Whether grpc.aio has put its own failure to write in the place of the status (grpc/grpc#36066)."""
    return code == "INTERNAL" and text == "Internal error from Core"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The backend's words without keys, account ids and URLs, and not longer than a log line should be."""
    for secret in secrets:
        for part in secret.split():  # `Bearer KEY`: a backend may repeat the key alone
            if len(part) >= _SHORTEST_SECRET:
                text = text.replace(part, "***")
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 1] + "…"


_WRAPPED = re.compile(r"rpc error: code = (?P<code>\w+) desc = (?P<text>.*)", re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _rows(
    rows: Sequence[tuple[type[SpeechError], Sequence[str]]],
) -> list[tuple[re.Pattern[str], type[SpeechError]]]:
    return [(re.compile("|".join(texts), re.IGNORECASE), error) for error, texts in rows]


# Regular expressions. First match wins: a cause stands above the texts that wrap it ("failed to connect … Tls
# handshake failed").
_TEXTS = _rows((
    (errors.NotAuthorized, (
        "Tls handshake failed", "CERTIFICATE_VERIFY_FAILED", "Hostname Verification", "WRONG_VERSION_NUMBER",
        "no authorization was passed", "invalid response from UAM", "header with status: 40[13]",
    )),
    (errors.WrongEndpoint, (
        "Method not found", r"http1\.x server", "header with status: 404", "Failed parsing HTTP/2",
    )),
    (errors.ModelNotFound, (
        "Unavailable model requested", "Not found for account", "no function-id was passed",
    )),
    (errors.ChunkTooLarge, ("message larger than max",)),
    (errors.InvalidAudioFormat, ("config format doesn't match with header format",)),
    (errors.SequenceExpired, ("must specify the START flag",)),
    (errors.BackendOutOfMemory, (
        "Failed to allocate CUDA memory", "CUDA out of memory", "CUDA error: out of memory",
        "CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation", "CUDA runtime error",
        "CPU memory allocation failed",
    )),
    (errors.QuotaExceeded, (
        "exceeded rate limit", "header with status: 429", r"RST_STREAM with error code 11\b",
    )),
    (errors.BackendOverloaded, (
        "Exceeds maximum queue size", "Request timeout expired", "sequence has been expired",
    )),
    (errors.BackendDraining, ("Server is stopping", "Server exiting", r"GOAWAY received; Error code: 0\b")),
    (errors.KeepaliveRejected, ("Too many pings", "too_many_pings")),
    (errors.BackendNotReady, (
        "is not at ready state", "Server not ready", "failed to establish link to worker", "DEGRADED function",
        "no healthy upstream", "header with status: 50[234]",
    )),
    (errors.ConnectionFailed, (
        "failed to connect to all addresses", "errors resolving", "DNS resolution failed",
        "Domain name not found", "Connection refused",
    )),
    (errors.BackendStalled, (
        "ping timeout", "keepalive watchdog timeout", "Connection timed out", "TRTIS response timeout",
        "Streaming timed out", "upstream request timeout",
    )),
    (errors.StreamLost, (
        "GOAWAY received", "no existing session found", "RST_STREAM with error code", "END_STREAM flag",
    )),
    (errors.InferenceFailed, (
        "Triton model failed", "Internal error while making inference", "header with status: 500",
        # an exception in a handler, in the words of gRPC's two Python servers
        "Unexpected <class", "Exception (iterating responses|calling application)",
    )),
))  # fmt: skip

_CODES: Mapping[str, type[SpeechError]] = {
    "OK": errors.StreamLost,  # an end before the end of the audio
    "CANCELLED": errors.StreamLost,
    "UNAVAILABLE": errors.StreamLost,
    "DEADLINE_EXCEEDED": errors.BackendStalled,
    "INTERNAL": errors.InferenceFailed,
    "RESOURCE_EXHAUSTED": errors.QuotaExceeded,
    "UNAUTHENTICATED": errors.NotAuthorized,
    "PERMISSION_DENIED": errors.NotAuthorized,
    "UNIMPLEMENTED": errors.WrongEndpoint,
    "INVALID_ARGUMENT": errors.ConfigRejected,
    "OUT_OF_RANGE": errors.ConfigRejected,
    "FAILED_PRECONDITION": errors.ConfigRejected,
}
_CODES_BEFORE_ANSWERS: Mapping[str, type[SpeechError]] = {
    "UNAVAILABLE": errors.ConnectionFailed,
    "DEADLINE_EXCEEDED": errors.ConnectionFailed,
    "NOT_FOUND": errors.ModelNotFound,  # a stream that has answered has found its model
}

_SHORTEST_SECRET = 8  # shorter values ("true", "Bearer") are words that the text may need
_LONGEST_DETAIL = 500
_REDACTIONS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\bBearer\s+\S+", re.IGNORECASE), "Bearer ***"),
    (re.compile(r"\bnvapi-[\w-]+"), "***"),
    (re.compile(r"\baccount\s+'[^']*'", re.IGNORECASE), "account '***'"),
    (
        re.compile(r"\b[\w-]{40,}"),
        "***",
    ),  # keys and tokens; longer than a UUID, shorter than a sentence's words
)
