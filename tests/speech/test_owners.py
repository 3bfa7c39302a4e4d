"""A session is its user's: whoever else knows its id or its tokens, here or at a sibling, gets nothing of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from actors.speech.errors import ResumeFailed, SessionInUse, TakenOver
from actors.speech.journal.memory import MemoryStore
from actors.speech.messages import Resume
from actors.speech.sessions import Sessions
from tests.speech.fakes import FakeBackend
from tests.speech.test_resume import ALL, FIRST, SECOND, Caller, another_process, end_of
from tests.speech.test_sessions import CONFIG, running


@asynccontextmanager
async def spoken(*, connected: bool) -> AsyncGenerator[tuple[Caller, Sessions, Sessions], None]:
    """Ann's session, in the middle of her speech; the server where it lives, and a sibling."""
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as here, another_process(store) as sibling:
        ann = Caller(here, user="ann")
        await ann.open()
        await ann.say(end_of(FIRST))
        await ann.hear(1)
        if not connected:
            ann.link.disconnected()
            await anyio.sleep(5.0)
        yield ann, here, sibling


def presenting(caller: Caller) -> Resume:
    return Resume(token=caller.last.token, seq=0, end=0, oldest=0)


@pytest.mark.parametrize("at_sibling", [False, True])
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("user", ["bob", ""])
async def test_the_token_of_another_user_resumes_nothing_and_disturbs_nobody(
    user: str, connected: bool, at_sibling: bool
) -> None:
    async with spoken(connected=connected) as (ann, here, sibling):
        with pytest.raises(ResumeFailed) as refused:
            await (sibling if at_sibling else here).resume("s1", presenting(ann), CONFIG, user=user)
        assert refused.value.detail is None or refused.value.detail == ""
        if not connected:
            await ann.resume()
        await ann.say(end_of(ALL))
        await ann.hear_end()
        assert ann.words == "1 2 3 4 5 6 7 8 9"


@pytest.mark.parametrize("at_sibling", [False, True])
@pytest.mark.parametrize("connected", [True, False])
async def test_the_id_of_another_users_session_opens_none(connected: bool, at_sibling: bool) -> None:
    async with spoken(connected=connected) as (ann, here, sibling):
        with pytest.raises(SessionInUse):
            await (sibling if at_sibling else here).open("s1", CONFIG, user="bob")
        if not connected:
            await ann.resume()
        await ann.say(end_of(ALL))
        await ann.hear_end()
        assert ann.words == "1 2 3 4 5 6 7 8 9"


async def test_an_old_token_is_refused_and_only_its_user_is_told_that_it_was_one() -> None:
    async with spoken(connected=False) as (ann, here, _):
        old = presenting(ann)
        await ann.resume()
        ann.link.confirmed()
        await ann.say(end_of(FIRST + SECOND))
        with pytest.raises(TakenOver):
            await here.resume("s1", old, CONFIG, user="ann")
        with pytest.raises(ResumeFailed):
            await here.resume("s1", old, CONFIG, user="bob")


async def test_a_user_begins_anew_under_the_id_of_a_session_of_its_own_that_it_has_left() -> None:
    async with spoken(connected=False) as (_, here, _):
        again = Caller(here, user="ann")
        await again.open()
        await again.say(end_of(ALL))
        await again.hear_end()
        assert again.words == "1 2 3 4 5 6 7 8 9"
