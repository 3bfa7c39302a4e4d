"""The helpers that are offered for tests of other people's actors."""

from __future__ import annotations

import anyio
import pytest

from actors import ActorGone, Down, Mailbox, MailboxFull, Ref
from actors.testing import Crashes, Ends, FailsToStart, Line, Probe, Runs, running, scripted_child, settle
from supervisor import ChildEnded, ChildStarted, ChildStartFailed, Directive, Intensity, Policy, PolicyTable, Supervisor
from supervisor.testing import Recorder
from tests.actors.sample import Add, Broken, Command, Fail, Harmless, Sample, Tally

pytestmark = pytest.mark.anyio


async def test_a_probe_hears_what_others_tell_it_in_order() -> None:
    probe = Probe[Add | Down]()
    async with running(Sample) as sample, anyio.create_task_group() as tasks:
        tasks.start_soon(_tell_after, probe.ref, 2.0)
        assert await probe.expect(Add) == Add(1)
        sample.ref.monitor(probe.ref)
        sample.ref.stop()
        assert await probe.expect(Down) == Down(sample.ref, None)
    assert probe.heard == [Add(1), Down(sample.ref, None)]


async def test_a_probe_that_hears_nothing_or_something_else_says_so() -> None:
    probe = Probe[Command]("ear")
    began = anyio.current_time()
    with pytest.raises(AssertionError, match=r"^ear expected Add, and nothing came within 3 s$"):
        await probe.expect(Add, within=3.0)
    assert anyio.current_time() - began == pytest.approx(3.0)
    probe.ref.tell(Tally())
    with pytest.raises(AssertionError, match=r"^ear expected Add, and got Tally\(\)$"):
        await probe.expect(Add)
    probe.ref.tell(Add(1))
    with pytest.raises(AssertionError, match=r"^ear expected nothing, and got Add\(number=1\)$"):
        await probe.expect_nothing()
    with pytest.raises(AssertionError, match=r"^ear expected to be asked Add, and nothing came within 1 s$"):
        await probe.expect_ask(Add, within=1.0)
    probe.ref.tell(Add(2))
    with pytest.raises(AssertionError, match=r"^ear expected to be asked Add, and got Add\(number=2\)$"):
        await probe.expect_ask(Add)


async def test_a_probe_answers_as_the_test_says() -> None:
    probe, answers = Probe[Command](), list[object]()

    async def ask(number: int) -> None:
        try:
            answers.append(await probe.ref.ask(Add(number)))
        except Broken as error:
            answers.append(str(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 1)
        asked = await probe.expect_ask(Add)
        asked.answer(asked.message.number + 41 if isinstance(asked.message, Add) else 0)
        await settle()
        tasks.start_soon(ask, 2)
        (await probe.expect_ask(Add)).fail(Broken("no sums today"))
    assert answers == [42, "no sums today"]


async def test_a_probe_can_be_slow() -> None:
    probe = Probe[Add](mailbox=Mailbox(1))
    probe.ref.tell(Add(1))
    with pytest.raises(MailboxFull):
        probe.ref.tell(Add(2))


async def test_running_shows_every_life_of_an_actor_and_what_was_reported() -> None:
    policies = PolicyTable({"HARMLESS": Policy(Directive.CONTINUE)}, default=Policy(Directive.RESTART))
    harmless = Harmless()
    async with running(Sample, policies=policies) as sample:
        sample.ref.tell(Fail(harmless))
        await sample.ref.ask(Add(1))
        with pytest.raises(ActorGone):
            await sample.ref.ask(Fail(Broken()))
        await sample.ref.ask(Add(2))
        numbers = [life.numbers for life in sample.lives if isinstance(life, Sample)]
        assert (numbers, sample.survived) == ([[1], [2]], [harmless])
        assert len(sample.events.of(ChildEnded)) == 1


async def test_running_has_the_dead_letters_of_its_actor() -> None:
    async with running(Sample) as sample:
        pass
    sample.ref.tell(Add(1))
    sample.ref.close()
    assert [letter.message for letter in sample.dead_letters] == [Add(1)]


async def test_a_scripted_child_lives_as_its_script_says_and_repeats_the_last_line() -> None:
    events, error = Recorder(), Broken("as told")
    script: list[Line] = [Crashes(error, after=1.0), FailsToStart(error), Ends(after=2.0), Runs()]
    began = anyio.current_time()
    tree = Supervisor([scripted_child("actor", *script, value=7)], intensity=Intensity(10, 60.0), on_event=events)
    async with tree:
        await anyio.sleep(10)
        assert tree.value("actor") == 7
        assert anyio.current_time() - began == pytest.approx(10.0)
    kinds = (ChildStarted, ChildEnded, ChildStartFailed)
    assert [type(event) for event in events.events if isinstance(event, kinds) and event.path == ("root", "actor")] == [
        ChildStarted,
        ChildEnded,
        ChildStartFailed,
        ChildStarted,
        ChildEnded,
        ChildStarted,
        ChildEnded,
    ]


async def test_a_scripted_child_needs_a_script() -> None:
    with pytest.raises(ValueError, match=r"^child 'a' needs a script of at least one life$"):
        scripted_child("a")


async def _tell_after(ref: Ref[Add], seconds: float) -> None:
    await anyio.sleep(seconds)
    ref.tell(Add(1))
