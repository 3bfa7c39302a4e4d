"""What the rules of a session want done."""

from __future__ import annotations

import msgspec

from actors.speech.errors import SpeechError
from actors.speech.journal.port import Entry
from actors.speech.messages import (
    Attach,
    Gap,
    Learn,
    RenewDue,
    SessionEvent,
    StillAlone,
    StillLost,
    StillSilent,
    StillUnwritten,
    Transcript,
)
from actors.speech.reports import SessionReport


class Send(msgspec.Struct, frozen=True):
    """Say this in its turn: a final or a gap once it is in the journal, and other words behind them."""

    event: SessionEvent


class Say(msgspec.Struct, frozen=True):
    """Put this into the outbox of the client that is connected, if there is one."""

    event: SessionEvent


class Report(msgspec.Struct, frozen=True):
    """Let the operator know of an error that the session survives."""

    error: SpeechError


class Tell(msgspec.Struct, frozen=True):
    """Something for the listeners."""

    report: SessionReport


class Remind(msgspec.Struct, frozen=True):
    """Have the session told this in so many seconds."""

    seconds: float
    message: StillLost | StillUnwritten | StillSilent | StillAlone | RenewDue


class Write(msgspec.Struct, frozen=True):
    """Give these to the journal, and have the session told `Committed` or `Deposed`."""

    entries: tuple[Transcript | Gap, ...]


class Renew(msgspec.Struct, frozen=True):
    """Tell the journal that the session lives, whether it has a client, and which finals that has."""

    connected: bool
    seq: int


class Finish(msgspec.Struct, frozen=True):
    """Tell the journal that all was said, and have the session told `Finished` or `Deposed`."""

    position: int


class Forget(msgspec.Struct, frozen=True):
    """Tell the journal that nobody can want the session any more."""


class AskFor(msgspec.Struct, frozen=True):
    """Ask the journal whether a client may have the session, and have the session told `Claimable`."""

    attach: Attach


class Adopt(msgspec.Struct, frozen=True):
    """The session is this client's from now on: tell it where to go on, and what it has missed."""

    client: int
    position: int
    missed: tuple[Entry, ...]


class TurnAway(msgspec.Struct, frozen=True):
    """A client does not get the session. Without an error: not here; it may have what the journal has of it."""

    client: int
    error: SpeechError | None


class Part(msgspec.Struct, frozen=True):
    """The client that had the session has lost it to another connection."""

    client: int


class End(msgspec.Struct, frozen=True):
    """The session is over; nothing follows."""


Command = (
    Say | Report | Tell | Remind | Learn | Write | Renew | Finish | Forget | AskFor | Adopt | TurnAway | Part | End
)
Decision = Command | Send
