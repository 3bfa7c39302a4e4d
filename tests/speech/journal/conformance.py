"""What every store must do, whatever it is made of: a test class to derive from."""

from __future__ import annotations

from typing import Protocol

import pytest

from actors.speech.journal.port import (
    Append,
    Claim,
    Claimed,
    Confirm,
    Entry,
    Fenced,
    Finish,
    Forget,
    JournalStore,
    Occupied,
    Open,
    Opened,
    Operation,
    Outcome,
    Refused,
    Renew,
    Retention,
    Sweep,
    Swept,
    Written,
)

RETENTION = Retention(window=60.0, lease=25.0, ttl=3600.0)
CONFIG = b"\x00config"
FIRST, SECOND, THIRD, OTHER = (bytes([number]) * 32 for number in (1, 2, 3, 9))
ANN, BOB = b"\x0a" * 32, b"\x0b" * 32  # users


def entry(seq: int, body: bytes | None = None) -> Entry:
    """Entries tile: each is a hundred samples."""
    return Entry(seq, 100 * seq - 100, 100 * seq, f"entry {seq}".encode() if body is None else body)


def entries(*seqs: int) -> tuple[Entry, ...]:
    return tuple(entry(seq) for seq in seqs)


class Stand(Protocol):
    """Where one kind of store is tried."""

    async def store(self) -> JournalStore:
        """A store that is open, with a connection of its own, on the same journal as the others of this stand."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """For all stores of this stand, it is later."""
        ...


class Owner:
    """Who has a store: asks one thing at a time."""

    def __init__(self, store: JournalStore) -> None:
        self.store = store

    async def ask(self, operation: Operation) -> Outcome:
        (outcome,) = await self.store.commit([operation])
        return outcome

    async def opened(self, session_id: str = "s1", token: bytes = FIRST) -> int:
        outcome = await self.ask(Open(session_id, CONFIG, token))
        assert isinstance(outcome, Opened)
        return outcome.epoch

    async def claimed(self, token: bytes, next_token: bytes, seq: int = 0, *, rewind: bool = False) -> Claimed:
        outcome = await self.ask(Claim("s1", token, next_token, seq, rewind))
        assert isinstance(outcome, Claimed)
        return outcome


class Conformance:
    """Derive from it where there is a fixture `stand`."""

    @pytest.fixture
    async def owner(self, stand: Stand) -> Owner:
        return Owner(await stand.store())

    @pytest.fixture
    async def another(self, stand: Stand) -> Owner:
        """Another process, as far as the store can tell."""
        return Owner(await stand.store())

    # ---- opening

    async def test_a_session_that_is_opened_can_be_claimed(self, owner: Owner) -> None:
        epoch = await owner.opened()
        claimed = await owner.claimed(FIRST, SECOND)
        assert claimed == Claimed(epoch=claimed.epoch, config=CONFIG, seq=0, end=0, position=None, entries=())
        assert claimed.epoch > epoch

    async def test_an_id_that_is_connected_is_occupied_until_its_lease_is_over(
        self, owner: Owner, another: Owner, stand: Stand
    ) -> None:
        epoch = await owner.opened()
        await stand.pass_time(24)
        assert await another.ask(Open("s1", CONFIG, OTHER)) == Occupied()
        await owner.ask(Renew("s1", epoch, connected=True))
        await stand.pass_time(24)
        assert await another.ask(Open("s1", CONFIG, OTHER)) == Occupied()
        await stand.pass_time(2)
        assert await another.opened(token=OTHER) > epoch

    async def test_a_session_without_client_gives_way_to_a_new_one_of_its_id_and_nothing_of_it_stays(
        self, owner: Owner, another: Owner
    ) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2)))
        await owner.ask(Renew("s1", epoch, connected=False))
        newer = await another.opened(token=OTHER)
        assert newer > epoch
        assert await owner.ask(Append("s1", epoch, entries(3))) == Fenced()
        assert await owner.ask(Claim("s1", FIRST, SECOND, 0)) == Refused()
        assert (await another.claimed(OTHER, THIRD)).entries == ()

    async def test_an_open_asked_twice_opens_once(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1)))
        assert await owner.ask(Open("s1", CONFIG, FIRST)) == Opened(epoch)
        assert (await owner.claimed(FIRST, SECOND)).entries == entries(1)

    async def test_an_epoch_is_never_given_twice_not_even_after_the_session_was_forgotten(
        self, owner: Owner, another: Owner
    ) -> None:
        epoch = await owner.opened()
        assert await owner.ask(Forget("s1", epoch)) == Written()
        newer = await another.opened(token=OTHER)
        assert newer > epoch
        assert await owner.ask(Append("s1", epoch, entries(1))) == Fenced()
        assert await owner.ask(Forget("s1", epoch)) == Fenced()

    # ---- appending

    async def test_entries_come_back_as_they_were_written(self, owner: Owner, another: Owner) -> None:
        epoch = await owner.opened()
        odd = (entry(1, b""), entry(2, b"\x00\xff'\"\\"), Entry(3, 200, 2**40, bytes(range(256)) * 400))
        assert await owner.ask(Append("s1", epoch, odd)) == Written()
        claimed = await another.claimed(FIRST, SECOND)
        assert (claimed.entries, claimed.seq, claimed.end) == (odd, 3, 2**40)

    async def test_entries_written_before_are_not_written_again(self, owner: Owner) -> None:
        epoch = await owner.opened()
        for seqs in ((1, 2), (1, 2), (2, 3), (3,)):
            assert await owner.ask(Append("s1", epoch, entries(*seqs))) == Written()
        assert (await owner.claimed(FIRST, SECOND)).entries == entries(1, 2, 3)

    async def test_an_append_without_entries_says_whether_the_session_is_still_owned(
        self, owner: Owner, another: Owner
    ) -> None:
        epoch = await owner.opened()
        assert await owner.ask(Append("s1", epoch, ())) == Written()
        await another.claimed(FIRST, SECOND)
        assert await owner.ask(Append("s1", epoch, ())) == Fenced()

    async def test_numbers_may_leap_where_the_store_lost_its_tail(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1)))
        claimed = await owner.claimed(FIRST, SECOND, seq=7)
        assert (claimed.seq, claimed.end, claimed.entries) == (1, 100, ())
        assert await owner.ask(Append("s1", claimed.epoch, entries(8))) == Written()
        assert (await owner.claimed(SECOND, THIRD, seq=7)).entries == entries(8)

    @pytest.mark.parametrize("session_id", ["s1", "A.b_c~d-9", "x" * 128, "%s", "'; --", "é"])
    async def test_sessions_do_not_touch_one_another(self, owner: Owner, session_id: str) -> None:
        epoch = await owner.opened(session_id)
        other = await owner.opened(session_id + "2", token=OTHER)
        await owner.ask(Append(session_id, epoch, entries(1)))
        await owner.ask(Append(session_id + "2", other, entries(1, 2)))
        await owner.ask(Forget(session_id + "2", other))
        outcome = await owner.ask(Claim(session_id, FIRST, SECOND, 0))
        assert isinstance(outcome, Claimed)
        assert outcome.entries == entries(1)

    # ---- fencing

    async def test_a_deposed_owner_can_write_nothing(self, owner: Owner, another: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1)))
        claimed = await another.claimed(FIRST, SECOND)
        for operation in (
            Append("s1", epoch, entries(2)),
            Renew("s1", epoch, connected=False, seq=1),
            Confirm("s1", epoch),
            Finish("s1", epoch, 100),
            Forget("s1", epoch),
        ):
            assert (operation, await owner.ask(operation)) == (operation, Fenced())
        assert await another.ask(Append("s1", claimed.epoch, entries(2))) == Written()
        again = await owner.claimed(SECOND, THIRD)
        assert (again.entries, again.position) == (entries(1, 2), None)

    async def test_a_session_that_is_not_known_fences_all_but_the_wish_to_forget_it(self, owner: Owner) -> None:
        for operation in (
            Append("s1", 1, entries(1)),
            Renew("s1", 1, connected=True),
            Confirm("s1", 1),
            Finish("s1", 1, 100),
        ):
            assert (operation, await owner.ask(operation)) == (operation, Fenced())
        assert await owner.ask(Forget("s1", 1)) == Written()

    # ---- claiming

    async def test_a_claim_gives_what_the_client_has_not(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2, 3)))
        claimed = await owner.claimed(FIRST, SECOND, seq=1)
        assert (claimed.seq, claimed.end, claimed.entries) == (3, 300, entries(2, 3))

    async def test_a_rewinding_claim_drops_what_the_client_has_not(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2, 3)))
        claimed = await owner.claimed(FIRST, SECOND, seq=1, rewind=True)
        assert (claimed.seq, claimed.end, claimed.entries) == (1, 100, ())
        await owner.ask(Append("s1", claimed.epoch, (Entry(2, 100, 333, b"anew"),)))
        again = await owner.claimed(SECOND, THIRD, seq=0)
        assert (again.seq, again.end) == (2, 333)
        assert again.entries == (entry(1), Entry(2, 100, 333, b"anew"))

    async def test_a_rewinding_claim_to_the_very_beginning_or_the_end(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2)))
        at_end = await owner.claimed(FIRST, SECOND, seq=2, rewind=True)
        assert (at_end.seq, at_end.end) == (2, 200)
        at_start = await owner.claimed(SECOND, THIRD, seq=0, rewind=True)
        assert (at_start.seq, at_start.end) == (0, 0)

    async def test_a_rewinding_claim_knows_where_it_is_when_what_the_client_has_was_let_go(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2, 3)))
        await owner.ask(Renew("s1", epoch, connected=True, seq=2))
        claimed = await owner.claimed(FIRST, SECOND, seq=2, rewind=True)
        assert (claimed.seq, claimed.end) == (2, 200)

    async def test_a_rewinding_claim_of_what_has_finished_makes_it_go_on(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2)))
        await owner.ask(Finish("s1", epoch, 200))
        claimed = await owner.claimed(FIRST, SECOND, seq=1, rewind=True)
        assert (claimed.seq, claimed.position) == (1, None)

    async def test_who_has_lost_a_session_meanwhile_cannot_claim_it_as_its_own(
        self, owner: Owner, another: Owner
    ) -> None:
        epoch = await owner.opened()
        claimed = await another.claimed(FIRST, SECOND)
        await another.ask(Append("s1", claimed.epoch, entries(1)))
        assert await owner.ask(Claim("s1", SECOND, THIRD, 0, owner=epoch)) == Fenced()
        assert isinstance(await another.ask(Claim("s1", SECOND, THIRD, 0, owner=claimed.epoch)), Claimed)

    async def test_a_wrong_token_is_refused_and_changes_nothing(self, owner: Owner, another: Owner) -> None:
        epoch = await owner.opened()
        for token in (OTHER, b"", SECOND):
            assert (token, await another.ask(Claim("s1", token, THIRD, 0))) == (token, Refused())
        assert await another.ask(Claim("s2", FIRST, SECOND, 0)) == Refused()
        assert await owner.ask(Append("s1", epoch, entries(1))) == Written()

    async def test_the_token_before_the_present_one_is_told_that_somebody_has_the_session(
        self, owner: Owner, stand: Stand
    ) -> None:
        await owner.opened()
        claimed = await owner.claimed(FIRST, SECOND)
        await owner.ask(Confirm("s1", claimed.epoch))
        assert await owner.ask(Claim("s1", FIRST, THIRD, 0)) == Refused(superseded=True)
        assert await owner.ask(Claim("s1", OTHER, THIRD, 0)) == Refused()
        await owner.ask(Renew("s1", claimed.epoch, connected=False))
        assert await owner.ask(Claim("s1", FIRST, THIRD, 0)) == Refused()

    async def test_the_token_presented_stays_valid_until_the_next_one_is_confirmed(
        self, owner: Owner, another: Owner
    ) -> None:
        await owner.opened()
        await owner.claimed(FIRST, SECOND)
        claimed = await another.claimed(FIRST, THIRD)  # the answer with SECOND never arrived
        assert await owner.ask(Claim("s1", SECOND, OTHER, 0)) == Refused()
        assert await another.ask(Confirm("s1", claimed.epoch)) == Written()
        assert await another.ask(Confirm("s1", claimed.epoch)) == Written()
        assert await another.ask(Claim("s1", FIRST, OTHER, 0)) == Refused(superseded=True)
        assert (await owner.claimed(THIRD, OTHER)).epoch > claimed.epoch

    async def test_the_next_token_can_be_presented_unconfirmed(self, owner: Owner) -> None:
        await owner.opened()
        await owner.claimed(FIRST, SECOND)
        await owner.claimed(SECOND, THIRD)
        assert await owner.ask(Claim("s1", FIRST, OTHER, 0)) == Refused()

    async def test_a_claim_asked_twice_is_one(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2)))
        claimed = await owner.claimed(FIRST, SECOND, seq=1)
        assert await owner.claimed(FIRST, SECOND, seq=1) == claimed
        assert await owner.ask(Append("s1", claimed.epoch, entries(3))) == Written()

    # ---- users

    async def test_a_session_can_be_claimed_by_its_user_alone_whoever_has_its_token(
        self, owner: Owner, another: Owner
    ) -> None:
        await owner.ask(Open("s1", CONFIG, FIRST, ANN))
        for user in (BOB, b""):
            assert (user, await another.ask(Claim("s1", FIRST, SECOND, 0, user=user))) == (user, Refused())
        assert isinstance(await another.ask(Claim("s1", FIRST, SECOND, 0, user=ANN)), Claimed)

    async def test_another_user_with_an_old_token_is_not_told_that_it_was_one(self, owner: Owner) -> None:
        await owner.ask(Open("s1", CONFIG, FIRST, ANN))
        claimed = await owner.ask(Claim("s1", FIRST, SECOND, 0, user=ANN))
        assert isinstance(claimed, Claimed)
        await owner.ask(Confirm("s1", claimed.epoch))
        assert await owner.ask(Claim("s1", FIRST, THIRD, 0, user=ANN)) == Refused(superseded=True)
        assert await owner.ask(Claim("s1", FIRST, THIRD, 0, user=BOB)) == Refused()

    async def test_an_id_whose_user_may_come_back_is_not_given_to_another(
        self, owner: Owner, another: Owner, stand: Stand
    ) -> None:
        opened = await owner.ask(Open("s1", CONFIG, FIRST, ANN))
        assert isinstance(opened, Opened)
        await owner.ask(Renew("s1", opened.epoch, connected=False))
        await stand.pass_time(58)
        for user in (BOB, b""):
            assert (user, await another.ask(Open("s1", CONFIG, OTHER, user))) == (user, Occupied())
        assert isinstance(await another.ask(Claim("s1", FIRST, SECOND, 0, user=ANN)), Claimed)

    async def test_an_id_is_free_for_everybody_once_its_user_is_too_late_and_at_once_for_the_same_user(
        self, owner: Owner, another: Owner, stand: Stand
    ) -> None:
        opened = await owner.ask(Open("s1", CONFIG, FIRST, ANN))
        assert isinstance(opened, Opened)
        await owner.ask(Renew("s1", opened.epoch, connected=False))
        again = await another.ask(Open("s1", CONFIG, SECOND, ANN))
        assert isinstance(again, Opened)
        await another.ask(Renew("s1", again.epoch, connected=False))
        await stand.pass_time(62)
        assert isinstance(await owner.ask(Open("s1", CONFIG, OTHER, BOB)), Opened)
        assert await owner.ask(Claim("s1", SECOND, THIRD, 0, user=ANN)) == Refused()

    # ---- time

    async def test_a_session_without_client_can_be_claimed_for_its_window(self, owner: Owner, stand: Stand) -> None:
        epoch = await owner.opened()
        await stand.pass_time(10)
        await owner.ask(Renew("s1", epoch, connected=False))
        await stand.pass_time(58)
        claimed = await owner.claimed(FIRST, SECOND)
        assert await owner.ask(Renew("s1", claimed.epoch, connected=False)) == Written()
        await stand.pass_time(62)
        assert await owner.ask(Claim("s1", SECOND, THIRD, 0)) == Refused()

    async def test_a_window_that_has_begun_is_not_begun_again(self, owner: Owner, stand: Stand) -> None:
        epoch = await owner.opened()
        for _ in range(8):
            await owner.ask(Renew("s1", epoch, connected=False))
            await stand.pass_time(8)
        assert await owner.ask(Claim("s1", FIRST, SECOND, 0)) == Refused()

    async def test_a_session_whose_owner_died_can_be_claimed_for_its_lease_and_its_window(
        self, owner: Owner, another: Owner, stand: Stand
    ) -> None:
        await owner.opened()
        await stand.pass_time(83)
        await another.claimed(FIRST, SECOND)
        await stand.pass_time(87)
        assert await another.ask(Claim("s1", SECOND, THIRD, 0)) == Refused()

    async def test_an_owner_may_go_on_however_late_it_is(self, owner: Owner, stand: Stand) -> None:
        epoch = await owner.opened()
        await stand.pass_time(1000)
        assert await owner.ask(Append("s1", epoch, entries(1))) == Written()
        assert await owner.ask(Renew("s1", epoch, connected=True)) == Written()
        await owner.claimed(FIRST, SECOND)

    async def test_a_sweep_removes_what_cannot_be_resumed_after_its_time(self, owner: Owner, stand: Stand) -> None:
        gone = await owner.opened("gone")
        await owner.ask(Append("gone", gone, entries(1)))
        await owner.ask(Renew("gone", gone, connected=False))
        lives = await owner.opened("lives")
        await stand.pass_time(60 + 3595)
        assert await owner.ask(Sweep()) == Swept(0)
        await owner.ask(Renew("lives", lives, connected=True))
        await stand.pass_time(10)
        assert await owner.ask(Sweep()) == Swept(1)
        assert await owner.ask(Append("gone", gone, entries(2))) == Fenced()
        assert await owner.ask(Append("lives", lives, entries(1))) == Written()

    # ---- ending

    async def test_a_finished_session_can_be_claimed_with_all_that_was_said(
        self, owner: Owner, another: Owner, stand: Stand
    ) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1)))
        await stand.pass_time(20)
        assert await owner.ask(Finish("s1", epoch, 100)) == Written()
        await stand.pass_time(55)
        assert await owner.ask(Finish("s1", epoch, 100)) == Written()
        claimed = await another.claimed(FIRST, SECOND)
        assert (claimed.position, claimed.entries) == (100, entries(1))

    async def test_of_a_forgotten_session_nothing_is_kept(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1)))
        assert await owner.ask(Forget("s1", epoch)) == Written()
        assert await owner.ask(Forget("s1", epoch)) == Written()
        assert await owner.ask(Claim("s1", FIRST, SECOND, 0)) == Refused()
        await owner.opened(token=OTHER)
        assert (await owner.claimed(OTHER, SECOND)).entries == ()

    async def test_what_the_client_has_is_let_go(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2, 3)))
        assert await owner.ask(Renew("s1", epoch, connected=True, seq=2)) == Written()
        claimed = await owner.claimed(FIRST, SECOND)
        assert (claimed.seq, claimed.end, claimed.entries) == (3, 300, entries(3))

    async def test_a_client_that_claims_to_have_what_there_is_not_cannot_lower_the_last_number(
        self, owner: Owner
    ) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1, 2)))
        await owner.ask(Renew("s1", epoch, connected=True, seq=99))
        await owner.ask(Append("s1", epoch, entries(3)))
        claimed = await owner.claimed(FIRST, SECOND)
        assert (claimed.seq, claimed.end, claimed.entries) == (3, 300, entries(3))

    # ---- batches

    async def test_a_batch_is_carried_out_in_its_order(self, owner: Owner) -> None:
        first, opened, claimed, last = await owner.store.commit(
            [
                Claim("s1", FIRST, SECOND, 0),
                Open("s1", CONFIG, FIRST),
                Claim("s1", FIRST, SECOND, 0),
                Open("s1", CONFIG, OTHER),
            ]
        )
        assert (first, last) == (Refused(), Occupied())
        assert isinstance(opened, Opened)
        assert isinstance(claimed, Claimed)
        assert claimed.epoch > opened.epoch

    async def test_a_batch_sees_what_it_has_written_itself(self, owner: Owner) -> None:
        epoch = await owner.opened()
        outcomes = await owner.store.commit(
            [
                Append("s1", epoch, entries(1, 2)),
                Append("s1", epoch, entries(2, 3)),
                Renew("s1", epoch, connected=True, seq=1),
                Claim("s1", FIRST, SECOND, 0),
                Append("s1", epoch, entries(4)),
            ]
        )
        assert outcomes[:3] == [Written()] * 3
        claimed = outcomes[3]
        assert isinstance(claimed, Claimed)
        assert claimed.entries == entries(2, 3)
        assert outcomes[4] == Fenced()
        forgotten = [Append("s1", claimed.epoch, entries(4)), Forget("s1", claimed.epoch), Open("s1", CONFIG, THIRD)]
        *written, opened = await owner.store.commit(forgotten)
        assert written == [Written()] * 2
        assert isinstance(opened, Opened)
        assert (await owner.claimed(THIRD, OTHER)).entries == ()

    async def test_a_batch_may_be_big(self, owner: Owner, another: Owner) -> None:
        ids = [f"s{number}" for number in range(1000)]
        opened = await owner.store.commit([Open(each, CONFIG, FIRST) for each in ids])
        epochs = [outcome.epoch for outcome in opened if isinstance(outcome, Opened)]
        assert len(set(epochs)) == 1000
        appends: list[Operation] = [Append(each, epoch, entries(1, 2)) for each, epoch in zip(ids, epochs, strict=True)]
        assert await owner.store.commit(appends) == [Written()] * 1000
        claims = await another.store.commit([Claim(each, FIRST, SECOND, 1) for each in ids])
        assert [claim.entries for claim in claims if isinstance(claim, Claimed)] == [entries(2)] * 1000

    async def test_an_empty_batch_is_fine(self, owner: Owner) -> None:
        assert await owner.store.commit([]) == []

    async def test_a_store_that_was_closed_can_be_opened_again(self, owner: Owner) -> None:
        epoch = await owner.opened()
        await owner.ask(Append("s1", epoch, entries(1)))
        await owner.store.close()
        await owner.store.open()
        assert (await owner.claimed(FIRST, SECOND)).entries == entries(1)
