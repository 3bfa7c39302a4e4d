"""Drives the pool's core without a clock: says what happens and when, and keeps what comes of it."""

from __future__ import annotations

from collections.abc import Callable

from actors.speech.backends.commands import Ask, Commands, Grant, Recall, Refuse, Request, Tell
from actors.speech.backends.core import PoolCore
from actors.speech.backends.events import BackendState, PoolEvent
from actors.speech.backends.place import Loan, Need, Place
from actors.speech.errors import ModelNotFound, SpeechError
from actors.speech.ports import RecognitionBackend, Tier
from tests.speech.fakes import FakeBackend

ENGLISH, GERMAN = Need("en-US", ""), Need("de-DE", "")


def backend(name: str, tier: Tier = Tier.PRIMARY, room: int = 100, quota_key: str = "") -> FakeBackend:
    return FakeBackend(name, tier=tier, room=room, quota_key=quota_key)


def primary_and_fallback(room: int = 100) -> tuple[FakeBackend, FakeBackend]:
    return backend("primary", room=room), backend("fallback", Tier.FALLBACK, room=room)


class Driver:
    """A pool, its clock, and all it said.

    Args:
        asks: questions are carried out, and all are answered at the start.

    Attributes:
        loans: the streams by session; a session has one at a time here.
        asked: endpoints that were asked and have not been answered for.
        refused: by session.
        recalled: sessions whose streams were recalled.
        most: the most streams each endpoint ever had.
    """

    def __init__(
        self, *backends: RecognitionBackend, asks: bool = True, random: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.now = 1000.0
        self.core = PoolCore(backends, random)
        self.loans: dict[str, Loan] = {}
        self.asked: dict[str, Place] = {}
        self.refused: dict[str, ModelNotFound] = {}
        self.recalled: list[str] = []
        self.events: list[PoolEvent] = []
        self.most: dict[str, int] = {}
        self.on_grant: Callable[[Request, Loan], None] = lambda request, loan: None
        self._requests: dict[str, Request] = {}
        self._numbers = 0
        if asks:
            self.do(self.core.asking(self.now, asks=True))
            self.answer_all()

    # ---- sessions

    def lease(self, session: str, need: Need = ENGLISH) -> str | None:
        """The name of the backend it got; None if it waits or was refused."""
        self._numbers += 1
        self._requests[session] = Request(self._numbers, session, need)
        self.do(self.core.join(self._requests[session], self.now))
        return self.at(session)

    def request(self, session: str) -> Request:
        """Its last one."""
        return self._requests[session]

    def at(self, session: str) -> str | None:
        return self.loans[session].place.name if session in self.loans else None

    def answered(self, *sessions: str) -> None:
        for session in sessions:
            if not self.loans[session].answered:
                self.do(self.core.answered(self.loans[session], self.now))

    def speaking(self, session: str, need: Need = ENGLISH) -> str | None:
        """Lease, and be answered."""
        name = self.lease(session, need)
        if name is not None:
            self.answered(session)
        return name

    def end(self, session: str, error: SpeechError | None = None) -> None:
        self.do(self.core.ended(self.loans.pop(session), error, self.now))

    def give_up(self, session: str) -> None:
        """It waits no longer."""
        self.do(self.core.leave(self._requests.pop(session), self.now))

    def should_move(self, session: str) -> bool:
        return self.core.should_move(self.loans[session], self.now)

    def move(self, session: str) -> str | None:
        """End its stream in order and lease again."""
        self.end(session)
        return self.speaking(session)

    # ---- questions and time

    def answer(self, name: str, error: SpeechError | None = None) -> None:
        place = self.asked.pop(name)
        if error is None:
            self.do(self.core.answers(place, self.now))
        else:
            self.do(self.core.misses(place, error, self.now))

    def answer_all(self) -> None:
        for name in list(self.asked):
            self.answer(name)

    def pass_time(self, seconds: float, answers: Callable[[str], SpeechError | None] | None = None) -> None:
        """Let time pass in small steps, answering all questions meanwhile; `answers` says how."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.05)
            self.do(self.core.tick(self.now))
            for name in list(self.asked):
                self.answer(name, answers(name) if answers is not None else None)

    # ---- what is seen

    def state(self, name: str) -> BackendState:
        return next(state for state in self.core.state(self.now).backends if state.name == name)

    def of(self, kind: type[PoolEvent]) -> list[PoolEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def do(self, commands: Commands) -> None:
        for command in commands:
            match command:
                case Grant(request=request, loan=loan):
                    assert request.session not in self.loans
                    self.loans[request.session] = loan
                    place = loan.place
                    self.most[place.name] = max(self.most.get(place.name, 0), len(place.loans))
                    self.on_grant(request, loan)
                case Refuse(request=request, error=error):
                    self.refused[request.session] = error
                case Ask(place=place):
                    assert self.asked.get(place.name) is not place
                    self.asked[place.name] = place
                case Recall(loan=loan):
                    self.recalled.append(loan.session)
                case Tell(event=event):
                    self.events.append(event)
