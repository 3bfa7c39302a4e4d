"""What is made of the times that clients note down."""

from __future__ import annotations

import pytest

from bench.faults.outcome import Strike, outcome
from bench.faults.recovery import delays, detection, percentile, recovery, resumption, switches
from bench.faults.talk import Heard, Talk
from bench.riva import CodedSpeech

SPEECH = CodedSpeech(words=4, utterance=2, pause=0.3)  # the words end at 0.12, 0.32, 0.82 and 1.02 s


def talk(*heard: Heard, messages: int = 14) -> Talk:
    """A client who began at 100.0 and sent a message of 0.1 s every 0.1 s, each when it had been spoken."""
    client = Talk(SPEECH)
    client.sent = [100.0 + 0.1 * number for number in range(1, messages + 1)]
    client.heard = list(heard)
    return client


def test_a_word_is_sent_with_the_message_that_holds_its_end() -> None:
    assert [talk().sent_at(word) for word in range(4)] == pytest.approx([100.2, 100.4, 100.9, 101.1])
    assert talk(messages=3).sent_at(1) is None


def test_a_client_recovers_with_the_first_transcript_after_it_was_told() -> None:
    client = talk(
        Heard(100.25, "interim", "primary", 0),
        Heard(100.52, "interim", "primary", 1),  # was on its way when the fault struck
        Heard(100.6, "status", "recovering"),
        Heard(100.75, "interim", "primary", 1),
    )
    assert recovery(client, 100.5) == pytest.approx(0.25)
    assert detection(client, 100.5) == pytest.approx(0.1)


def test_a_transcript_from_another_source_is_fresh() -> None:
    client = talk(Heard(100.45, "interim", "primary", 1), Heard(100.7, "interim", "fallback", 1))
    assert (recovery(client, 100.5), detection(client, 100.5)) == (pytest.approx(0.2), None)


def test_a_word_that_was_said_after_the_fault_is_fresh() -> None:
    client = talk(Heard(100.52, "interim", "primary", 1), Heard(101.0, "interim", "primary", 2))
    assert recovery(client, 100.5) == pytest.approx(0.5)


def test_when_all_had_been_settled_the_time_counts_from_the_next_word() -> None:
    client = talk(
        Heard(100.6, "final", "primary", 1), Heard(100.75, "status", "recovering"), Heard(101.0, "interim", "", 2)
    )
    assert recovery(client, 100.7) == pytest.approx(0.1)


def test_time_counts_from_when_words_could_come_again() -> None:
    client = talk(Heard(100.6, "status", "recovering"), Heard(103.0, "interim", "primary", 1))
    assert recovery(client, 100.5, since=102.5) == pytest.approx(0.5)


def test_a_client_that_is_told_nothing_more_does_not_recover() -> None:
    client = talk(Heard(100.45, "interim", "primary", 1), Heard(100.6, "status", "recovering"))
    assert recovery(client, 100.5) is None


def test_a_word_is_as_late_as_its_first_appearance() -> None:
    client = talk()
    client.shown = {0: 100.25, 1: 100.9}
    assert delays(client) == pytest.approx([0.05, 0.5])


def test_changes_of_the_source_are_counted() -> None:
    sources = ["primary", "primary", "fallback", "primary"]
    client = talk(*(Heard(100.0, "interim", source, 0) for source in sources), Heard(100.0, "final", "embedded"))
    assert switches(client) == 2


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile([3, 1, 2], percent) for percent in (0, 50, 99, 100)] == [1, 2, 3, 3]
    assert percentile([], 50) is None


def test_an_outcome_sums_up_its_clients() -> None:
    client = talk(Heard(100.6, "status", "recovering"), Heard(100.75, "interim", "fallback", 1))
    client.ledger.final("w0 w0 w2")
    found = outcome("1", "killed", [client], Strike(100.5, 100.5))
    assert (found.sent, found.lost, found.doubled, found.undeclared, found.is_sound) == (4, 2, 1, 2, False)
    assert (found.recovery_p99_ms, found.detection_ms) == (250.0, 100.0)
    assert found.verdict == "FAILS: 2 lost, 1 doubled, 2 undeclared"


def test_a_session_is_resumed_when_its_client_has_it_again_after_that_time() -> None:
    client = talk(Heard(100.4, "resumed"), Heard(100.5, "reconnecting", "cut"), Heard(100.9, "resumed"))
    assert resumption(client, 100.5) == pytest.approx(0.4)
    assert resumption(client, 101.0) is None


def test_a_twin_knows_what_the_other_knows_and_goes_its_own_way() -> None:
    client = talk(Heard(100.6, "final", "primary", 0))
    client.ledger.final("w0")
    twin = client.twin()
    twin.ledger.final("w1 w2")
    assert (client.ledger.score().lost, twin.ledger.score().lost) == (3, 1)
    assert (twin.samples, twin.heard) == (client.samples, client.heard)
    assert twin.core is not client.core


def test_lost_words_may_be_declared_only_where_a_case_is_about_that() -> None:
    client = talk()
    client.ledger.final("w0 w1 w2")
    client.ledger.gap(SPEECH.word(3).start, SPEECH.word(3).end)
    strict, lenient = (outcome("12a", "", [client], allows_gaps=allowed) for allowed in (False, True))
    assert (strict.verdict, lenient.verdict) == ("FAILS: 1 lost", "holds")
    client.ledger = talk().ledger
    assert outcome("12a", "", [client], allows_gaps=True).verdict == "FAILS: 4 undeclared"
