"""Whatever is lost, killed, cut or doubled: every word comes once, or its place is in a declared gap.

The cores are the real ones, of both sides: `ClientCore`, the codec, `Intake`, `SessionCore` with the actor around it,
`Keeping` and the journal's ledger. Between them lies a world that may do anything at any point. Thousands of runs:

    VOXTREE_MODEL_RUNS=10000 pytest tests/resume
"""

from __future__ import annotations

import os

import anyio
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.speech.journal.body import TextPolicy
from tests.resume.world import FAULTS, WORK, World
from transport.client.core import State

RUNS = int(os.environ.get("VOXTREE_MODEL_RUNS", "300"))


class Plan(msgspec.Struct, frozen=True):
    """One run: what is said, what may fail, and in which order everything happens."""

    text: TextPolicy
    words: int
    keep: float
    live: bool
    faults: tuple[str, ...]
    moves: tuple[tuple[int, int], ...]

    def __repr__(self) -> str:
        moves = "".join(f"\n    {name} {arg}" for name, arg in self.named_moves())
        return f"Plan({self.text}, {self.words} words, keep={self.keep}, live={self.live}, {self.faults}){moves}"

    def named_moves(self) -> list[tuple[str, int]]:
        choices = [*WORK, *self.faults * 2]
        return [(choices[which % len(choices)], arg) for which, arg in self.moves]


PLANS = st.builds(
    Plan,
    st.sampled_from(TextPolicy).filter(lambda text: text is not TextPolicy.ENCRYPTED),
    st.sampled_from((3, 8, 20)),
    st.sampled_from((1.0, 4.0, 60.0)),
    st.booleans(),
    st.lists(st.sampled_from(FAULTS), max_size=5, unique=True).map(tuple),
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=30, max_size=300).map(tuple),
)


async def play(plan: Plan) -> World:
    world = World(
        plan.text,
        words=plan.words,
        keep=plan.keep,
        live=plan.live,
        two="second" in plan.faults,
        frail="lose tail" in plan.faults,
    )
    world.begin()
    assert world.app.core.state is State.OPEN
    for action, arg in plan.named_moves():
        world.act(action, arg)
    world.settle()
    return world


@settings(max_examples=RUNS, deadline=None, suppress_health_check=list(HealthCheck))
@given(PLANS)
def test_every_word_comes_once_or_in_a_declared_gap(plan: Plan) -> None:
    anyio.run(play, plan)
