"""Transcripts as SubRip (.srt) subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from transport.client import Segment, Word

CUE_CHARACTERS = 84  # two lines of 42, which broadcasters hold to be readable
CUE_MS = 7000  # … for at most seven seconds


def srt(segments: Iterable[Segment]) -> str:
    """Subtitles from the segments of a transcript, by their words' times."""
    cues = [cue for segment in segments for cue in _cues(segment.words)]
    return "\n".join(
        f"{number}\n{_time(cue[0].start_ms)} --> {_time(cue[-1].end_ms)}\n{_text(cue)}\n"
        for number, cue in enumerate(cues, 1)
    )


def _cues(words: Iterable[Word]) -> Iterator[list[Word]]:
    """The words in runs that are short enough to read."""
    cue: list[Word] = []
    for word in words:
        too_long = cue and len(_text([*cue, word])) > CUE_CHARACTERS
        if too_long or (cue and word.end_ms - cue[0].start_ms > CUE_MS):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _text(cue: list[Word]) -> str:
    return " ".join(word.text for word in cue)


def _time(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{ms:03}"
