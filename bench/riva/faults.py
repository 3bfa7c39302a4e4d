"""What can go wrong with a Riva: the vocabulary of a plan. Durations are seconds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, ClassVar, Literal

import msgspec

from bench.riva.statuses import PRESETS, Code, Refused, retry_info

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Duration = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class At(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The moment of a fault: one of these.

    Attributes:
        time: seconds after the stream was opened.
        position: seconds of its audio that were heard.
        after_final: finals that were sent.
        idle: with the first audio after so many seconds without any.
        server_time: seconds after the server was started; streams opened later do not see it, save through
        repeat: and again each time so many seconds have passed.
    """

    time: Seconds | None = None
    position: Seconds | None = None
    after_final: Count | None = None
    idle: Duration | None = None
    server_time: Seconds | None = None
    repeat: Duration | None = None

    def __post_init__(self) -> None:
        moments = [name for name in _MOMENTS if getattr(self, name) is not None]
        if len(moments) != 1:
            raise ValueError(f"needs one of {', '.join(_MOMENTS)}, and has {' and '.join(moments) or 'none'}")
        if self.repeat is not None and self.server_time is None:
            raise ValueError("repeat goes with server_time only")


_MOMENTS = ("time", "position", "after_final", "idle", "server_time")


class Cycle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds without the fault, then seconds with it, and so on."""

    up: Seconds
    down: Duration


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """One thing that goes wrong: when, on which streams, how often. What it is, the subclass says.

    Attributes:
        at: `open`, with the stream's first message; `preflight`, when asked what models there are; or a moment.
        streams: only on these, counted from 1 since the server's start (`preflight`: such questions). Empty: on all.
        every: on every nth.
        chance: how probable, 0 to 1, drawn anew for each stream from the plan's seed.
        over: only on streams that are opened while so many others are being served.
        since, until: seconds after the server's start between which it can happen.
        cycle: and then only in the `down` part, counted from `since`.
        times: how often at most, on all streams together.
    """

    at: Literal["open", "preflight"] | At = "open"
    streams: tuple[Count, ...] = ()
    every: Count = 1
    chance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    over: Annotated[int, msgspec.Meta(ge=0)] | None = None
    since: Seconds = 0.0
    until: Duration | None = None
    cycle: Cycle | None = None
    times: Count | None = None

    moments: ClassVar[Collection[str]] = ("open", *_MOMENTS)

    def __post_init__(self) -> None:
        for problem in self.problems():
            raise ValueError(problem)

    def problems(self) -> Iterator[str]:
        """What contradicts itself."""
        if self.moment not in self.moments:
            yield f"at: expected one of {', '.join(self.moments)} for this action, got {self.moment}"
        if self.until is not None and self.until <= self.since:
            yield f"until {self.until:g} is not after since {self.since:g}"
        if self.over is not None and self.moment == "preflight":
            yield "over counts streams, and there is none before it is opened"

    @property
    def selects(self) -> str:
        """The field that leaves out some streams; empty if none does."""
        unset = {"streams": (), "every": 1, "chance": 1.0, "over": None}
        return next((name for name, value in unset.items() if getattr(self, name) != value), "")

    @property
    def moment(self) -> str:
        """The kind of it: `open`, `preflight`, or the field of `at` that is set."""
        if isinstance(self.at, str):
            return self.at
        return next(name for name in _MOMENTS if getattr(self.at, name) is not None)


class Status(Fault, frozen=True, kw_only=True, tag="status"):
    """The call ends with a gRPC status.

    Attributes:
        preset: a name from `PRESETS`; code and text replace its own.
        metadata: trailing metadata, such as `grpc-retry-pushback-ms`.
        retry_info: seconds, sent as google.rpc.RetryInfo.
    """

    preset: str | None = None
    code: Code | None = None
    text: str | None = None
    metadata: dict[str, str] = {}
    retry_info: Seconds | None = None

    moments: ClassVar[Collection[str]] = ("open", "preflight", *_MOMENTS)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.preset is None and self.code is None:
            yield "needs a code, or a preset"
        if self.preset is not None and self.preset not in PRESETS:
            yield f"preset: expected one of {', '.join(PRESETS)}, got {self.preset!r}"
        if any(name != name.lower() for name in self.metadata):
            yield "metadata: names must be lower case"

    def refusal(self) -> Refused:
        """It, as what ends a call."""
        preset = PRESETS.get(self.preset or "")
        code = self.code or (preset.code if preset else "UNKNOWN")
        text = self.text if self.text is not None else preset.text if preset else ""
        details = () if self.retry_info is None else (("grpc-status-details-bin", retry_info(self.retry_info)),)
        return Refused(code, text, (*self.metadata.items(), *details))


class End(Fault, frozen=True, kw_only=True, tag="end"):
    """The stream ends with OK though the client has not finished."""


class Stall(Fault, frozen=True, kw_only=True, tag="stall"):
    """Audio is taken and nothing is answered, for so many `seconds`, after which all comes; else for ever."""

    seconds: Duration | None = None

    moments: ClassVar[Collection[str]] = ("open", "preflight", *_MOMENTS)


class Freeze(Fault, frozen=True, kw_only=True, tag="freeze"):
    """Nothing is read and nothing answered, for so many `seconds`, else for ever. The connection answers pings."""

    seconds: Duration | None = None


class HalfOpen(Fault, frozen=True, kw_only=True, tag="half_open"):
    """Nothing comes out of the stream's connection any more, not even an acknowledged ping; what is sent is taken."""


class Slow(Fault, frozen=True, kw_only=True, tag="slow"):
    """Recognising takes `factor` times as long as speaking did; the audio meanwhile waits with the client."""

    factor: Annotated[float, msgspec.Meta(gt=0, le=1000)]


class Queue(Fault, frozen=True, kw_only=True, tag="queue"):
    """A stream that is opened while `over` others are being served is not read before one of them has ended."""

    moments: ClassVar[Collection[str]] = ("open",)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.over:
            yield "needs over, at least 1: the streams that are served at the same time"


class FinalsFault(Fault, frozen=True, kw_only=True):
    """Something about the finals of a stream. `finals`: how many of them, from the moment on; None: all."""

    finals: Count | None = None


class SlowFinals(FinalsFault, frozen=True, kw_only=True, tag="slow_finals"):
    """Finals come so many `seconds` late, and later words not before them."""

    seconds: Duration


class NeverFinal(Fault, frozen=True, kw_only=True, tag="never_final"):
    """There are no finals any more, not even at the end; interims hold all words since."""


class RepeatFinals(FinalsFault, frozen=True, kw_only=True, tag="repeat_finals"):
    """Finals come twice."""


class EmptyFinals(FinalsFault, frozen=True, kw_only=True, tag="empty_finals"):
    """Before a final comes another without words."""


class OverlapFinals(FinalsFault, frozen=True, kw_only=True, tag="overlap_finals"):
    """Finals begin with the last so many `words` of the one before, at their times."""

    words: Count = 1


class ReorderFinals(FinalsFault, frozen=True, kw_only=True, tag="reorder_finals"):
    """A final comes behind the one that follows it."""


class UtteranceTimes(Fault, frozen=True, kw_only=True, tag="utterance_times"):
    """The times of words count from the end of the final before, not from the stream's start."""


class ServerFault(Fault, frozen=True, kw_only=True):
    """Something about the whole server, at a time of its own or when a stream has come to some point."""

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.moment == "server_time" and self.selects:
            yield f"{self.selects} selects streams, and at a server_time there is none to select"


class GoAway(ServerFault, frozen=True, kw_only=True, tag="goaway"):
    """All connections are told to go: running streams may go on for `grace` seconds, new ones need a new connection."""

    grace: Seconds = 10.0


class Down(ServerFault, frozen=True, kw_only=True, tag="down"):
    """The server ends every stream, and refuses connections for so many `seconds`."""

    seconds: Duration


class NotReady(Fault, frozen=True, kw_only=True, tag="not_ready"):
    """No model is loaded while `since`, `until` and `cycle` say so: health is NOT_SERVING, streams find no model."""

    moments: ClassVar[Collection[str]] = ("open",)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.selects or self.times is not None:
            yield f"{self.selects or 'times'} does not go with this action, which lasts: since, until and cycle do"


FinalsAction = SlowFinals | NeverFinal | RepeatFinals | EmptyFinals | OverlapFinals | ReorderFinals | UtteranceTimes
Action = Status | End | Stall | Freeze | HalfOpen | Slow | Queue | FinalsAction | GoAway | Down | NotReady
