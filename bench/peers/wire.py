"""As much of `voxtree.v1` as a server has to say that is measured beside voxtree."""

from __future__ import annotations

from typing import Any

import msgspec

from transport.wire.voxtree_v1_schema import (
    DoneMessage,
    ErrorMessage,
    ReadyConfig,
    ReadyLimits,
    ReadyMessage,
    ServerMessage,
    TranscriptMessage,
)


def encode(message: ServerMessage) -> str:
    """The message as JSON."""
    return msgspec.json.encode(message).decode()


def ready(config: dict[str, Any]) -> ReadyMessage:
    """The answer to `start` of a server that has no tokens: who loses the connection has lost the session."""
    return ReadyMessage(
        session_id="peer",
        resume_token="",
        epoch=1,
        position=0,
        seq=0,
        resumed=False,
        config=ReadyConfig(
            language=config.get("language", "en-US"),
            encoding="pcm16",
            sample_rate=config["sample_rate"],
            channels=1,
            interim_results=True,
            word_times=False,
            punctuate=True,
            model="",
        ),
        limits=ReadyLimits(max_chunk_bytes=1 << 20, max_message_bytes=1 << 22, idle_timeout_ms=0),
        credit=0,
        resume_window_ms=0,
        durability="memory",
    )


def transcript(text: str, seq: int, source: str) -> TranscriptMessage:
    """What was heard. `seq`: the number of a final, from 1 on; 0: it is an interim."""
    return TranscriptMessage(is_final=seq > 0, seq=seq, start=0, end=0, text=text.strip(), source=source)


def error(code: str, text: str, *, fatal: bool) -> ErrorMessage:
    """What went wrong, as the server knows it."""
    return ErrorMessage(
        code=code, name=code, category="RIVA", severity="ERROR", message=text, action="none", fatal=fatal, ref=""
    )


def done() -> DoneMessage:
    """Nothing follows."""
    return DoneMessage(position=0, seq=0)
