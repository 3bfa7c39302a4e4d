"""Every status a backend can end a stream with, at three places: what becomes of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from bench.faults.players import backend
from bench.faults.stage import Stage
from bench.riva import Plan
from bench.riva.faults import At, Status
from bench.riva.statuses import Code

AT_ONCE = 4  # combinations, each with a primary and a voxtree of its own
WORDS = 14  # more than one utterance

Place = Literal["open", "mid", "after final"]
_MOMENTS: Mapping[Place, At | Literal["open"]] = {
    "open": "open",
    "mid": At(position=1.0),
    "after final": At(after_final=1),
}

# What such a status says when there is no text to explain it: before the stream has answered, and after.
EXPECTED: Mapping[str, tuple[str, str]] = {
    "CANCELLED": ("RIVA_005", "RIVA_005"),
    "UNKNOWN": ("RIVA_099", "RIVA_099"),
    "INVALID_ARGUMENT": ("RIVA_010", "RIVA_010"),
    "DEADLINE_EXCEEDED": ("RIVA_001", "RIVA_006"),
    "NOT_FOUND": ("RIVA_002", "RIVA_099"),
    "ALREADY_EXISTS": ("RIVA_099", "RIVA_099"),
    "PERMISSION_DENIED": ("RIVA_004", "RIVA_004"),
    "RESOURCE_EXHAUSTED": ("RIVA_003", "RIVA_003"),
    "FAILED_PRECONDITION": ("RIVA_010", "RIVA_010"),
    "ABORTED": ("RIVA_099", "RIVA_099"),
    "OUT_OF_RANGE": ("RIVA_010", "RIVA_010"),
    "UNIMPLEMENTED": ("RIVA_012", "RIVA_012"),
    "INTERNAL": ("RIVA_009", "RIVA_009"),
    "UNAVAILABLE": ("RIVA_001", "RIVA_005"),
    "DATA_LOSS": ("RIVA_099", "RIVA_099"),
    "UNAUTHENTICATED": ("RIVA_004", "RIVA_004"),
}
FINAL = frozenset({"RIVA_010"})  # wrong wherever it is asked for; a model that one endpoint lacks the other has


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the sessions whose first streams ended with a status.

    Attributes:
        expected: the catalogue's code for it.
        codes: what voxtree's log calls it.
        ended: the errors that sessions ended with.
        lost, doubled: words of the sessions that went on.
    """

    status: str
    place: Place
    expected: str
    codes: list[str]
    ended: list[str]
    lost: int
    doubled: int

    @property
    def is_right(self) -> bool:
        """The category is right, and sessions ended if and only if retrying could not help."""
        wanted = [self.expected] if self.expected in FINAL else []
        return self.codes == [self.expected] and self.ended == wanted


async def every_status(stage: Stage) -> None:
    """Sixteen statuses at three places: each with a voxtree of its own, lest one breaker answer for another's fault."""
    places = asyncio.Semaphore(AT_ONCE)
    (fallback,) = await stage.rivas(Plan())
    combinations = await asyncio.gather(*(
        _combination(stage, places, fallback.port, status, place) for status in get_args(Code) for place in _MOMENTS
    ))  # fmt: skip
    stage.details += [msgspec.to_builtins(one) | {"right": one.is_right} for one in combinations]
    stage.facts["combinations"] = len(combinations)
    stage.check("combinations not as they should be", sum(not one.is_right for one in combinations), 0)


async def _combination(
    stage: Stage, places: asyncio.Semaphore, fallback: int, status: Code, place: Place
) -> Combination:
    sessions = max(1, stage.sessions // 48)
    fault = Status(code=status, text="on purpose", at=_MOMENTS[place], times=sessions)
    async with places, stage.apart() as apart:
        (primary,) = await apart.rivas(Plan(faults=(fault,)))
        voxtree = await apart.voxtree(backend("primary", primary.port), backend("fallback", fallback))
        async with apart.speech(voxtree.url, sessions, words=WORDS, name=f"{status}-{place.replace(' ', '-')}"):
            pass
    gone_on = [talk for talk in apart.talks if talk.failure is None]
    stage.talks += gone_on
    scores = [talk.ledger.score(talk.samples) for talk in gone_on]
    return Combination(
        status=status,
        place=place,
        expected=EXPECTED[status][place != "open"],
        codes=sorted(voxtree.codes()),
        ended=sorted({talk.failure for talk in apart.talks if talk.failure is not None}),
        lost=sum(score.lost for score in scores),
        doubled=sum(score.doubled for score in scores),
    )
