"""The account of what became of the words."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bench.riva.ledger import Ledger, Score, total
from bench.riva.words import CodedSpeech

SPEECH = CodedSpeech(words=10, first=1, tag=5)
ALL = " ".join(f"w{number}t5" for number in range(1, 11))
CLEAN: dict[str, Any] = {
    "sent": 10, "received": 10, "lost": 0, "declared": 0, "doubled": 0, "misordered": 0, "foreign": 0, "moved": 0,
}  # fmt: skip


def score(*finals: str, gaps: tuple[tuple[int, int], ...] = ()) -> Score:
    ledger = Ledger(SPEECH)
    for text in finals:
        ledger.final(text)
    for gap in gaps:
        ledger.gap(*gap)
    return ledger.score()


def test_every_word_once_and_in_order_is_flawless() -> None:
    assert score(ALL) == score("w1t5 w2t5", "", "w3t5 w4t5 w5t5 w6t5 w7t5 w8t5 w9t5 w10t5") == Score(**CLEAN)
    assert score(ALL).flawless


def test_a_word_that_never_came_is_lost_and_declared_only_by_a_gap_that_covers_it() -> None:
    finals = ALL.replace("w4t5 w5t5 ", "")
    fifth = SPEECH.word(5)
    assert score(finals) == Score(**CLEAN | {"received": 8, "lost": 2})
    told = score(finals, gaps=((fifth.start - 100, fifth.end + 100), (0, SPEECH.word(1).end)))
    assert told == Score(**CLEAN | {"received": 8, "lost": 2, "declared": 1})
    assert (told.undeclared, told.flawless) == (1, False)


def test_a_word_that_comes_again_is_doubled_and_not_misordered() -> None:
    assert score(ALL, "w9t5 w9t5 w10t5") == Score(**CLEAN | {"doubled": 3})


def test_a_word_that_comes_after_a_later_one_is_misordered() -> None:
    assert score(ALL.replace("w2t5 w3t5 w4t5", "w4t5 w2t5 w3t5")) == Score(**CLEAN | {"misordered": 2})


def test_what_was_not_sent_is_foreign() -> None:
    assert score(f"{ALL} w1 w1t6 w01t5 w11t5 w0t5 hello w999999999999t5") == Score(**CLEAN | {"foreign": 7})


def test_a_word_at_a_time_that_is_not_its_own_is_moved() -> None:
    ledger = Ledger(SPEECH, tolerance=0.001)
    starts = [SPEECH.word(number).start for number in range(1, 11)]
    ledger.final(ALL, [starts[0] + 16, starts[1] - 17, *starts[2:]])
    assert ledger.score() == Score(**CLEAN | {"moved": 1})


def test_only_words_that_were_sent_whole_count_as_sent() -> None:
    third = SPEECH.word(3)
    assert [Ledger(SPEECH).score(third.end - less).sent for less in (0, 1)] == [3, 2]


def test_scores_add_up() -> None:
    assert total([score(ALL), score(ALL, "w1t5"), score("hi")]) == Score(
        sent=30, received=20, lost=10, declared=0, doubled=1, misordered=0, foreign=1, moved=0
    )


@given(st.lists(st.integers(1, 10), max_size=30))
def test_whatever_comes_the_account_adds_up(numbers: list[int]) -> None:
    found = score(" ".join(f"w{number}t5" for number in numbers))
    assert found.received + found.lost == found.sent == 10
    assert found.received + found.doubled == len(numbers)
    assert found.flawless == (numbers == list(range(1, 11)))
