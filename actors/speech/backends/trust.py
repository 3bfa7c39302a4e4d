"""Whether an endpoint works, concluded from its streams, from questions, and from signs. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable

from actors.speech.backends.blame import Blame, blame
from actors.speech.backends.events import BackendDown, BackendUp, BreakerClosed, BreakerOpened, Health, PoolEvent
from actors.speech.backends.pace import Tally
from actors.speech.errors import BackendDraining, SpeechError
from supervisor.breaker import Breaker, BreakerState
from supervisor.policy import Backoff
from supervisor.spec import Intensity

FAILURES = Intensity(2, 30.0)  # the third within 30 s opens the breaker
BREAKER_PAUSES = Backoff(initial=0.5, factor=2.0, maximum=30.0)  # for streams; questions go on meanwhile
CALM = 60.0  # seconds a breaker must have been closed before its pauses are short again
PROBE_TIME = 10.0  # seconds a stream that tries keeps the next from trying; it may be one in which nobody speaks

ROUTINE = 5.0  # seconds between questions to an endpoint that answers …
SECOND_LOOK = 0.1  # … from the first that it did not answer to the next: one is no outage …
RETURNING = Backoff(initial=0.25, factor=2.0, maximum=1.0)  # … while it is down: its return is seen within a second …
MISCONFIGURED = Backoff(initial=30.0, factor=2.0, maximum=300.0)  # … or while only an operator can mend it

FALL_SECONDS = 10.0  # what goes wrong so shortly after a fall belongs to it
FALL_HALF_LIFE = 30.0
STEADY, SHAKY = (
    0.5,
    1.5,
)  # falls, remembered ever less: above the one nobody goes back, above the other newcomers avoid it


class Trust:
    """What is thought of one endpoint.

    Its *health* is what was last heard of it. Its *breaker* counts failures; open, it lets one stream at a time try,
    after pauses. Questions go on at their own pace whatever the breaker says, and a positive answer closes it: there is
    something that works again. Only when streams opened the breaker, while questions were answered all along, an answer
    proves nothing, and a stream has to.

    *Falls* are outages, of which the older ones are forgotten: an endpoint that has fallen a moment ago may work now,
    and still be no place to go back to.

    Attributes:
        asking: a question is out.
        ask_at: when to ask the next one.
        down_since: when it was lost; None while it works, and before anything is known.
    """

    def __init__(self, name: str, *, random: Callable[[], float], tell: Callable[[PoolEvent], None]) -> None:
        self.health = Health.UNKNOWN
        self.health_since: float | None = None
        self.breaker = Breaker(
            name,
            threshold=FAILURES,
            pause=BREAKER_PAUSES,
            probe_time=PROBE_TIME,
            calm=CALM,
            random=random,
        )
        self.breaker_since: float | None = None
        self.asking = False
        self.ask_at = 0.0
        self.down_since: float | None = None
        self._name = name
        self._random = random
        self._tell = tell
        self._misses = 0  # questions in a row that failed
        self._ask_again = False  # something happened since the question that is out was asked
        self._doubted = False  # streams failed although questions were answered
        self._held = False  # by a fault of its settings
        self._is_new = True
        self._falls = Tally(FALL_HALF_LIFE)
        self._fell_at = float("-inf")

    # ---- what follows from it

    def free_in(self, now: float, *, asks: bool) -> float:
        """Seconds until it may get a stream; infinite when that is no matter of time.

        Args:
            asks: somebody asks questions; then only an endpoint that has answered gets any.
        """
        if asks and self.health is not Health.READY:
            return float("inf")
        return self.breaker.free_in(now)

    @property
    def is_held(self) -> bool:
        """A fault of its settings keeps it from working."""
        return self._held

    @property
    def is_proven(self) -> bool:
        """It works, as far as anybody knows."""
        return self.health is Health.READY and self.breaker.state is BreakerState.CLOSED

    def is_steady(self, now: float) -> bool:
        """It has worked for long enough that sessions may go back to it."""
        return self._falls.value(now) < STEADY

    def is_shaky(self, now: float) -> bool:
        """It has fallen so often of late that sessions should go elsewhere if they can."""
        return self._falls.value(now) >= SHAKY

    # ---- streams

    def lend(self, who: object, now: float) -> None:
        """It gets a stream, which `free_in` allows."""
        before = self.breaker.state
        if before is not BreakerState.CLOSED:
            self.breaker.ask(who, now)
        if self.breaker.state is not before:
            self.breaker_since = now

    def answered(self, who: object, now: float) -> bool:
        """A stream was answered. True if that ends an outage."""
        self._held = False
        self._turn(Health.READY, now)
        if self.breaker.proven(who):
            self._doubted = False
            self._closed(now)
        return self._back(now)

    def failed(self, who: object, error: SpeechError, now: float, *, answers: bool, counts: bool) -> None:
        """A stream failed.

        Args:
            answers: the endpoint itself said so: it is there.
            counts: it was not one among many that go on well.
        """
        if not answers:
            self._turn(Health.SUSPECT, now)
        self.ask_soon(now)
        if counts or self.breaker.is_probe(who):
            self._count_fall(now)
            seconds = self.breaker.failed(who, now)
            if seconds is not None:
                self._doubted = True
                self._opened(error, seconds, now)

    def released(self, who: object) -> None:
        """A stream is gone, and showed nothing."""
        self.breaker.release(who)

    # ---- signs

    def ask_soon(self, now: float) -> None:
        """Something happened: look now, unless only an operator can have changed anything."""
        if not self._held:
            self.ask_at = now
            self._ask_again = self.asking

    def suspect(self, now: float) -> None:
        """It may be gone; a question will tell."""
        self._turn(Health.SUSPECT, now)
        self.ask_soon(now)

    def lost(self, error: SpeechError, now: float) -> None:
        """It is known to be gone."""
        self.suspect(now)
        self.ask_at = now + self._pause(RETURNING)
        if self.breaker.state is not BreakerState.OPEN:
            self._opened(error, self.breaker.trip(now), now)

    def hold(self, error: SpeechError, now: float) -> None:
        """It cannot work until its settings are mended: nobody tries for long."""
        self._held = True
        seconds = self._pause(MISCONFIGURED)
        self.ask_at = now + seconds
        self._turn(Health.SUSPECT, now)
        was_open = self.breaker.state is BreakerState.OPEN
        self.breaker.trip(now, seconds)
        if not was_open:
            self._opened(error, seconds, now)

    def reconsider(self, now: float) -> None:
        """Its settings, or ours, may have changed."""
        self._held = False
        self.ask_soon(now)

    # ---- orders

    def trip(self, now: float, seconds: float) -> None:
        """Its breaker is opened by hand. No question closes it before; a stream that tries afterwards does."""
        self._doubted = True
        self.breaker_since = now
        left = self.breaker.trip(now, seconds)
        self._tell(BreakerOpened(name=self._name, code=BackendDraining.entry.code, seconds=left))

    def mend(self, now: float) -> None:
        """Its breaker is closed by hand."""
        self._doubted = self._held = False
        self.ask_soon(now)
        if self.breaker.state is not BreakerState.CLOSED:
            self._close(now)

    # ---- questions

    def asked(self) -> None:
        """A question is out."""
        self.asking = True
        self._ask_again = False

    def answers(self, now: float) -> bool:
        """The question was answered. True if that ends an outage."""
        self.asking = False
        if self._ask_again:  # it may have been answered before that happened
            return False
        self._held = False
        self._misses = 0
        self.ask_at = now + ROUTINE * (0.8 + 0.4 * self._random())
        self._turn(Health.READY, now)
        if self.breaker.state is not BreakerState.CLOSED and not self._doubted:
            self._close(now)
        return self._back(now)

    def misses(self, error: SpeechError, now: float) -> None:
        """The question was not answered, or with this error."""
        self.asking = False
        self._doubted = False
        self._misses += 1
        if blame(error) is Blame.CONFIG:
            self.hold(error, now)
            return
        if self.health is Health.READY:
            self.ask_at = now + SECOND_LOOK
        else:
            self._fell(error, now)
            self.ask_at = now + self._pause(RETURNING)
        self._turn(Health.SUSPECT, now)
        seconds = self.breaker.failed(self, now)
        if seconds is not None:
            self._opened(error, seconds, now)

    def unasked(self, now: float) -> None:
        """The question told nothing of the endpoint. Ask again when that is possible."""
        self.asking = False
        self.ask_at = now

    # ---- what changes

    def _pause(self, pauses: Backoff) -> float:
        return pauses.bound(max(0, self._misses - 1)) * (1.0 - self._random() / 2)

    def _turn(self, health: Health, now: float) -> None:
        if self.health is not health:
            self.health, self.health_since = health, now

    def _opened(self, error: SpeechError, seconds: float, now: float) -> None:
        self.breaker_since = now
        self._fell(error, now)
        self._tell(BreakerOpened(name=self._name, code=error.code, seconds=seconds))

    def _close(self, now: float) -> None:
        """Close the breaker for something else than a stream that tried, unless one is just trying."""
        self.breaker.hurry(now)
        self.breaker.ask(self, now)
        if self.breaker.proven(self):
            self._closed(now)

    def _closed(self, now: float) -> None:
        self.breaker_since = now
        self._tell(BreakerClosed(name=self._name))

    def _fell(self, error: SpeechError, now: float) -> None:
        if self.down_since is None:
            self.down_since = now
            self._count_fall(now)
            self._tell(BackendDown(name=self._name, error=error))

    def _count_fall(self, now: float) -> None:
        if now - self._fell_at >= FALL_SECONDS:
            self._fell_at = now
            self._falls.add(now)

    def _back(self, now: float) -> bool:
        if not self.is_proven or not (self._is_new or self.down_since is not None):
            return False
        was_down = self.down_since is not None
        self._tell(BackendUp(name=self._name, seconds=age(self.down_since, now) or 0.0))
        self._is_new, self.down_since = False, None
        return was_down


def age(since: float | None, now: float) -> float | None:
    """Seconds since then, if there is a then."""
    return None if since is None else now - since
