"""Any operations at all on two sessions, and the epochs that each side gave."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from actors.speech.journal.port import (
    Append,
    Claim,
    Claimed,
    Confirm,
    Finish,
    Forget,
    Open,
    Opened,
    Operation,
    Outcome,
    Renew,
    Sweep,
)
from tests.speech.journal.conformance import CONFIG, entries

_ids = st.sampled_from(["a", "b"])
_tokens = st.integers(1, 4).map(lambda number: bytes([number]) * 32)
_epochs = st.integers(0, 3)  # how many before the newest one given
_seqs = st.integers(0, 6)
_spans = st.tuples(st.integers(1, 5), st.integers(0, 3)).map(lambda span: entries(*range(span[0], sum(span))))
operations = st.one_of(
    st.builds(Open, _ids, st.just(CONFIG), _tokens),
    st.builds(Claim, _ids, _tokens, _tokens, _seqs, st.booleans()),
    st.builds(Append, _ids, _epochs, _spans),
    st.builds(Renew, _ids, _epochs, st.booleans(), _seqs),
    st.builds(Confirm, _ids, _epochs),
    st.builds(Finish, _ids, _epochs, st.integers(0, 1000)),
    st.builds(Forget, _ids, _epochs),
    st.just(Sweep()),
)
batches = st.lists(operations, min_size=1, max_size=6)
# Seconds that pass before a batch: around every bound of the retention, and never exactly at one.
pauses = st.sampled_from([0, 0, 0, 0, 10, 24, 27, 59, 62, 84, 87, 3580, 3700])


class Side:
    """Whoever is asked. Epochs rise, but not by one: sides are compared by the order of theirs."""

    def __init__(self) -> None:
        self._epochs = [0]

    def asked(self, operation: Operation) -> Operation:
        """The operation with an epoch of this side."""
        if isinstance(operation, Append | Renew | Confirm | Finish | Forget):
            back = min(operation.epoch, len(self._epochs) - 1)
            return msgspec.structs.replace(operation, epoch=self._epochs[-1 - back])
        return operation

    def answered(self, outcome: Outcome) -> Outcome:
        """The outcome with the epoch's place in their order."""
        if not isinstance(outcome, Opened | Claimed):
            return outcome
        if outcome.epoch not in self._epochs:
            assert outcome.epoch > self._epochs[-1]
            self._epochs.append(outcome.epoch)
        return msgspec.structs.replace(outcome, epoch=self._epochs.index(outcome.epoch))
