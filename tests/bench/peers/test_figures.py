"""What is told of the peers is what was measured, and what was not measured is said."""

from __future__ import annotations

from bench.faults.outcome import Outcome, outcome
from bench.faults.talk import Heard, Talk
from bench.load.report import Tally, summed
from bench.peers.clients import NO_END
from bench.peers.contenders import PEERS
from bench.peers.faults import Played, inside, told
from bench.peers.figures import cost_table, fault_table, figures_of
from bench.relay.figures import Figures, Load
from bench.riva import CodedSpeech

REPORT = summed([Tally(seconds=2.0, sent=1000, cpu=0.1)])
BY_KEY = {peer.key: peer for peer in PEERS}


def load(peer: str, cost: float, grown_kib: int) -> Figures:
    """One round: microseconds a frame, and KiB by which the process grew for ten sessions."""
    return Figures(
        contender=peer,
        load=Load(20, 10),
        seconds=2.0,
        cpu=cost * 1e-3,
        riva_cpu=0.1,
        memory=(64 << 20) + 1024 * grown_kib,
        idle_memory=64 << 20,
        heard=REPORT,
    )


def played(peer: str, fault: str, found: Outcome) -> Played:
    return Played(peer=peer, fault=fault, outcome=found, told={"error UNAVAILABLE": 2}, mid_word=1)


def test_figures_hold_costs_of_all_rounds_and_no_recovery_that_was_not_seen() -> None:
    found = figures_of(
        [load("node", 100, 500), load("node", 300, 700), load("node", 120, 600)],
        [played("node", "hangs", outcome("node", "", [Talk(CodedSpeech(words=5))]))],
    )

    assert {name: (figure.value, figure.unit, figure.better) for name, figure in found.items()} == {
        "node.cpu_20ms": (120.0, "µs/frame", "lower"),
        "node.memory_20ms": (60.0, "KiB/session", "lower"),
        "node.hangs.lost": (0, "words", "lower"),
        "node.hangs.doubled": (0, "words", "lower"),
        "node.hangs.recovered": (0, "sessions", "higher"),
    }
    assert found["node.cpu_20ms"].values == [100.0, 300.0, 120.0]


def test_a_peer_that_is_not_there_is_a_line_that_says_what_it_needs() -> None:
    shown = cost_table([BY_KEY["bare"], BY_KEY["node"]], [load("bare", 100, 10)], {"node": "Node 20 or later"})

    assert "Node, ws, grpc-js       not measured: needs Node 20 or later" in shown.splitlines()


def test_a_fault_that_a_peer_cannot_have_is_a_line_that_says_so() -> None:
    peers = [BY_KEY["node"], BY_KEY["thread_pool"]]

    lines = fault_table(peers, [played("node", "killed", outcome("node", ""))], {}).splitlines()

    assert lines[2].endswith("0 of 0   never   never  error UNAVAILABLE × 2")
    assert lines[3] == "vosk-style server       does not apply: it has no backend"


def test_clients_are_told_what_the_server_said_after_the_fault_and_not_what_they_think() -> None:
    one, other = Talk(CodedSpeech(words=1)), Talk(CodedSpeech(words=1))
    one.heard += [
        Heard(1.0, "error", "EARLIER"),
        Heard(2.0, "error", "UNAVAILABLE"),
        Heard(3.0, "error", "UNAVAILABLE"),
        Heard(3.5, "status", "streaming"),
        Heard(4.0, "error", NO_END),
    ]
    other.heard += [Heard(2.0, "status", "recovering"), Heard(2.5, "error", "UNAVAILABLE"), Heard(3.0, "lost", "1006")]

    assert told([one, other], 2.0) == {
        "error UNAVAILABLE": 2,
        "status recovering": 1,
        "connection lost, session gone": 1,
    }


def test_mid_word_is_in_a_words_sound_and_not_at_its_edge() -> None:
    speech = CodedSpeech(words=2)
    word = speech.word(1)

    cuts = [word.start, word.start + 320, (word.start + word.end) // 2, word.end - 320, word.end, word.end + 800]

    assert [inside(speech, cut) for cut in cuts] == [False, True, True, True, False, False]
