"""What is kept of a final or a gap: the event as bytes, plain, sealed, or not at all. And of a session: its config."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec

from actors.speech.errors import JournalDamaged
from actors.speech.journal.port import Entry
from actors.speech.messages import Gap, Transcript
from actors.speech.ports import RecognitionConfig, Tier, Word

PLAIN, SEALED = b"\x01", b"\x02"  # the first byte: a journal may hold both, after its settings were changed


class TextPolicy(Enum):
    """How the words of sessions are kept."""

    PLAIN = "plain"
    ENCRYPTED = "encrypted"
    NONE = "none"  # only that there were some, and where


class Sealer(Protocol):
    """Authenticated encryption with a key that only the owners of the journal have."""

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; twice the same gives different bytes."""
        ...

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what was sealed in the same context.

        Raises:
            ValueError: it was sealed with another key or in another context, or was changed.
        """
        ...


class _Final(msgspec.Struct, frozen=True, tag="final", omit_defaults=True, kw_only=True):
    """A `Transcript` but for what the entry itself says. Fields may be added, with defaults; none may change."""

    text: str
    words: tuple[Word, ...] = ()
    confidence: float = 0.0
    source: Tier = Tier.PRIMARY
    provisional: bool = False


class _Gap(msgspec.Struct, frozen=True, tag="gap"):
    code: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Final | _Gap)
_config_decoder = msgspec.msgpack.Decoder(RecognitionConfig)


class Bodies:
    """Makes entries of events, and events of entries.

    Args:
        text: whether words are kept; `ENCRYPTED` needs a `sealer`.
        sealer: also needed to read what was sealed under an earlier policy.
    """

    def __init__(self, text: TextPolicy = TextPolicy.PLAIN, sealer: Sealer | None = None) -> None:
        if text is TextPolicy.ENCRYPTED and sealer is None:
            raise ValueError("to encrypt what is kept takes a sealer")
        self.text = text
        self._sealer = sealer

    def entry(self, session_id: str, event: Transcript | Gap) -> Entry:
        """A final or a gap as it is kept."""
        return Entry(event.seq, event.start, event.end, self._body(session_id, event))

    def event(self, session_id: str, entry: Entry) -> Transcript | Gap | None:
        """The final or gap that an entry was made of; None: it was kept without its words.

        Raises:
            JournalDamaged: the entry cannot be read, for one because it was sealed with another key.
        """
        if not entry.body:
            return None
        try:
            kept = _decoder.decode(self._plain(session_id, entry))
        except (msgspec.MsgspecError, ValueError) as error:
            raise JournalDamaged(f"entry {entry.seq} of session {session_id!r} cannot be read: {error}") from error
        place = {"seq": entry.seq, "start": entry.start, "end": entry.end}
        if isinstance(kept, _Gap):
            return Gap(**place, code=kept.code)
        return Transcript(
            **place,
            is_final=True,
            text=kept.text,
            words=kept.words,
            confidence=kept.confidence,
            source=kept.source,
            provisional=kept.provisional,
        )

    def _body(self, session_id: str, event: Transcript | Gap) -> bytes:
        if self.text is TextPolicy.NONE:
            return b""
        plain = _encoder.encode(_kept(event))
        if self.text is TextPolicy.PLAIN or self._sealer is None:
            return PLAIN + plain
        return SEALED + self._sealer.seal(plain, _context(session_id, event.seq))

    def _plain(self, session_id: str, entry: Entry) -> bytes:
        kind, rest = entry.body[:1], entry.body[1:]
        if kind == PLAIN:
            return rest
        if kind != SEALED:
            raise ValueError(f"it is of an unknown kind, {kind!r}")
        if self._sealer is None:
            raise ValueError("it is encrypted, and there is no key")
        return self._sealer.unseal(rest, _context(session_id, entry.seq))


def _kept(event: Transcript | Gap) -> _Final | _Gap:
    if isinstance(event, Gap):
        return _Gap(event.code)
    return _Final(
        text=event.text,
        words=event.words,
        confidence=event.confidence,
        source=event.source,
        provisional=event.provisional,
    )


def _context(session_id: str, seq: int) -> bytes:
    """What a sealed body is bound to: it cannot be passed off as another entry's."""
    return f"{session_id}/{seq}".encode()


def pack_config(config: RecognitionConfig) -> bytes:
    """A session's config as its row keeps it."""
    return _encoder.encode(config)


def unpack_config(packed: bytes) -> RecognitionConfig:
    """The config of a row.

    Raises:
        JournalDamaged: it cannot be read.
    """
    try:
        return _config_decoder.decode(packed)
    except msgspec.MsgspecError as error:
        raise JournalDamaged(f"a session's config cannot be read: {error}") from error
