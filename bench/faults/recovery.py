"""When a client's words came again after a fault. Pure: of what clients have noted down, seconds come out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import pairwise

from bench.faults.talk import Talk

UNWELL = ("recovering", "delayed", "degraded")  # the states in which a client is told that something is wrong


def detection(talk: Talk, fault: float) -> float | None:
    """Seconds from a fault until the client was told that its words are held up; None: it never was."""
    told = (heard.at for heard in talk.heard if heard.event == "status" and heard.code in UNWELL)
    return next((at - fault for at in told if at >= fault), None)


def recovery(talk: Talk, fault: float, *, since: float | None = None) -> float | None:
    """Seconds from a fault until the client saw the first fresh transcript; None: it never saw one.

    A transcript is fresh if it cannot have been on its way when the fault struck: the client had been told of the
    fault before, or the transcript comes from another source, or it holds a word that was said after the fault. If
    nothing said before the fault was left to be settled, the time counts from when the next word had been said.

    Args:
        since: when words could come again, if not at once: the count begins there.
    """
    since = fault if since is None else since
    arrived = next(_fresh(talk, fault, since), None)
    if arrived is None:
        return None
    return arrived - max(since, _owed_since(talk, fault) or since)


def resumption(talk: Talk, since: float) -> float | None:
    """Seconds from some time until the client had its session again; None: it never had."""
    return next((heard.at - since for heard in talk.heard if heard.event == "resumed" and heard.at >= since), None)


def delays(talk: Talk) -> list[float]:
    """How long after it had been said each word was first seen."""
    times = ((talk.sent_at(word), shown) for word, shown in talk.shown.items())
    return [shown - sent for sent, shown in times if sent is not None]


def switches(talk: Talk) -> int:
    """How often the words came from another source than before."""
    sources = [heard.code for heard in talk.heard if heard.event in ("interim", "final") and heard.reach >= 0]
    return sum(one != other for one, other in pairwise(sources))


def percentile(values: Collection[float], percent: float) -> float | None:
    """The smallest value that is not exceeded by so many percent of them; None if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else None


def _fresh(talk: Talk, fault: float, since: float) -> Iterator[float]:
    told, source = False, ""
    said_later = _first_said_after(talk, fault)
    for heard in talk.heard:
        if heard.event == "status":
            told = told or heard.at >= fault
        elif heard.event in ("interim", "final") and heard.reach >= 0:
            if heard.at < fault:
                source = heard.code
            elif heard.at >= since and (told or source not in ("", heard.code) or heard.reach >= said_later):
                yield heard.at


def _owed_since(talk: Talk, fault: float) -> float | None:
    """Since when there was a word to be shown: the fault, or when the first one after it had been said."""
    said_later = _first_said_after(talk, fault)
    settled = max((heard.reach for heard in talk.heard if heard.event == "final" and heard.at < fault), default=-1)
    if settled + 1 < said_later:
        return fault
    return talk.sent_at(said_later) if said_later < talk.speech.words else None


def _first_said_after(talk: Talk, fault: float) -> int:
    """The number of the first word that had not been sent as a whole at the time of the fault."""
    for word in range(talk.speech.words):
        sent = talk.sent_at(word)
        if sent is None or sent > fault:
            return word
    return talk.speech.words
