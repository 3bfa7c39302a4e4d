"""The exceptions of a speech session: one class for each row of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Entry


class SpeechError(Exception):
    """Something that can happen to a speech session. Its `entry` in the catalogue says what it leads to.

    Args:
        detail: one lower-case line with the facts, for logs and for the client's developer. Text that came from a
            backend goes into `backend_detail`, which is never sent to a client.
        endpoint: the configured name of the backend concerned.
        grpc_code: the gRPC status name as received (`UNAVAILABLE`).
        backend_detail: the backend's own words.
        position: the sample position in the session's timeline it concerns.
        retry_after: seconds after which a new attempt makes sense, when someone said so.
    """

    entry: ClassVar[Entry] = UNKNOWN

    def __init__(
        self,
        detail: str = "",
        *,
        endpoint: str | None = None,
        grpc_code: str | None = None,
        backend_detail: str | None = None,
        position: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.endpoint = endpoint
        self.grpc_code = grpc_code
        self.backend_detail = backend_detail
        self.position = position
        self.retry_after = retry_after

    def __init_subclass__(cls, *, code: str) -> None:
        cls.entry = CATALOGUE[code]

    @property
    def code(self) -> str:
        """The catalogue's code; supervisors look policies up by it."""
        return self.entry.code

    def __str__(self) -> str:
        facts = [self.detail] if self.detail else []
        facts += [f"{key} {value!r}" for key, value in (
            ("endpoint", self.endpoint), ("grpc", self.grpc_code), ("backend said", self.backend_detail),
            ("at sample", self.position),
        ) if value is not None]  # fmt: skip
        return f"{self.code} {self.entry.name}" + (": " + ", ".join(facts) if facts else "")


class ClientDisconnected(SpeechError, code="CONN_001"): ...


class ClientTimeout(SpeechError, code="CONN_002"): ...


class InvalidMessage(SpeechError, code="CONN_003"): ...


class NotAllowed(SpeechError, code="CONN_004"): ...


class ServerBusy(SpeechError, code="CONN_005"): ...


class GoingAway(SpeechError, code="CONN_006"): ...


class SlowConsumer(SpeechError, code="CONN_007"): ...


class ResumeFailed(SpeechError, code="CONN_008"): ...


class SessionInUse(SpeechError, code="CONN_009"): ...


class TakenOver(SpeechError, code="CONN_010"): ...


class NotAuthenticated(SpeechError, code="CONN_011"): ...


class TooManyRequests(SpeechError, code="CONN_012"): ...


class ConnectionFailed(SpeechError, code="RIVA_001"): ...


class ModelNotFound(SpeechError, code="RIVA_002"): ...


class QuotaExceeded(SpeechError, code="RIVA_003"): ...


class NotAuthorized(SpeechError, code="RIVA_004"): ...


class StreamLost(SpeechError, code="RIVA_005"): ...


class BackendStalled(SpeechError, code="RIVA_006"): ...


class BackendNotReady(SpeechError, code="RIVA_007"): ...


class BackendOutOfMemory(SpeechError, code="RIVA_008"): ...


class InferenceFailed(SpeechError, code="RIVA_009"): ...


class ConfigRejected(SpeechError, code="RIVA_010"): ...


class SequenceExpired(SpeechError, code="RIVA_011"): ...


class WrongEndpoint(SpeechError, code="RIVA_012"): ...


class NoBackend(SpeechError, code="RIVA_013"): ...


class BackendOverloaded(SpeechError, code="RIVA_014"): ...


class BackendDraining(SpeechError, code="RIVA_015"): ...


class KeepaliveRejected(SpeechError, code="RIVA_016"): ...


class UnclassifiedError(SpeechError, code="RIVA_099"): ...


class InvalidAudioFormat(SpeechError, code="AUDIO_001"): ...


class ChunkTooLarge(SpeechError, code="AUDIO_002"): ...


class AudioProcessingFailed(SpeechError, code="AUDIO_003"): ...


class AudioLost(SpeechError, code="AUDIO_004"): ...


class SpoolFailed(SpeechError, code="AUDIO_006"): ...


class AudioNotKept(SpeechError, code="AUDIO_007"): ...


class JournalUnavailable(SpeechError, code="JOURNAL_001"): ...


class JournalFull(SpeechError, code="JOURNAL_002"): ...


class JournalDamaged(SpeechError, code="JOURNAL_003"): ...


class SessionGaveUp(SpeechError, code="SYS_001"): ...


class ResourcesExhausted(SpeechError, code="SYS_002"): ...


class PartGaveUp(SpeechError, code="SYS_003"): ...


class PartDoesNotStop(SpeechError, code="SYS_004"): ...


class LoopStoodStill(SpeechError, code="SYS_005"): ...


class NotReloaded(SpeechError, code="SYS_006"): ...


class WorkerLost(SpeechError, code="SYS_007"): ...


class AlertNotDelivered(SpeechError, code="ALERT_001"): ...


class UnexpectedError(SpeechError, code="UNKNOWN"): ...


BY_CODE: Mapping[str, type[SpeechError]] = MappingProxyType(
    {cls.entry.code: cls for cls in SpeechError.__subclasses__()}
)
