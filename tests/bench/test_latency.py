"""The stages of a delay are told apart by the stand-in's stamps."""

from __future__ import annotations

import asyncio

import pytest

from bench.latency import figures, measure, table
from bench.load.report import FINAL, INTERIM, UP, Tally, summed
from bench.relay.backend import FINAL_EVERY, STEP, Heard
from bench.relay.figures import VOXTREE, Load
from transport.riva.convert import audio_request


def test_a_table_shows_each_stage_and_leaves_out_what_a_relay_has_not() -> None:
    tally = Tally(seconds=1.0)
    for _ in range(10):
        tally.delays.add(0.003)
        tally.late.add(0.001)
        tally.staged(UP, 0.002)
        tally.staged(INTERIM, 0.001)
    bare = summed([tally])
    tally.staged(FINAL, 0.004)

    found = figures({"bare relay": [bare], "voxtree": [summed([tally])]})

    assert found["final.voxtree p99"].value == pytest.approx(4.0, rel=0.02)
    assert "final.bare relay p50" not in found
    rows = {line.split("  ")[0].strip(): line for line in table(found).splitlines()}
    assert "–" in rows["final"]
    assert "–" not in rows["to Riva"]


def test_the_stand_in_says_when_it_had_the_audio() -> None:
    heard = Heard(stamps=True)
    answers = [each for _ in range(FINAL_EVERY) for each in heard.request(audio_request(bytes(STEP)))]
    assert b"at 0000001 " in answers[0]
    assert b"at 0000001 " not in next(Heard().request(audio_request(bytes(STEP))))


@pytest.mark.slow
def test_a_round_is_played_with_all_stages() -> None:
    report = asyncio.run(measure(VOXTREE, Load(100, 2), 6.0, 1))
    assert report.lost == 0
    assert set(report.stages) == {UP, INTERIM, FINAL}
