"""Everything a session is told, and everything it tells its client: positions are samples, durations seconds.

A wire protocol translates the client's half from and to bytes; the session never sees JSON.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from actors.messages import Message
from actors.speech.journal.port import Claimed, Durability, Fenced, Refused
from actors.speech.ports import Recognised, RecognitionConfig, Recollection, Tier, Utterance, Word
from supervisor.policy import Directive

# ---- from the client


class Audio(msgspec.Struct, frozen=True, gc=False):
    """Decoded PCM16 mono at the session's rate: whole samples, two bytes each, little-endian.

    `start` is the session position of the first one: what was there before is not taken twice.
    """

    pcm: bytes
    start: int


class Finalize(msgspec.Struct, frozen=True):
    """End the utterance here and give its final; more audio may follow."""


class Stop(msgspec.Struct, frozen=True):
    """No more audio: give the remaining finals, then `Done`."""


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """What a client presents that comes back.

    Attributes:
        token: the last `Ready` had it.
        seq: of the last final or gap it has; 0: none.
        end: where that one ended; None: it does not say.
        oldest: the first sample it can still send; None: all that may be asked of it.
    """

    token: str
    seq: int = 0
    end: int | None = None
    oldest: int | None = None


class Attach(msgspec.Struct, frozen=True):
    """A client comes back and wants the session; `next_token` is what it needs the next time."""

    client: int
    resume: Resume
    next_token: str


class Acknowledge(msgspec.Struct, frozen=True):
    """The client has all finals and gaps up to `seq`."""

    seq: int


class ClientGone(msgspec.Struct, frozen=True):
    """The connection of this client has ended."""

    client: int


class Drain(msgspec.Struct, frozen=True):
    """The server goes away in so many seconds: give the finals of what was heard so far, then end."""

    seconds: float


# ---- from the journal, and the session's own reminders


class Claimable(msgspec.Struct, frozen=True):
    """What came of a client's claim: its session, under a new epoch, or nothing.

    `epoch` is the one under which it was claimed. `Fenced`: the session had another owner than who claimed it so.
    """

    client: int
    epoch: int
    outcome: Claimed | Refused | Fenced


class Committed(msgspec.Struct, frozen=True):
    """Finals and gaps up to `seq` are in the journal."""

    seq: int


class Finished(msgspec.Struct, frozen=True):
    """The journal knows that all was said."""


class Deposed(msgspec.Struct, frozen=True):
    """Who owned the session under this epoch does not own it any more."""

    epoch: int


class StillUnwritten(msgspec.Struct, frozen=True):
    """Some time after finals up to `seq` were given to the journal."""

    seq: int


class StillSilent(msgspec.Struct, frozen=True):
    """Some time after this client has come back."""

    client: int


class StillAlone(msgspec.Struct, frozen=True):
    """Some time after the session lost its client; `since` is when."""

    since: float


class RenewDue(msgspec.Struct, frozen=True):
    """The journal is to be told that the session lives."""


# ---- from the session's recogniser and its supervisor


class StreamOpened(Message[int], frozen=True):
    """A recogniser has a stream and asks where to begin; the answer is a sample position.

    `number` is the stream's own; what other streams still say is out of date from now on. `degraded`: a better tier is
    configured than the one that took the stream. `endpoint`: the backend's name.
    """

    number: int
    tier: Tier
    degraded: bool
    endpoint: str = ""


class Cut(Enum):
    """Whether a final's last word was cut off by the end of what the backend heard, or was made to end at."""

    NONE = auto()
    TOUCHED = auto()  # it may have been; its other half, if there is one, is heard next
    HELD = auto()  # it may have been, and the next stream can hear it whole
    LEFT = auto()  # it was, and whoever goes on with the session, or the next stream, hears it whole


class Heard(msgspec.Struct, frozen=True):
    """A result of a stream, at positions of the session; `sent` is where the audio ended that the stream was given."""

    number: int
    result: Recognised
    sent: int
    cut: Cut = Cut.NONE


class StreamDrained(msgspec.Struct, frozen=True):
    """A stream has said all about the audio below `position`."""

    number: int
    position: int


class NoBackendFree(msgspec.Struct, frozen=True):
    """The recogniser waits for a backend."""


class StillLost(msgspec.Struct, frozen=True):
    """The session's own reminder, some time after its stream was lost. `since` is when that was."""

    since: float


class RecogniserDown(msgspec.Struct, frozen=True):
    """The recogniser failed, and what its supervisor does about it."""

    error: Exception
    directive: Directive


# ---- to the client, and to the session from who found it


class Recalled(msgspec.Struct, frozen=True, kw_only=True):
    """What was said in similar audio before, for audio that waits for a backend. No recogniser heard this one.

    It settles nothing and has no number: the final for the audio follows when a backend is back. It stands for its
    own place alone, and so replaces nothing and is replaced by the final, or gap, that covers it.
    """

    start: int
    end: int
    text: str
    similarity: float  # 0 to 1


# ---- to the client


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The session is there and takes audio from `position` on."""

    session_id: str
    config: RecognitionConfig
    position: int = 0
    seq: int = 0  # the number of the last final or gap
    epoch: int = 1
    resumed: bool = False
    token: str = ""  # a secret: with it the session is resumed
    window: float = 0.0  # seconds for that, after the connection was lost
    credit: int = 0  # samples a second that may be sent of kept audio
    durability: Durability = Durability.MEMORY


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """Words. Finals are numbered 1, 2, 3 … and tile the timeline: each starts where the one before ended.

    An interim has `seq` 0, begins where the last final ended, and is replaced by whatever comes next. A `provisional`
    final is the last interim of a backend that gave no final of its own. Words that a backend gave out of turn may lie
    before the `start` of their final, which then ends where it starts.
    """

    is_final: bool
    seq: int
    start: int
    end: int
    text: str
    words: tuple[Word, ...] = ()
    confidence: float = 0.0
    stability: float = 0.0
    source: Tier = Tier.PRIMARY
    provisional: bool = False


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Audio that could not be transcribed, with its exact place. Takes a `seq` like a final."""

    seq: int
    start: int
    end: int
    code: str


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """How far the session has come: `received` samples arrived, those below `durable` are settled for good."""

    durable: int
    received: int
    seq: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the words are getting on: `streaming`, `recovering`, `degraded` or `delayed`."""

    state: str
    code: str | None = None
    message: str = ""


class GoAway(msgspec.Struct, frozen=True):
    """The server goes away in so many seconds, and will end the connection before."""

    seconds: float


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error the client should know of, as its catalogue code. `fatal`: the connection closes after it.

    `detail` is for the client's developer and holds only what the client itself sent or asked for. `known`: the
    operator has been told of it already, as something in the tree failed.
    """

    code: str
    detail: str = ""
    retry_after: float | None = None
    fatal: bool = False
    known: bool = False


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Everything said has been delivered; `position` samples were heard, `seq` finals and gaps sent."""

    position: int
    seq: int


SessionMessage = (
    Audio
    | Finalize
    | Stop
    | Attach
    | Acknowledge
    | ClientGone
    | Drain
    | Claimable
    | Committed
    | Finished
    | Deposed
    | StillUnwritten
    | StillSilent
    | StillAlone
    | RenewDue
    | StreamOpened
    | Heard
    | StreamDrained
    | NoBackendFree
    | StillLost
    | RecogniserDown
    | Recalled
)
SessionEvent = Ready | Transcript | Recalled | Gap | Ack | Status | GoAway | Problem | Done

# ---- to the cache of transcripts


class Learn(msgspec.Struct, frozen=True):
    """This was said in that audio."""

    utterance: Utterance
    text: str


class Recall(Message[Recollection | None], frozen=True):
    """Was this audio heard before, and what was said in it?"""

    utterance: Utterance


class ForgetOld(msgspec.Struct, frozen=True):
    """Time has passed."""


CacheMessage = Learn | Recall | ForgetOld
