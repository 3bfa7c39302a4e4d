"""What a frame costs is measured by real processes; the figures are put together here, and one round is played."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bench.load.report import Tally, summed
from bench.relay.backend import FINAL_EVERY, STEP, Heard
from bench.relay.command import measure
from bench.relay.figures import BARE, GATHERING, VOXTREE, Contender, Figures, Load, contenders, ratios, table
from transport.riva.convert import audio_request

REPORT = summed([Tally(seconds=2.0, sent=1000, cpu=0.1)])


def figures(contender: str, frame_ms: int, *costs: float) -> list[Figures]:
    """One round for each cost in microseconds a frame."""
    load = Load(frame_ms, 10)
    return [
        Figures(
            contender=contender,
            load=load,
            seconds=2.0,
            cpu=cost * 1e-3,
            riva_cpu=0.1,
            memory=64 << 20,
            idle_memory=63 << 20,
            heard=REPORT,
        )
        for cost in costs
    ]


def test_ratios_are_those_of_the_medians() -> None:
    measured = [
        *figures("bare relay", 20, 100, 200, 900),
        *figures(GATHERING, 20, 80),
        *figures("voxtree", 20, 90, 84, 10),
        *figures("voxtree", 100, 70),
    ]
    assert ratios(measured) == {
        "ratio_20ms": 0.42,
        "ratio_100ms": None,
        "ratio_supervision": 1.05,
        "ratio_supervision_100ms": None,
    }
    shown = table([BARE, VOXTREE], [Load(20, 10)], measured)
    assert "bare relay                 200 ±200%   1.00" in shown
    assert "ratio_100ms             –" in shown


@pytest.mark.parametrize("frame", [640, 3200, 16_000])
def test_the_stand_in_answers_every_tenth_of_a_second_of_audio_however_it_is_cut(frame: int) -> None:
    heard, answers, total = Heard(), 0, STEP * FINAL_EVERY
    for _ in range(total // frame):
        answers += len(list(heard.request(audio_request(bytes(frame)))))
    assert answers == FINAL_EVERY


@pytest.mark.slow
@pytest.mark.parametrize("contender", [contenders("uvloop")[2], VOXTREE], ids=lambda each: each.name)
def test_a_round_is_played(contender: Contender) -> None:
    measured = asyncio.run(measure(contender, Load(20, 3), 0.5))
    assert (measured.heard.lost, measured.heard.answers > 0, measured.heard.sent > 0) == (0, True, True)
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Figures) == measured
