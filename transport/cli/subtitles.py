"""Transcripts as SubRip (.srt) subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

CUE_CHARACTERS = 84  # two lines of 42, which broadcasters hold to be readable
CUE_MS = 7000  # … for at most seven seconds


def srt(finals: Iterable[dict[str, Any]]) -> str:
    """Subtitles from the finals of a transcript, as the wire protocol has them, by their words' times."""
    cues = [cue for final in finals for cue in _cues(final.get("words", []))]
    return "\n".join(
        f"{number}\n{_time(cue[0]['start_ms'])} --> {_time(cue[-1]['end_ms'])}\n{_text(cue)}\n"
        for number, cue in enumerate(cues, 1)
    )


def _cues(words: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The words in runs that are short enough to read."""
    cue: list[dict[str, Any]] = []
    for word in words:
        too_long = cue and len(_text([*cue, word])) > CUE_CHARACTERS
        if too_long or (cue and word["end_ms"] - cue[0]["start_ms"] > CUE_MS):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _text(cue: list[dict[str, Any]]) -> str:
    return " ".join(word["text"] for word in cue)


def _time(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{ms:03}"
