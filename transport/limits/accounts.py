"""What each user and each address holds and has used up, and whether it may have more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple

import msgspec

from transport.limits.bucket import Bucket

_FEW = 1024  # accounts, below which it is not worth looking for idle ones


class Key(NamedTuple):
    """Whose account it is."""

    kind: Literal["user", "address"]
    name: str


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account of one kind may have; None: as much as it likes.

    Attributes:
        sessions: at the same time, those that wait for their client included.
        handshakes: a second, and as many more as `burst` at once.
        audio: seconds of audio a second, in all its sessions, after `credit` seconds.
    """

    sessions: int | None = None
    handshakes: float | None = None
    burst: float = 1.0
    audio: float | None = None
    credit: float = 1.0

    @property
    def is_boundless(self) -> bool:
        """There is nothing to keep an account of."""
        return self.sessions is None and self.handshakes is None and self.audio is None


class Excess(NamedTuple):
    """An account has too much of something: `sessions` or `rate`. `wait`: seconds until it is less; None: unknown."""

    key: Key
    what: Literal["sessions", "rate"]
    wait: float | None = None


class Pace:
    """How fast one connection may send, by the accounts that it belongs to.

    What comes too fast is taken, and nothing is read behind it until it is covered: the client's own kernel, and then
    the client, has to wait. Nothing is lost by that, and it costs us nothing, so nobody is ended for it.
    """

    __slots__ = ("_accounts", "_clock")

    def __init__(self, accounts: Iterable[_Account], clock: Callable[[], float]) -> None:
        self._accounts = tuple(accounts)
        self._clock = clock

    def covers(self, seconds: float) -> bool:
        """Whether so much audio may come without a wait, as far as is known without a look at the clock."""
        return all(account.audio is None or account.audio.left >= seconds for account in self._accounts)

    def spend(self, seconds: float) -> float:
        """So much audio has come; the seconds to wait before more is read. Mostly no more than a subtraction."""
        wait = 0.0
        for account in self._accounts:
            if account.audio is not None and not account.audio.spend(seconds):
                wait = max(wait, account.audio.wait(self._clock()))
        return wait


class Accounts:
    """The accounts of all who were here lately. An idle one is forgotten: that changes nothing for its holder.

    Sessions are counted by their ids. One that lost its client goes on counting while it lives: else who connects,
    leaves and connects again would fill the server with sessions that wait.

    Attributes:
        others: sessions that other processes of this server hold, by account; they count as if they were here.

    Args:
        lives: whether a session of this id is there.
        clock: seconds, for `Pace`; everything else is told the time.
    """

    def __init__(self, lives: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self._lives = lives
        self._clock = clock
        self._allowances: Mapping[str, Allowance] = {}
        self._accounts: dict[Key, _Account] = {}
        self._sweep_at = _FEW
        self.others: Mapping[Key, int] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def adopt(self, user: Allowance, address: Allowance, now: float) -> None:
        """Let these hold from now on. What is held goes on counting; buckets begin full."""
        self._allowances = {"user": user, "address": address}
        for key, account in self._accounts.items():
            account.adopt(self._allowances[key.kind], now)

    def usage(self) -> dict[Key, int]:
        """How many sessions each holds here: what other processes need as their `others`."""
        held = {key: account.count(self._lives) for key, account in self._accounts.items()}
        return {key: count for key, count in held.items() if count}

    def excess(self, keys: Iterable[Key], session_id: str, now: float) -> Excess | None:
        """Count a handshake, and say what there is too much of; None: nothing.

        Args:
            session_id: the session that it is for; one that an account holds already is not counted twice.
        """
        self._sweep(now)
        accounts = [(key, self._account(key, now)) for key in self._counted(keys)]
        for key, account in accounts:
            if account.handshakes is not None and (wait := account.handshakes.take(now)):
                return Excess(key, "rate", wait)
        for key, account in accounts:
            most = self._allowances[key.kind].sessions
            if most is None or session_id in account.sessions:
                continue
            if account.count(self._lives) + self.others.get(key, 0) >= most:
                return Excess(key, "sessions")
        return None

    @contextmanager
    def present(self, keys: Iterable[Key], session_id: str, now: float) -> Iterator[Pace | None]:
        """Somebody is connected, for a session; gives how fast it may send, None: as fast as it likes."""
        accounts = [self._account(key, now) for key in self._counted(keys)]
        for account in accounts:
            account.sessions[session_id] = account.sessions.get(session_id, 0) + 1
        try:
            yield Pace(accounts, self._clock) if accounts else None
        finally:
            for account in accounts:
                account.sessions[session_id] -= 1

    def _counted(self, keys: Iterable[Key]) -> list[Key]:
        return [key for key in keys if key.name and not self._allowances[key.kind].is_boundless]

    def _account(self, key: Key, now: float) -> _Account:
        found = self._accounts.get(key)
        if found is None:
            found = self._accounts[key] = _Account()
            found.adopt(self._allowances[key.kind], now)
        return found

    def _sweep(self, now: float) -> None:
        """Forget the idle ones whenever there are twice as many accounts as were kept last."""
        if len(self._accounts) >= self._sweep_at:
            kept = {key: each for key, each in self._accounts.items() if not each.is_idle(self._lives, now)}
            self._accounts = kept
            self._sweep_at = max(_FEW, 2 * len(kept))


class _Account:
    """What one holds: sessions, with how many connections each has, and its buckets."""

    __slots__ = ("audio", "handshakes", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[str, int] = {}
        self.handshakes: Bucket | None = None
        self.audio: Bucket | None = None

    def adopt(self, allowance: Allowance, now: float) -> None:
        rate, audio = allowance.handshakes, allowance.audio
        self.handshakes = None if rate is None else Bucket(rate, allowance.burst, now)
        self.audio = None if audio is None else Bucket(audio, allowance.credit, now)

    def count(self, lives: Callable[[str], bool]) -> int:
        for session_id in [each for each, connected in self.sessions.items() if not connected and not lives(each)]:
            del self.sessions[session_id]
        return len(self.sessions)

    def is_idle(self, lives: Callable[[str], bool], now: float) -> bool:
        full = all(bucket is None or bucket.is_full(now) for bucket in (self.handshakes, self.audio))
        return full and self.count(lives) == 0
