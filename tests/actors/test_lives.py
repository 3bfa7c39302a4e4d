"""How the lives of an actor begin and end, under a real supervisor, and what becomes of its messages."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import anyio
import pytest

from actors import Actor, ActorGone, CleanUpTimeout, Mailbox, MailboxFull, Ref, actor_child, handler
from actors.testing import running
from supervisor import (
    BRUTAL_KILL,
    Backoff,
    BrutalKill,
    CancelledFromOutside,
    ChildEnded,
    ChildUnstoppable,
    Directive,
    ErrorSurvived,
    ExitKind,
    Ignore,
    Intensity,
    Policy,
    PolicyTable,
    Restart,
    Shutdown,
    StartFailed,
    Supervisor,
)
from supervisor.testing import Recorder, settle
from tests.actors.sample import Add, Broken, Command, Fail, FailBeside, Finish, Harmless, Sample, Tally, Wait

pytestmark = pytest.mark.anyio


class Life:
    """A `Sample` under a supervisor, with everything a test wants to see."""

    def __init__(self, restart: Restart = Restart.PERMANENT, *, policies: PolicyTable | None = None) -> None:
        self.diary: list[object] = []
        self.events: list[object] = []
        self.ref: Ref[Command] = Ref("sample")
        self.child = actor_child("sample", lambda: Sample(self.diary), ref=self.ref, restart=restart)
        self.tree = Supervisor(
            [self.child], intensity=Intensity(5, 5.0), policies=policies, on_event=self.events.append
        )

    @property
    def survived(self) -> list[Exception]:
        return [event.error for event in self.events if isinstance(event, ErrorSurvived)]


async def test_a_crash_costs_the_message_in_hand_and_no_other() -> None:
    life = Life()
    async with life.tree:
        life.ref.tell(Add(1))
        life.ref.tell(Fail(Broken()))
        for number in (2, 3):
            life.ref.tell(Add(number))
        assert await life.ref.ask(Tally()) == [2, 3]
    assert life.diary == ["started", ("stopped", "Broken"), "started", ("stopped", None)]


async def test_messages_wait_until_the_actor_has_started() -> None:
    order: list[object] = []

    class Slow(Sample):
        async def started(self) -> None:
            await anyio.sleep(1.0)
            order.append("started")

        async def on_add(self, message: Add) -> int:
            order.append(message.number)
            return message.number

    ref: Ref[Command] = Ref("slow")
    async with Supervisor() as tree, anyio.create_task_group() as tasks:
        ref.tell(Add(2))
        tasks.start_soon(tree.start_child, actor_child("slow", Slow, ref=ref))
        await settle()
        ref.tell(Add(1), control=True)
        assert await ref.ask(Add(3)) == 3
    assert order == ["started", 1, 2, 3]


async def test_while_an_actor_waits_for_its_restart_its_messages_wait_too_and_its_mailbox_keeps_its_bound() -> None:
    policies = PolicyTable({}, default=Policy(Directive.BACKOFF, Backoff(60.0, 1.0, 60.0)))
    answers: list[object] = []
    async with running(Sample, mailbox=Mailbox(3), policies=policies) as sample, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await sample.ref.ask(Add(30), timeout=100.0))

        sample.ref.tell(Fail(Broken()))
        await settle()
        for number in (1, 2):
            sample.ref.tell(Add(number))
        tasks.start_soon(ask)
        await settle()
        with pytest.raises(MailboxFull):
            sample.ref.tell(Add(4))
        assert (sample.ref.running, answers) == (False, [])
        await anyio.sleep(61.0)
        assert answers == [33]


async def test_a_cancelled_tree_lets_its_actors_finish_the_message_in_hand_and_starts_none_again() -> None:
    life = Life()
    gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_open_after, gate, 2.0)
        with anyio.move_on_after(1.0) as scope:
            async with life.tree:
                life.ref.tell(Wait(gate))
                life.ref.tell(Add(1))
                await anyio.sleep_forever()
    assert (scope.cancelled_caught, anyio.current_time()) == (True, pytest.approx(2.0))
    assert (life.diary, life.ref.depth) == (["started", "waited", ("stopped", None)], 1)


async def _open_after(gate: anyio.Event, seconds: float) -> None:
    await anyio.sleep(seconds)
    gate.set()


async def test_an_actor_that_ends_normally_by_itself_cleans_up_and_keeps_what_it_was_told() -> None:
    life = Life(Restart.TRANSIENT)
    async with life.tree as tree:
        life.ref.tell(Finish())
        life.ref.tell(Add(1))
        await settle()
        assert (life.diary, life.ref.running, life.ref.depth) == (["started", ("stopped", None)], False, 1)
        await tree.restart_child("sample")
        assert await life.ref.ask(Tally()) == [1]


async def test_a_stop_by_ref_ends_the_actor_after_the_message_in_hand_and_overtakes_data() -> None:
    life = Life(Restart.TRANSIENT)
    gate = anyio.Event()
    async with life.tree:
        life.ref.tell(Wait(gate))
        await settle()
        life.ref.tell(Add(1))
        life.ref.stop()
        await settle()
        assert life.ref.running
        gate.set()
        await settle()
        assert (life.diary, life.ref.depth) == (["started", "waited", ("stopped", None)], 1)


async def test_a_stop_ends_one_life_only() -> None:
    life = Life()
    async with life.tree:
        life.ref.stop()
        life.ref.stop()
        await settle()
        assert await life.ref.ask(Add(1)) == 1
    assert life.diary == ["started", ("stopped", None), "started", ("stopped", None)]


async def test_a_stop_that_comes_while_the_actor_ends_by_itself_does_not_end_its_next_life() -> None:
    life = Life()

    class Eager(Sample):
        def on_finish(self, message: Finish) -> str:
            self.ref.stop()
            return super().on_finish(message)

    child = actor_child("eager", lambda: Eager(life.diary), ref=life.ref)
    async with Supervisor([child]):
        await life.ref.ask(Finish())
        assert await life.ref.ask(Add(1)) == 1
    assert life.diary == ["started", ("stopped", None), "started", ("stopped", None)]


async def test_the_supervisor_stops_an_actor_after_the_message_in_hand() -> None:
    life = Life()
    gate = anyio.Event()
    async with life.tree as tree, anyio.create_task_group() as tasks:
        life.ref.tell(Wait(gate))
        life.ref.tell(Add(1))
        await settle()
        tasks.start_soon(tree.terminate_child, "sample")
        await settle()
        gate.set()
        await settle()
        assert (life.diary, life.ref.depth) == (["started", "waited", ("stopped", None)], 1)


async def test_while_its_supervisor_has_stopped_it_an_actor_is_told_things_but_not_asked() -> None:
    life = Life()
    async with life.tree as tree:
        await tree.terminate_child("sample")
        life.ref.tell(Add(1))
        with pytest.raises(ActorGone):
            await life.ref.ask(Tally())
        await tree.restart_child("sample")
        assert await life.ref.ask(Tally()) == [1]


async def test_an_actor_that_does_not_come_to_its_stop_is_cancelled_in_time_and_cleans_up() -> None:
    life = Life()
    began = anyio.current_time()
    async with life.tree:
        life.ref.tell(Wait(anyio.Event()))
        await settle()
    assert anyio.current_time() - began == pytest.approx(5.0)
    assert life.diary == ["started", ("stopped", "CancelledError")] or life.diary[-1] == (
        "stopped",
        "Cancelled",
    )


async def test_a_killed_actor_fails_the_question_in_hand() -> None:
    ref: Ref[Command] = Ref("sample")
    outcome: list[object] = []

    async def ask() -> None:
        try:
            await ref.ask(Wait(anyio.Event()))
        except ActorGone as gone:
            outcome.append(gone.reason)

    child = actor_child("sample", Sample, ref=ref, shutdown=BRUTAL_KILL)
    async with Supervisor([child]) as tree, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await settle()
        await tree.terminate_child("sample")
    assert outcome == [None]


@pytest.mark.parametrize(
    ("restart", "end", "tells_kept"),
    [
        (Restart.TEMPORARY, Fail(Broken()), False),
        (Restart.TEMPORARY, Finish(), False),
        (Restart.TRANSIENT, Finish(), False),
        (Restart.TRANSIENT, Fail(Shutdown()), False),
        (Restart.TRANSIENT, Fail(Broken()), True),
        (Restart.PERMANENT, Finish(), True),
        (Restart.PERMANENT, Fail(Shutdown()), True),
    ],
)
async def test_the_mailbox_closes_when_the_restart_type_says_that_no_life_will_follow(
    restart: Restart, end: Command, tells_kept: bool
) -> None:
    life = Life(restart)
    async with life.tree:
        life.ref.tell(end)
        await settle()
        try:
            life.ref.tell(Add(1))
            kept = True
        except ActorGone:
            kept = False
    assert kept == tells_kept


@pytest.mark.parametrize("directive", [Directive.STOP, Directive.ESCALATE])
async def test_the_mailbox_closes_when_the_policy_says_that_no_life_will_follow(directive: Directive) -> None:
    life = Life(policies=PolicyTable({}, default=Policy(directive)))
    error = Broken()
    try:
        async with life.tree:
            life.ref.tell(Fail(error))
            await settle()
            with pytest.raises(ActorGone) as caught:
                life.ref.tell(Add(1))
            assert caught.value.reason is error
    except Exception as escalated:
        assert directive is Directive.ESCALATE and escalated.__cause__ is error  # noqa: PT017, PT018


async def test_the_owner_can_close_what_will_not_run_again() -> None:
    ref: Ref[Command] = Ref("sample")
    ref.close(Broken("gave up"))
    with pytest.raises(ActorGone, match=r"Broken\('gave up'\)"):
        ref.tell(Add(1))


async def test_an_actor_that_runs_cannot_be_closed() -> None:
    life = Life()
    async with life.tree:
        life.ref.close()
        assert await life.ref.ask(Add(1)) == 1


async def test_a_failing_task_takes_its_actor_along_with_the_bare_error() -> None:
    life = Life()
    gone: list[object] = []
    error = Broken("beside")
    async with life.tree:
        life.ref.monitor(lambda down: gone.append(down.error))
        life.ref.tell(FailBeside(error))
        await settle()
        assert await life.ref.ask(Tally()) == []
    assert gone == [error]
    assert life.diary == ["started", "task over", ("stopped", "Broken"), "started", ("stopped", None)]


async def test_tasks_end_with_the_life_that_spawned_them_before_it_cleans_up() -> None:
    life = Life(Restart.TRANSIENT)
    async with life.tree:
        life.ref.tell(FailBeside(Broken(), after=3600))
        await settle()
        life.ref.stop()
    assert life.diary == ["started", "task over", ("stopped", None)]


async def test_a_second_failure_at_the_same_end_is_reported_not_lost() -> None:
    life = Life(Restart.TEMPORARY)
    first, second = Broken("first"), Broken("second")

    child = actor_child("clumsy", Clumsy, ref=life.ref, restart=Restart.TEMPORARY)
    gone: list[object] = []
    async with Supervisor([child], on_event=life.events.append):
        life.ref.monitor(lambda down: gone.append(down.error))
        life.ref.tell(FailBeside(second))
        await settle()
        life.ref.tell(Fail(first))
        await settle()
    assert (gone, life.survived) == ([first], [second])


class Clumsy(Sample):
    """Fails on its way out, in a handler and in a task."""

    async def on_wait(self, message: Wait) -> str:
        try:
            return await super().on_wait(message)
        finally:
            raise Broken("handler")

    async def _fail(self, error: Exception, after: float) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error


@pytest.mark.parametrize("where", ["handler", "task"])
async def test_an_error_on_the_way_out_of_a_killed_actor_is_not_lost(where: str) -> None:
    life = Life()
    child = actor_child("clumsy", Clumsy, ref=life.ref, shutdown=BRUTAL_KILL)
    async with Supervisor([child], on_event=life.events.append):
        life.ref.tell(Wait(anyio.Event()) if where == "handler" else FailBeside(Broken(where)))
        await settle()
    ends = [event.exit.error for event in life.events if isinstance(event, ChildEnded) and len(event.path) == 2]
    errors = [str(error) for error in [*life.survived, *ends] if error is not None]
    assert errors == [where]


class Stray(Sample):
    """Raises a cancellation that nobody has asked for, as libraries with a bug do."""

    async def on_wait(self, message: Wait) -> str:
        raise anyio.get_cancelled_exc_class()

    async def _fail(self, error: Exception, after: float) -> None:
        raise anyio.get_cancelled_exc_class()


@pytest.mark.parametrize("where", ["handler", "task"])
async def test_a_stray_cancellation_is_a_crash_and_not_a_normal_end(where: str, anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio lets nobody make a cancellation")
    life = Life()
    child = actor_child("stray", Stray, ref=life.ref, restart=Restart.TRANSIENT)
    async with Supervisor([child], on_event=life.events.append):
        life.ref.tell(Wait(anyio.Event()) if where == "handler" else FailBeside(Broken(where)))
        await settle()
        assert await life.ref.ask(Tally()) == []
    exits = [event.exit for event in life.events if isinstance(event, ChildEnded) and len(event.path) == 2]
    assert [(exit.kind, type(exit.error)) for exit in exits] == [
        (ExitKind.CRASHED, CancelledFromOutside),
        (ExitKind.SHUTDOWN, type(None)),
    ]


@pytest.mark.filterwarnings("ignore:coroutine '_Life._record' was never awaited")
async def test_a_task_cancelled_before_its_first_step_is_no_normal_end_of_its_actor(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio lets nobody cancel a task")

    class Strict(Sample):
        def on_fail_beside(self, message: FailBeside) -> None:
            before = asyncio.all_tasks()
            super().on_fail_beside(message)
            for task in asyncio.all_tasks() - before:
                task.cancel()

    life, gone = Life(), list[object]()
    child = actor_child("strict", Strict, ref=life.ref, restart=Restart.TRANSIENT)
    async with Supervisor([child], on_event=life.events.append):
        life.ref.monitor(lambda down: gone.append(type(down.error)))
        life.ref.tell(FailBeside(Broken()))
        await settle()
        assert (await life.ref.ask(Tally()), gone) == ([], [CancelledFromOutside])
    gc.collect()  # while the warning is expected


class Quitter(Sample):
    """Raises an interrupt, in one of its parts."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _quit(self, where: str) -> None:
        if where == self.where:
            raise SystemExit(3)

    async def started(self) -> None:
        self._quit("started")

    async def stopped(self, error: BaseException | None) -> None:
        self._quit("stopped")

    def on_fail(self, message: Fail) -> None:
        self._quit("handler")
        self.spawn(self._fail, message.error, 0.0)
        self.stop()

    async def _fail(self, error: Exception, after: float) -> None:
        self._quit("task")


@pytest.mark.parametrize("where", ["started", "handler", "task", "stopped"])
async def test_an_interrupt_anywhere_in_an_actor_stops_the_tree_in_order_and_comes_out_bare(where: str) -> None:
    ref: Ref[Command] = Ref("quitter")
    ref.tell(Fail(Broken()))
    lives = 0

    def make() -> Quitter:
        nonlocal lives
        lives += 1
        return Quitter(where)

    other = Life()
    quitter = actor_child("quitter", make, ref=ref, restart=Restart.TRANSIENT)
    with pytest.raises(SystemExit):
        await _run(Supervisor([other.child, quitter]))
    assert (lives, other.diary) == (1, ["started", ("stopped", None)])


@pytest.mark.parametrize("shutdown", [5.0, BRUTAL_KILL])
async def test_an_interrupt_in_a_task_is_not_lost_behind_what_else_ends_the_actor(
    shutdown: float | BrutalKill,
) -> None:
    class Late(Sample):
        async def _fail(self, error: Exception, after: float) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise SystemExit(3)

    events = Recorder()
    ref: Ref[Command] = Ref("late")
    ref.tell(FailBeside(Broken()))
    with pytest.raises(SystemExit):  # noqa: PT012
        async with Supervisor([actor_child("late", Late, ref=ref, shutdown=shutdown)], on_event=events):
            await settle()
            if shutdown is not BRUTAL_KILL:
                ref.tell(Fail(Broken("first")))
                await anyio.sleep_forever()
    assert [str(event.error) for event in events.of(ErrorSurvived)] == ([] if shutdown is BRUTAL_KILL else ["first"])


async def test_an_abandoned_life_takes_no_message_from_its_successor() -> None:
    life = Life()
    gate = anyio.Event()
    gone: list[object] = []

    class Stubborn(Sample):
        async def on_wait(self, message: Wait) -> str:
            with anyio.CancelScope(shield=True):
                await message.gate.wait()
            return "too late"

    child = actor_child("stubborn", lambda: Stubborn(life.diary), ref=life.ref, shutdown=BRUTAL_KILL)
    async with Supervisor([child], on_event=life.events.append) as tree:
        life.ref.monitor(lambda down: gone.append(type(down.error)))
        life.ref.tell(Wait(gate))
        await settle()
        await tree.terminate_child("stubborn")
        await tree.restart_child("stubborn")
        assert gone == [ActorGone]
        life.ref.tell(Add(1))
        gate.set()
        await settle()
        assert (await life.ref.ask(Tally()), life.ref.running, gone) == ([1], True, [ActorGone])
    assert [type(event) for event in life.events].count(ChildUnstoppable) == 1


async def test_an_actor_whose_address_is_another_ones_still_cleans_up() -> None:
    ref: Ref[Command] = Ref("shared")
    diary: list[object] = []
    async with Supervisor([actor_child("one", Sample, ref=ref)]) as tree:
        with pytest.raises(StartFailed):
            await tree.start_child(actor_child("two", lambda: Sample(diary), ref=ref))
    assert diary == ["started", ("stopped", "RuntimeError")]


async def test_nothing_can_be_spawned_outside_a_life() -> None:
    actors: list[Sample] = []

    def make() -> Sample:
        actors.append(Sample())
        return actors[-1]

    async with Supervisor([actor_child("sample", make)]):
        pass
    with pytest.raises(RuntimeError, match=r"^<Ref 'sample'> cannot spawn a task: it is not running$"):
        actors[0].spawn(anyio.sleep, 1)


class Picky(Actor[Add]):
    """Fails to start as often as it is told to."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        self.cleaned_up = False

    async def started(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    async def stopped(self, error: BaseException | None) -> None:
        self.cleaned_up = True

    @handler
    def on_add(self, message: Add) -> int:
        return message.number


async def test_an_error_in_started_is_a_failed_start_without_clean_up() -> None:
    error = Broken("no microphone")
    actor = Picky([error])
    async with Supervisor() as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.start_child(actor_child("picky", lambda: actor))
    assert (caught.value.error, actor.cleaned_up) == (error, False)


async def test_messages_told_before_a_failed_start_reach_the_life_after_it() -> None:
    errors: list[Exception] = [Broken()]
    ref: Ref[Add] = Ref("picky")
    ref.tell(Add(1))
    async with Supervisor() as tree:
        with pytest.raises(StartFailed):
            await tree.start_child(actor_child("picky", lambda: Picky(errors), ref=ref))
        assert ref.depth == 1
        await tree.start_child(actor_child("picky", lambda: Picky(errors), ref=ref))
        assert (await ref.ask(Add(2)), ref.depth) == (2, 0)


async def test_an_actor_that_says_ignore_is_gone() -> None:
    ref: Ref[Add] = Ref("picky")
    async with Supervisor([actor_child("picky", lambda: Picky([Ignore()]), ref=ref)]):
        with pytest.raises(ActorGone):
            ref.tell(Add(1))


class Messy(Sample):
    """Has trouble with its clean-up."""

    trouble: Callable[[], object]

    async def stopped(self, error: BaseException | None) -> None:
        self.trouble()
        await anyio.sleep_forever()


def messy(trouble: Callable[[], object]) -> Messy:
    actor = Messy()
    actor.trouble = trouble
    return actor


def _raise(error: Exception) -> None:
    raise error


async def test_a_clean_up_that_does_not_end_is_cut_off_and_reported() -> None:
    life = Life()
    began = anyio.current_time()
    async with Supervisor([actor_child("messy", lambda: messy(int))], on_event=life.events.append):
        pass
    assert anyio.current_time() - began == pytest.approx(0.8)
    assert [str(error) for error in life.survived] == ["actor 'messy' did not finish its clean-up within 0.8 s"]
    assert isinstance(life.survived[0], CleanUpTimeout)


async def test_even_a_killed_actor_has_time_to_clean_up_before_it_is_given_up() -> None:
    life = Life()
    child = actor_child("messy", lambda: messy(int), shutdown=BRUTAL_KILL)
    async with Supervisor([child], on_event=life.events.append):
        pass
    assert [type(event) for event in life.events if isinstance(event, ErrorSurvived | ChildUnstoppable)] == [
        ErrorSurvived
    ]


async def test_an_error_in_the_clean_up_of_a_normal_end_is_the_actors_error() -> None:
    error = Broken("cannot close")
    ref: Ref[Command] = Ref("messy")
    gone: list[object] = []
    child = actor_child("messy", lambda: messy(lambda: _raise(error)), ref=ref, restart=Restart.TEMPORARY)
    async with Supervisor([child]):
        ref.monitor(lambda down: gone.append(down.error))
        ref.stop()
        await settle()
    assert gone == [error]


async def test_an_error_in_the_clean_up_of_a_crash_is_reported_and_the_crash_stays_the_reason() -> None:
    life = Life()
    crash, later = Broken("crash"), Broken("and then")
    gone: list[object] = []
    child = actor_child("m", lambda: messy(lambda: _raise(later)), ref=life.ref, restart=Restart.TEMPORARY)
    async with Supervisor([child], on_event=life.events.append):
        life.ref.monitor(lambda down: gone.append(down.error))
        life.ref.tell(Fail(crash))
        await settle()
    assert (gone, life.survived) == ([crash], [later])


async def test_a_policy_to_continue_does_not_apply_to_an_orderly_shutdown() -> None:
    life = Life(Restart.TRANSIENT, policies=PolicyTable({}, default=Policy(Directive.CONTINUE)))
    async with life.tree:
        life.ref.tell(Fail(Harmless()))
        life.ref.tell(Fail(Shutdown()))
        await settle()
    assert life.diary == ["started", ("stopped", "Shutdown")]
    assert [type(error) for error in life.survived] == [Harmless]


async def test_an_actor_knows_its_address_and_its_incarnation() -> None:
    seen: list[object] = []

    class Curious(Sample):
        async def started(self) -> None:
            seen.append((self.ref, self.incarnation.path, self.incarnation.number))

    ref: Ref[Command] = Ref("curious")
    async with Supervisor([actor_child("curious", Curious, ref=ref)]):
        ref.tell(Fail(Broken()))
        await ref.ask(Tally())
    path = ("root", "curious")
    assert seen == [(ref, path, 1), (ref, path, 2)]


async def test_two_actors_cannot_share_an_address() -> None:
    ref: Ref[Command] = Ref("shared")
    async with Supervisor([actor_child("one", Sample, ref=ref)]) as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.start_child(actor_child("two", Sample, ref=ref))
        assert str(caught.value.error) == ("<Ref 'shared'> is the address of ('root', 'one'), not of ('root', 'two')")
        assert await ref.ask(Add(1)) == 1


async def _run(tree: Supervisor) -> None:
    async with tree:
        await anyio.sleep_forever()
