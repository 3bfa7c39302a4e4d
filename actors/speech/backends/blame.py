"""Whose fault an error is, as far as the choice of a backend goes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from actors.speech.errors import SpeechError


class Blame(Enum):
    """What an error that ended a stream says about the endpoint."""

    NOBODY = auto()  # nothing: the request was at fault, or the session
    STREAM = auto()  # it answers, but it failed at this stream
    ENDPOINT = auto()  # it may be gone
    CONFIG = auto()  # it cannot work until someone mends its settings, or ours
    MODEL = auto()  # it has no model for this session; others it may serve well
    QUOTA = auto()  # it takes nothing more for a while, nor does anything else of the same quota
    MEMORY = auto()  # it carries more than it can
    OVERLOAD = auto()  # it has more to do than it can do in time
    DRAINING = auto()  # it is about to go


_BLAME: Mapping[str, Blame] = {
    "RIVA_002": Blame.MODEL,
    "RIVA_003": Blame.QUOTA,
    "RIVA_004": Blame.CONFIG,
    "RIVA_008": Blame.MEMORY,
    "RIVA_009": Blame.STREAM,
    "RIVA_010": Blame.NOBODY,
    "RIVA_011": Blame.NOBODY,
    "RIVA_012": Blame.CONFIG,
    "RIVA_014": Blame.OVERLOAD,
    "RIVA_015": Blame.DRAINING,
    "RIVA_099": Blame.STREAM,
    "UNKNOWN": Blame.STREAM,
}
_BLAME_OF_FAMILY: Mapping[str, Blame] = {"RIVA": Blame.ENDPOINT}


def blame(error: SpeechError) -> Blame:
    """By code, else by its family: what Riva's edge reports is the endpoint's fault, all else nobody's."""
    return _BLAME.get(error.code) or _BLAME_OF_FAMILY.get(error.entry.family, Blame.NOBODY)
