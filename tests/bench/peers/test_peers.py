"""The peers do their work, and are as weak as they are meant to be."""

from __future__ import annotations

import asyncio

import pytest

from bench.peers import nodejs
from bench.peers.contenders import PEERS, Peer
from bench.peers.faults import FAULTS, play
from bench.relay.command import measured
from bench.relay.figures import Load

pytestmark = pytest.mark.slow
KILLED, _, CUT = FAULTS


@pytest.fixture(params=PEERS, ids=lambda peer: peer.key)
def peer(request: pytest.FixtureRequest) -> Peer:
    found: Peer = request.param
    if lack := found.lack():
        pytest.skip(f"needs {lack}")
    if found.key == "node":
        try:
            asyncio.run(nodejs.install())
        except nodejs.Unavailable as absent:
            pytest.skip(f"needs {absent}")
    return found


def test_a_peer_is_measured_under_load(peer: Peer) -> None:
    figures = asyncio.run(measured(peer.key, lambda riva: peer.start([riva], 3), Load(20, 3), 0.5))

    assert (figures.heard.lost, figures.heard.answers > 0, figures.heard.sent > 0) == (0, True, True)


def test_words_come_again_after_a_cut_and_only_voxtree_loses_none(peer: Peer) -> None:
    came = asyncio.run(play(peer, CUT, sessions=2, words=12, patience=10.0))

    assert (came.outcome.recovered, came.outcome.doubled, came.outcome.misordered) == (2, 0, 0)
    kept = peer.key == "voxtree"
    assert (came.outcome.lost == 0) == kept
    assert came.told == {f"connection lost, session {'kept' if kept else 'gone'}": 2}
    assert came.mid_word >= 1


HANDLERS = [peer for peer in PEERS if peer.key in ("fastapi", "node")]


@pytest.mark.parametrize("peer", HANDLERS, ids=lambda peer: peer.key, indirect=True)
def test_a_handler_gets_over_a_killed_backend_and_says_so(peer: Peer) -> None:
    came = asyncio.run(play(peer, KILLED, sessions=1, words=12, patience=10.0))

    assert (came.outcome.recovered, came.outcome.doubled) == (1, 0)
    # grpc.aio hides the status behind one of its own if it is a write that fails first (grpc/grpc#36066).
    assert came.told in ({"error UNAVAILABLE": 1}, {"error INTERNAL": 1})
