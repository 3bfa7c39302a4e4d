"""What three faults do to the words of a peer's clients, and what these are told."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.faults.command import progress
from bench.faults.outcome import Outcome, outcome
from bench.faults.recovery import UNWELL
from bench.faults.stage import Clock, Stage
from bench.faults.talk import Talk
from bench.peers.clients import OWN_WORDS, PlainTalk
from bench.peers.contenders import Peer
from bench.riva import Plan
from bench.riva.words import CodedSpeech

EARLY = 0.3  # of the speech: when a fault strikes
FRAME = 0.02  # seconds of audio in a message: a word's sound takes four
LOOK = 0.001  # seconds
INSIDE = 0.02  # seconds from a word's edge, at least, where it is cut


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong. `strike`: a signal to the primary backend; None: every client's connection is cut."""

    key: str
    title: str
    strike: signal.Signals | None = None


FAULTS = (
    Fault("killed", "the backend is killed, another is there", signal.SIGKILL),
    Fault("hangs", "the backend hangs, another is there", signal.SIGSTOP),
    Fault("cut", "clients' connections are cut in mid-word"),
)


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault came to.

    Attributes:
        outcome: the words and times.
        told: what clients were told after it, and how many of them.
        mid_word: clients that were in the middle of a word when it struck.
    """

    peer: str
    fault: str
    outcome: Outcome
    told: dict[str, int]
    mid_word: int


async def play(peer: Peer, fault: Fault, sessions: int, words: int, patience: float) -> Played:
    """Let clients speak to a peer, and strike. `patience`: seconds after the end of speech."""
    struck: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(sessions, words, Path(folder), partial(progress, peer.title, fault.title)) as stage:
            primary, fallback = await stage.rivas(Plan(), Plan())
            rivas = [primary.address, fallback.address]
            async with (peer.start_coded or peer.start)(rivas, sessions) as (url, _):
                parts = urlsplit(url)
                proxy = await stage.proxy(parts.port or 0)
                async with _speech(stage, f"ws://127.0.0.1:{proxy.port}{parts.path}", peer, patience) as clock:
                    await clock.at(EARLY)
                    await _mid_word(stage.talks[0])
                    stage.struck()
                    struck.update(number for number, talk in enumerate(stage.talks) if _is_mid_word(talk))
                    if fault.strike is None:
                        proxy.cut()
                    else:
                        primary.signal(fault.strike)
        progress()
        assert stage.strike is not None
        return Played(
            peer=peer.key,
            fault=fault.key,
            outcome=outcome(peer.key, fault.title, stage.talks, stage.strike),
            told=told(stage.talks, stage.strike.at),
            mid_word=len(struck),
        )


@asynccontextmanager
async def _speech(stage: Stage, url: str, peer: Peer, patience: float) -> AsyncGenerator[Clock, None]:
    client = Talk if peer.resumes else PlainTalk
    async with stage.speech(url, spread=0.0, chunk=FRAME, pace=FRAME, patience=patience, client=client) as clock:
        yield clock


def told(talks: Sequence[Talk], since: float) -> dict[str, int]:
    """What clients were told of trouble from some time on, and how many of them; the most frequent first."""
    said: Counter[str] = Counter()
    for talk in talks:
        said.update({text for heard in talk.heard if heard.at >= since and (text := _trouble(heard.event, heard.code))})
    return dict(said.most_common())


def _trouble(event: str, code: str) -> str:
    match event:
        case "status" if code in UNWELL:
            return f"status {code}"
        case "error" if code not in OWN_WORDS:
            return f"error {code}"
        case "gap" | "goaway":
            return f"{event} {code}"
        case "lost":
            return "connection lost, session gone"
        case "reconnecting":
            return "connection lost, session kept"
    return ""


async def _mid_word(talk: Talk) -> None:
    """Wait until this client is in the middle of a word, if it still says any."""
    while not _is_mid_word(talk):
        if talk.failure is not None or talk.samples >= talk.speech.samples:
            return
        await asyncio.sleep(LOOK)


def _is_mid_word(talk: Talk) -> bool:
    return inside(talk.speech, talk.samples)


def inside(speech: CodedSpeech, position: int) -> bool:
    """Whether speech that is cut at this sample is cut in a word, and not at its edge."""
    edge = round(INSIDE * speech.rate)
    return any(
        speech.word(number).start + edge <= position <= speech.word(number).end - edge
        for number in speech.between(position, position + 1)
    )
