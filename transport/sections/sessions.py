"""What becomes of a session: its limits, what is kept of it, and who recognises it without Riva."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from actors.speech.injection import check_rates
from transport.sections.values import Bytes, Count, Probability, Seconds, Text


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one session may take.

    Attributes:
        max_sessions: sessions at the same time; further ones are refused. None: one for each backend stream.
        idle_timeout: seconds without a message from the client after which its connection is closed.
        max_chunk_bytes: audio in one message.
        log_seconds: audio held in memory, for replay, that no final covers yet. A client that sends faster than real
            time waits when it is full.
        spool_seconds: audio of live speech held on disk besides, while no backend takes it (2 bytes a sample: 1.9 MB a
            minute at 16 kHz). Past it the oldest is given up, and the client is told by a `gap`. 0: none.
        spool_dir: directory for it; None: the system's for temporary files. Files have no name there.
        resume_window: seconds for which a session whose client is gone waits for it to come back.
        gather: seconds of audio that is taken in at a time where a client sends less in a message, as browsers do:
            their messages wait for one another. 0: each is taken by itself. See also `backends.0.step`.
    """

    max_sessions: Count | None = None
    idle_timeout: Seconds = 60.0
    max_chunk_bytes: Bytes = 1024 * 1024
    log_seconds: Annotated[float, msgspec.Meta(ge=20, le=3600)] = 60.0
    spool_seconds: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 600.0
    spool_dir: Text | None = None
    resume_window: Seconds = 60.0
    gather: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where finals are kept until their client has them, so that it can resume whatever happens here.

    Attributes:
        store: `sqlite`, a file that all servers of this machine may share; `postgres`, for several machines; `memory`:
            a session survives its connection, but not this process.
        path: of the SQLite file; None: `voxtree/journal.db` in $STATE_DIRECTORY, $XDG_STATE_HOME or ~/.local/state.
        synchronous: `normal`: what is committed survives the process, and a power cut may take the last moments;
            `full`: it survives that too, and each commit waits for the disk.
        dsn: PostgreSQL's connection string, `postgresql://USER@HOST/DATABASE`. A secret.
        dsn_file: a file that holds it instead.
        text: how words are kept: `plain`, `encrypted` with the key in `key_file`, or `none`: only that there were some,
            and what the client lacks when it resumes is recognised again.
        key_file: 32 bytes as base64; `voxtree journal keygen FILE` makes one.
        ttl: seconds for which sessions that cannot be resumed any more are kept.
    """

    store: Literal["sqlite", "memory", "postgres"] = "sqlite"
    path: Text | None = None
    synchronous: Literal["normal", "full"] = "normal"
    dsn: Text | None = None
    dsn_file: Text | None = None
    text: Literal["plain", "encrypted", "none"] = "plain"
    key_file: Text | None = None
    ttl: Annotated[float, msgspec.Meta(ge=0, le=30 * 86400)] = 3600.0

    def __post_init__(self) -> None:
        if self.store == "postgres" and (self.dsn is None) == (self.dsn_file is None):
            raise ValueError("store = postgres takes a dsn or a dsn_file, and not both")
        if self.text == "encrypted" and self.key_file is None:
            raise ValueError("text = encrypted takes a key_file; `voxtree journal keygen FILE` makes one")


class Embedded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recogniser that comes with voxtree (English; runs on the CPU).

    Attributes:
        enabled: None: only when no backend is configured.
        max_streams: None: ten for each core.
        model_dir: a folder with another Moonshine model; None: the one in the moonshine-voice package.
        threads: decoding threads; None: one for each core.
    """

    enabled: bool | None = None
    max_streams: Count | None = None
    model_dir: str | None = None
    threads: Count | None = None


class Inject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors raised on purpose, to see what becomes of them; not on a server that people rely on.

    Attributes:
        rates: by code, the probability for each of its opportunities, which `voxtree errors CODE` names.
        seed: of the random numbers; None: other ones each time.
    """

    rates: dict[str, Probability] = {}
    seed: int | None = None

    def __post_init__(self) -> None:
        check_rates(self.rates)


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Finals by the sound of their audio, for the time in which nothing can recognise speech.

    A transcript of a similar recording can put words into a speaker's mouth, and whoever plays a recording may be shown
    what another session's final said of it. So it is off unless wanted.

    Attributes:
        enabled: remember finals, and show clients what was said in similar audio while their words are delayed.
        ttl: seconds after which a final is forgotten; here nothing is kept longer, and nothing on disk.
        max_entries: finals remembered; beyond it the oldest goes.
        max_megabytes: memory for them, as estimated; beyond it the oldest go. 10,000 of 5 s take 80.
    """

    enabled: bool = False
    ttl: Seconds = 3600.0
    max_entries: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    max_megabytes: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
