"""A server's messages, as short as tests want them."""

from __future__ import annotations

from transport.wire.voxtree_v1_schema import (
    ErrorMessage,
    ReadyConfig,
    ReadyLimits,
    ReadyMessage,
    TranscriptMessage,
    WordTimes,
)


def ready(
    *,
    position: int = 0,
    resumed: bool = False,
    token: str = "secret",
    seq: int = 0,
    credit: int = 0,
    window: float = 60,
) -> ReadyMessage:
    return ReadyMessage(
        session_id="s-1",
        resume_token=token,
        epoch=1,
        position=position,
        seq=seq,
        resumed=resumed,
        config=ReadyConfig(
            language="en-US",
            encoding="pcm16",
            sample_rate=8000,
            channels=1,
            interim_results=True,
            word_times=True,
            punctuate=True,
            model="",
        ),
        limits=ReadyLimits(max_chunk_bytes=1 << 20, max_message_bytes=1 << 22, idle_timeout_ms=60_000),
        credit=credit,
        resume_window_ms=round(window * 1000),
        durability="memory",
    )


def final(seq: int, start: int, end: int, text: str = "words", words: tuple[WordTimes, ...] = ()) -> TranscriptMessage:
    return TranscriptMessage(is_final=True, seq=seq, start=start, end=end, text=text, words=words, source="primary")


def interim(text: str, end: int = 100) -> TranscriptMessage:
    return TranscriptMessage(is_final=False, seq=0, start=0, end=end, text=text, source="primary")


def error(code: str, action: str, *, fatal: bool = True, retry_after: float | None = None) -> ErrorMessage:
    return ErrorMessage(
        code=code,
        name=code,
        category=code[:4],
        severity="ERROR",
        message=f"It is {code}",
        action=action,
        retry_after_ms=None if retry_after is None else round(1000 * retry_after),
        fatal=fatal,
        ref="r",
    )
