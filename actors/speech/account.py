"""What the operator is told of a session's streams and words. Pure, as `session_core` is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from actors.speech.errors import NoBackend
from actors.speech.messages import Gap, StreamOpened
from actors.speech.ports import Recognised, Tier
from actors.speech.record import SessionRecord
from actors.speech.reports import AudioGivenUp, Recovered, Said, StreamBegan, StreamFailed
from actors.speech.session_commands import Report, Tell


class _Loss(msgspec.Struct):
    """A stream that was lost, and no word since."""

    at: float
    endpoint: str
    code: str
    attempts: int = 0
    is_reported: bool = False  # that no backend is free


class Account:
    """Follows the streams of one session, and how long its words take to come back when one is lost."""

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._loss: _Loss | None = None  # since words came last

    def began(self, opened: StreamOpened, sent: int) -> Tell:
        """A backend hears the session; `sent` is the position up to which the stream before it was given audio."""
        record = self._record
        record.endpoint = opened.endpoint
        replayed = max(0, sent - record.timeline.confirmed) / record.config.sample_rate
        return Tell(
            StreamBegan(
                session=record.session_id,
                endpoint=opened.endpoint,
                tier=opened.tier,
                number=opened.number,
                replayed=replayed,
            )
        )

    def said(self, result: Recognised, tier: Tier, now: float) -> list[Tell]:
        """Words came."""
        record, loss = self._record, self._loss
        told: list[Tell] = []
        if loss is not None:
            self._loss = None
            recovered = Recovered(
                session=record.session_id,
                seconds=now - loss.at,
                source=loss.endpoint,
                target=record.endpoint,
                code=loss.code,
            )
            told.append(Tell(recovered))
        reach = result.words[-1].end if result.words else result.processed
        arrived = record.arrived(reach) if reach else None
        said = Said(
            session=record.session_id,
            is_final=result.is_final,
            latency=None if arrived is None else max(0.0, now - arrived),
            words=len(result.text.split()) if result.is_final else 0,
            tier=tier,
        )
        return [*told, Tell(said)]

    def lost(self, code: str, now: float) -> None:
        """There is no stream from now on, because of the error of this code."""
        self._since(code, now)

    def failed(self, code: str, now: float) -> Tell:
        """A stream failed, or could not be opened."""
        loss = self._since(code, now)
        loss.attempts += 1
        return Tell(StreamFailed(session=self._record.session_id, code=code, attempt=loss.attempts))

    def without_backend(self, error: NoBackend) -> Iterable[Report]:
        """No backend is free: the operator is told once until words come again."""
        if self._loss is None or self._loss.is_reported:
            return ()
        self._loss.is_reported = True
        return (Report(error),)

    def given_up(self, gap: Gap) -> Tell:
        """This cannot be transcribed any more."""
        seconds = (gap.end - gap.start) / self._record.config.sample_rate
        return Tell(AudioGivenUp(session=self._record.session_id, seconds=seconds, code=gap.code))

    def _since(self, code: str, now: float) -> _Loss:
        if self._loss is None:
            self._loss = _Loss(at=now, endpoint=self._record.endpoint, code=code)
        return self._loss
