"""The queue and its drain: whatever fails, dies or is cancelled, every operation is answered once, in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.speech.errors import JournalDamaged, JournalFull, JournalUnavailable, ServerBusy, SpeechError
from actors.speech.journal.journal import Journal, together
from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import (
    Append,
    Claim,
    Claimed,
    Fenced,
    Open,
    Opened,
    Operation,
    Outcome,
    Renew,
    Sweep,
    Written,
)
from actors.speech.policies import SERVER_POLICIES
from supervisor.errors import StartFailed
from supervisor.reports import ErrorSurvived
from supervisor.spec import Intensity
from supervisor.testing import Recorder, settle, virtual_backend
from supervisor.tree import Supervisor
from tests.speech.failpoints import Failpoint
from tests.speech.journal.conformance import FIRST, SECOND, entries
from tests.speech.journal.operations import Side, batches

PATIENT = Intensity(restarts=1000, seconds=10.0)


class Flaky:
    """A store in memory that takes its time, and fails as it is told: before a commit, or after it, as if the answer
    was lost."""

    name = "flaky"

    def __init__(self) -> None:
        self.kept = MemoryStore()
        self.durability = self.kept.durability
        self.before: list[Exception | None] = []  # one for each commit; None: it works
        self.after: list[Exception | None] = []
        self.refuses: Exception | None = None  # to open
        self.commits: list[list[Operation]] = []
        self.seconds = 0.01
        self.opened = self.closed = 0

    async def open(self) -> None:
        if self.refuses:
            raise self.refuses
        self.opened += 1

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        self.commits.append(list(operations))
        await anyio.sleep(self.seconds)
        if self.before and (error := self.before.pop(0)):
            raise error
        outcomes = await self.kept.commit(operations)
        if self.after and (error := self.after.pop(0)):
            raise error
        return outcomes

    async def close(self) -> None:
        self.closed += 1

    async def all_of(self, session_id: str) -> tuple[int, ...]:
        """The numbers of the entries kept."""
        (claimed,) = await self.kept.commit([Claim(session_id, FIRST, SECOND, 0)])
        assert isinstance(claimed, Claimed)
        return tuple(each.seq for each in claimed.entries)


@asynccontextmanager
async def running(journal: Journal, recorder: Recorder | None = None) -> AsyncGenerator[None, None]:
    tree = Supervisor(
        [journal.child()], name="root", intensity=PATIENT, policies=SERVER_POLICIES, on_event=recorder or Recorder()
    )
    async with tree:
        yield


async def opened(journal: Journal, session_id: str = "s1") -> int:
    outcome = await journal.perform(Open(session_id, b"", FIRST))
    assert isinstance(outcome, Opened)
    return outcome.epoch


async def test_what_has_piled_up_is_committed_together() -> None:
    store = Flaky()
    journal = Journal(store)
    async with running(journal):
        epoch = await opened(journal)
        answers: list[tuple[int, Outcome]] = []
        for seq in range(1, 11):
            journal.submit(Append("s1", epoch, entries(seq)), lambda outcome, seq=seq: answers.append((seq, outcome)))
            if seq == 1:
                await settle()  # the first is on its way alone
        assert len(journal) == 10
        await anyio.sleep(0.1)
        assert answers == [(seq, Written()) for seq in range(1, 11)]
        assert [len(batch) for batch in store.commits] == [1, 1, 9]
        assert len(journal) == 0


@pytest.mark.parametrize("error", [JournalUnavailable("away"), JournalFull("full"), JournalDamaged("broken")])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_batch_that_fails_is_kept_and_tried_again_and_the_trouble_told_once(
    error: SpeechError, when: str
) -> None:
    store = Flaky()
    journal = Journal(store, random=lambda: 0.0)
    recorder = Recorder()
    async with running(journal, recorder):
        epoch = await opened(journal)
        setattr(store, when, [error] * 5)
        started = anyio.current_time()
        answers: list[Outcome] = []
        journal.submit(Append("s1", epoch, entries(1)), answers.append)
        await anyio.sleep(1)
        assert (journal.trouble, answers) == (error, [])
        assert await journal.perform(Append("s1", epoch, entries(2))) == Written()
        assert answers == [Written()]
        assert journal.trouble is None
        assert anyio.current_time() - started == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 7 * store.seconds)
        assert [event.error for event in recorder.of(ErrorSurvived)] == [error]
        assert store.opened == 1 + 5  # it is opened anew after each failure
    assert await store.all_of("s1") == (1, 2)


async def test_an_error_of_another_kind_is_told_too() -> None:
    store = Flaky()
    journal = Journal(store)
    recorder = Recorder()
    away, full = JournalUnavailable("away"), JournalFull("full")
    async with running(journal, recorder):
        epoch = await opened(journal)
        store.before = [away, away, full, full]
        await journal.perform(Append("s1", epoch, entries(1)))
    assert [event.error for event in recorder.of(ErrorSurvived)] == [away, full]


async def test_while_nothing_can_be_committed_new_sessions_are_refused_and_those_that_live_wait() -> None:
    store = Flaky()
    journal = Journal(store)
    async with running(journal):
        epoch = await opened(journal)
        store.before = [JournalUnavailable("away")] * 4
        answers: list[Outcome] = []
        journal.submit(Append("s1", epoch, entries(1)), answers.append)
        await anyio.sleep(0.05)
        for operation in (Open("s2", b"", FIRST), Claim("s1", FIRST, SECOND, 0)):
            with pytest.raises(ServerBusy) as caught:
                await journal.perform(operation)
            assert caught.value.retry_after is not None
            assert isinstance(caught.value.__cause__, JournalUnavailable)
        await journal.perform(Append("s1", epoch, entries(2)))
        assert answers == [Written()]
        await opened(journal, "s2")


async def test_when_too_much_waits_new_sessions_are_refused_and_those_that_live_find_room() -> None:
    store = Flaky()
    journal = Journal(store, most_waiting=3)
    async with running(journal):
        epoch = await opened(journal)
        answers: list[Outcome] = []
        for seq in range(1, 4):
            journal.submit(Append("s1", epoch, entries(seq)), answers.append)
        with pytest.raises(ServerBusy):
            journal.submit(Open("s2", b"", FIRST), answers.append)
        journal.submit(Append("s1", epoch, entries(4)), answers.append)
        await anyio.sleep(1)
        assert answers == [Written()] * 4


async def test_who_is_cancelled_does_not_cancel_the_commit() -> None:
    store = Flaky()
    journal = Journal(store)
    async with running(journal):
        epoch = await opened(journal)
        with anyio.move_on_after(store.seconds / 2) as impatience:
            await journal.perform(Append("s1", epoch, entries(1)))
        assert impatience.cancelled_caught
        assert await journal.perform(Append("s1", epoch, entries(2))) == Written()
    assert await store.all_of("s1") == (1, 2)


async def test_who_is_cancelled_before_the_commit_has_asked_for_nothing() -> None:
    store = Flaky()
    journal = Journal(store)
    abandoned: list[Outcome] = []
    async with running(journal):
        async with anyio.create_task_group() as tasks:
            journal.submit(Renew("s0", 1, connected=True), lambda outcome: None)
            await settle()  # this is being committed
            tasks.start_soon(journal.perform, Open("s1", b"", FIRST), abandoned.append)
            await settle()
            tasks.cancel_scope.cancel()
        await anyio.sleep(1.0)
        assert len(journal) == 0
    assert not any(isinstance(operation, Open) for commit in store.commits for operation in commit)
    assert abandoned == []


async def test_a_stop_commits_what_is_left_and_closes_the_store() -> None:
    store = Flaky()
    journal = Journal(store)
    answers: list[Outcome] = []
    async with running(journal):
        epoch = await opened(journal)
        for seq in range(1, 6):
            journal.submit(Append("s1", epoch, entries(seq)), answers.append)
    assert answers == [Written()] * 5
    assert store.closed == 1


async def test_a_stop_does_not_wait_for_ever_for_a_store_that_is_down() -> None:
    store = Flaky()
    journal = Journal(store)
    async with running(journal):
        epoch = await opened(journal)
        store.before = [JournalUnavailable("away")] * 1000
        journal.submit(Append("s1", epoch, entries(1)), lambda _: None)
        await anyio.sleep(1)
        asked = anyio.current_time()
    assert anyio.current_time() - asked <= 5.0
    assert store.closed == 1


async def test_a_store_that_cannot_be_opened_at_first_keeps_the_journal_from_starting() -> None:
    store = Flaky()
    store.refuses = JournalDamaged("not a journal")
    with pytest.raises(StartFailed) as caught:
        async with running(Journal(store)):
            raise AssertionError("it has started")
    assert caught.value.__cause__ is store.refuses


async def test_a_sweep_comes_every_minute() -> None:
    store = Flaky()
    async with running(Journal(store)):
        await anyio.sleep(125)
    assert store.commits == [[Sweep()], [Sweep()]]


async def test_after_an_outage_sessions_are_renewed_before_a_sweep_comes() -> None:
    store = Flaky()
    journal = Journal(store)
    async with running(journal):
        epoch = await opened(journal)
        store.before = [JournalUnavailable("away")] * 60
        renew = Renew("s1", epoch, connected=True)
        assert await journal.perform(renew) == Written()
        assert anyio.current_time() > 100
        recovered = len(store.commits)
        await anyio.sleep(59)
        assert store.commits[recovered:] == []
        await anyio.sleep(2)
        assert store.commits[recovered:] == [[Sweep()]]


async def test_who_wrote_before_a_claim_is_not_fenced_by_it_when_the_answer_is_lost() -> None:
    store = Flaky()
    journal = Journal(store)
    async with running(journal):
        epoch = await opened(journal)
        answers: list[Outcome] = []
        store.after = [None, JournalUnavailable("answer lost"), None, JournalUnavailable("answer lost")]
        for operation in (
            Renew("s1", epoch, connected=False),
            Append("s1", epoch, entries(1)),
            Claim("s1", FIRST, SECOND, 0),
            Append("s1", epoch, entries(2)),
        ):
            journal.submit(operation, answers.append)
            if isinstance(operation, Renew):
                await settle()  # the others pile up behind it
        await anyio.sleep(10)
        assert answers[:2] == [Written(), Written()]
        assert isinstance(answers[2], Claimed)
        assert answers[2].entries == entries(1)
        assert answers[3] == Fenced()


@settings(max_examples=300, deadline=None)
@given(before=st.lists(batches, max_size=4), batch=batches)
def test_a_batch_that_is_carried_out_twice_is_answered_the_same(
    before: list[list[Operation]], batch: list[Operation]
) -> None:
    async def main() -> None:
        store, side = MemoryStore(clock=lambda: 1_700_000_000.0), Side()
        for each in before:
            for outcome in await store.commit([side.asked(operation) for operation in each]):
                side.answered(outcome)
        once = [
            side.asked(with_new_token(operation, number))
            for number, operation in enumerate(batch)
            if not isinstance(operation, Sweep)  # the second one has nothing left to count
        ]
        once = once[: together(once)]
        assert await store.commit(once) == await store.commit(once)

    anyio.run(main)


def with_new_token(operation: Operation, number: int) -> Operation:
    """Tokens that are given out are random: nobody has had one like it."""
    token = bytes([100 + number]) * 32
    match operation:
        case Open():
            return msgspec.structs.replace(operation, token=token)
        case Claim():
            return msgspec.structs.replace(operation, next_token=token)
        case _:
            return operation


@settings(max_examples=60, deadline=None)
@given(data=st.data(), backend=st.sampled_from(["asyncio", "trio"]))
def test_whatever_fails_every_operation_is_answered_once_in_order_and_nothing_is_written_twice(
    data: st.DataObject, backend: str
) -> None:
    failures = st.lists(
        st.sampled_from([None, JournalUnavailable("away"), JournalFull("full"), RuntimeError("a defect")]), max_size=12
    )
    steps = data.draw(
        st.lists(st.tuples(st.sampled_from(["s1", "s2", "s3"]), st.integers(1, 3), st.floats(0, 0.05)), max_size=20)
    )
    store = Flaky()
    journal = Journal(store)
    answered: dict[str, list[int]] = {"s1": [], "s2": [], "s3": []}

    async def main() -> None:
        async with running(journal):
            epochs = {session_id: await opened(journal, session_id) for session_id in answered}
            store.before, store.after = data.draw(failures), data.draw(failures)
            seqs = dict.fromkeys(answered, 0)
            for session_id, times, pause in steps:
                for _ in range(times):
                    seqs[session_id] += 1
                    append = Append(session_id, epochs[session_id], entries(seqs[session_id]))

                    def then(outcome: Outcome, append: Append = append) -> None:
                        assert outcome == Written()
                        answered[append.session_id].append(append.entries[0].seq)

                    journal.submit(append, then)
                await anyio.sleep(pause)
            await journal.perform(Sweep())  # all that was submitted before it is answered before it
            for session_id, last in seqs.items():
                assert answered[session_id] == list(range(1, last + 1))
                assert await store.all_of(session_id) == tuple(range(1, last + 1))

    name, options = virtual_backend(backend)
    anyio.run(main, backend=name, backend_options=options)


async def test_a_crash_at_any_await_loses_no_operation_and_answers_none_twice() -> None:
    at, fired = 0, True
    while fired:
        at += 1
        store = Flaky()
        store.before = [None, None, JournalUnavailable("away")]
        store.after = [None, None, JournalUnavailable("answer lost")]
        failpoint = Failpoint(at, lambda _: True)
        answers = await append_eight(store, failpoint)
        fired = failpoint.fired
        assert (at, answers) == (at, [(seq, Written()) for seq in range(1, 9)])
        assert (at, await store.all_of("s1")) == (at, tuple(range(1, 9)))
    assert at > 15


async def append_eight(store: Flaky, failpoint: Failpoint) -> list[tuple[int, Outcome]]:
    """The answers, in the order in which they came."""
    journal = Journal(store)
    answers: list[tuple[int, Outcome]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "run", around(failpoint, journal))
        async with running(journal):
            epoch = await opened(journal)
            for seq in range(1, 9):
                journal.submit(
                    Append("s1", epoch, entries(seq)), lambda outcome, seq=seq: answers.append((seq, outcome))
                )
                await anyio.sleep(0.004)
            await anyio.sleep(61)  # a sweep comes too
    return answers


def around(failpoint: Failpoint, journal: Journal) -> Any:
    """The drain, which may crash."""
    run = failpoint.around(type(journal).run)

    async def start(*, task_status: Any) -> None:
        await run(journal, task_status=task_status)

    return start


async def test_a_fenced_append_is_answered_as_such() -> None:
    journal = Journal(MemoryStore())
    async with running(journal):
        epoch = await opened(journal)
        claimed = await journal.perform(Claim("s1", FIRST, SECOND, 0))
        assert isinstance(claimed, Claimed)
        assert await journal.perform(Append("s1", epoch, entries(1))) == Fenced()
        assert await journal.perform(Append("s1", claimed.epoch, entries(1))) == Written()
