"""What is worth telling somebody, and when. Pure: what happens and the time in, notices out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum

import msgspec

from actors.speech.backends.events import BackendDown, BackendDrained, BackendJoined, BackendLeft, BackendUp, PoolEvent
from actors.speech.catalogue import CATALOGUE, Alert, Severity
from actors.speech.error_handler import ErrorContext
from actors.speech.errors import AlertNotDelivered, NoBackend
from transport.alerts.notices import ALL, Key, Kind, Notice, Phase, rank
from transport.alerts.rates import Rate

QUIET = 300.0  # seconds without it, and an error that happened is over
DIGESTS = (60.0, 300.0, 900.0, 3600.0)  # seconds after the beginning; then every hour
GRACE = 15.0  # seconds; a backend is known to be down some seconds after its streams failed, and only that is told
# A backend that loads its models, drains or is overloaded says so, and it passes; a restart takes a minute or two.
PATIENCE = 300.0
# A burst is seen in the short window within seconds; three errors a minute where one in ten is usual, in the long one.
WINDOWS = (60.0, 600.0)
NONE_LEFT_PATIENCE = 5.0  # the second of two backends may just be about to give its first answer
NOT_DELIVERED = AlertNotDelivered.entry.code  # an alert about that would be the next not to be delivered
NO_BACKEND = NoBackend.entry.code
SERVER, SESSIONS, BACKENDS = "server", "sessions", "backends"


class State(Enum):
    WAITING = "waiting"  # it is not known yet if it is to be told
    TOLD = "told"


class _Alert(msgspec.Struct, kw_only=True):
    """Something that is wrong.

    Attributes:
        tell_at: from when on it may be told.
        ends_at: when it is over if nothing more happens; infinite while a condition lasts.
        digest_at: when to tell how it goes on.
        restless: it has been over and came back soon.
        rate: the one that was last found unusual.
    """

    key: Key
    kind: Kind
    since: float
    tell_at: float
    ends_at: float
    digest_at: float = math.inf
    state: State = State.WAITING
    times: int = 0
    told_times: int = 0
    restless: bool = False
    rate: Rate | None = None


class Watch:
    """Decides for one server. Of each key there is one alert at a time:

    - an error that somebody is to be paged for is told at once, and is over when it has been quiet for a while;
    - a backend that is down is told at once, and is over when it is up. If it was up only for a moment, it is over when
      it has stayed up for as long as an error must be quiet: one that comes and goes is one alert;
    - other errors are told of when there are unusually many, unless something else explains them: an alert for the
      same component, or for them all together any other alert.

    What goes on is told again after 1, 5, 15 and 60 minutes, then every hour.

    Args:
        host: what this server is called.
        now: the present, in seconds of any clock that does not jump; the same clock for all that follows.
        quiet: seconds without it after which an error is over.
    """

    def __init__(self, host: str, now: float, *, quiet: float = QUIET) -> None:
        self._host = host
        self._began = now
        self._quiet = quiet
        self._alerts: dict[Key, _Alert] = {}
        self._ended: dict[Key, float] = {}
        self._rates: dict[Key, list[Rate]] = {}  # in each window
        self._down: dict[str, Key] = {}  # by component
        self._backends: set[str] = set()  # that were heard of

    # ---- what happens

    def error(self, error: ErrorContext, now: float) -> list[Notice]:
        """An error was handled."""
        if error.error_code == NOT_DELIVERED:
            return []
        notices = list(self._due(now))
        key = Key(self._host, error.error_code, component_of(error))
        if CATALOGUE[key.code].alert is Alert.PAGE:
            notices += self._happened(key, now)
        elif key in self._alerts and self._alerts[key].kind is Kind.CONDITION:
            self._alerts[key].times += 1
        elif not self._is_explained(key):
            for each in (key, Key(self._host, ALL, SERVER)):
                self._count(each, now)
        return notices

    def pool(self, event: PoolEvent, now: float) -> list[Notice]:
        """Something happened to a backend."""
        notices = list(self._due(now))
        match event:
            case BackendJoined(name=name):
                self._backends.add(name)
            case BackendDown(name=name, code=code):
                self._backends.add(name)
                self._fell(f"backend:{name}", code, now)
            case BackendUp(name=name):
                self._backends.add(name)
                self._rose(f"backend:{name}", now)
            case BackendLeft(name=name) | BackendDrained(name=name, leaving=True):
                self._backends.discard(name)
                self._rose(f"backend:{name}", now)
            case _:
                return notices
        self._count_backends(now)
        return [*notices, *self._due(now)]

    def tick(self, now: float) -> list[Notice]:
        """Time has passed."""
        return list(self._due(now))

    @property
    def due(self) -> float:
        """When to call `tick` at the latest; infinite: when something has happened."""
        return min((_due(alert) for alert in self._alerts.values()), default=math.inf)

    def __len__(self) -> int:
        """Alerts that are told and not over."""
        return sum(alert.state is State.TOLD for alert in self._alerts.values())

    # ---- errors

    def _happened(self, key: Key, now: float) -> Iterator[Notice]:
        alert = self._alerts.get(key) or self._begin(key, Kind.ERROR, now)
        alert.times += 1
        if alert.kind is Kind.ERROR:
            alert.ends_at = now + self._quiet
        if alert.state is State.WAITING:
            yield self._tell(alert, now)

    def _count(self, key: Key, now: float) -> None:
        """Watch its rate; an unusual one waits for something that explains it."""
        rates = self._rates.get(key)
        if rates is None:
            rates = self._rates[key] = [Rate(window, self._began, now) for window in WINDOWS]
        unusual = [rate for rate in rates if rate.add(now)]
        alert = self._alerts.get(key)
        if alert is not None:
            alert.times += 1
        elif unusual:
            alert = self._begin(key, Kind.RATE, now, wait=2 * GRACE if key.code == ALL else GRACE)
            alert.times = unusual[0].lately(now)
        if alert is not None and unusual:
            alert.rate = unusual[0]
            alert.ends_at = now + (WINDOWS[0] if alert.state is State.WAITING else self._quiet)

    def _is_explained(self, key: Key) -> bool:
        """Something worse is known of the same component."""
        return any(
            alert.state is State.TOLD and alert.kind is not Kind.RATE and alert.key.component == key.component
            for alert in self._alerts.values()
        )

    def _explains(self, alert: _Alert, rate: _Alert) -> bool:
        """Whether what was told last tells of this rate too."""
        if alert.state is not State.TOLD or alert.since < rate.since - WINDOWS[0]:
            return False
        return rate.key.code == ALL or (alert.kind is not Kind.RATE and alert.key.component == rate.key.component)

    # ---- conditions

    def _fell(self, component: str, code: str, now: float, *, patience: float | None = None) -> None:
        """A condition begins, which may have shown itself as an error before."""
        if component in self._down:
            return
        key = self._down[component] = Key(self._host, code, component)
        if patience is None:
            patience = 0.0 if rank(CATALOGUE[code].severity) >= rank(Severity.ERROR) else PATIENCE
        alert = self._alerts.get(key)
        if alert is None:
            alert = self._begin(key, Kind.CONDITION, now, wait=patience)
            alert.times = 1
        alert.kind, alert.ends_at, alert.tell_at = Kind.CONDITION, math.inf, min(alert.tell_at, now + patience)

    def _rose(self, component: str, now: float) -> None:
        key = self._down.pop(component, None)
        if key is not None:
            alert = self._alerts[key]
            alert.ends_at = now + self._quiet if alert.restless and alert.state is State.TOLD else now

    def _count_backends(self, now: float) -> None:
        """That none is left is a condition of its own."""
        if self._backends and all(f"backend:{name}" in self._down for name in self._backends):
            self._fell(BACKENDS, NO_BACKEND, now, patience=NONE_LEFT_PATIENCE)
        else:
            self._rose(BACKENDS, now)

    # ---- alerts

    def _begin(self, key: Key, kind: Kind, now: float, *, wait: float = 0.0) -> _Alert:
        restless = now - self._ended.get(key, -math.inf) < self._quiet
        alert = _Alert(key=key, kind=kind, since=now, tell_at=now + wait, ends_at=math.inf, restless=restless)
        self._alerts[key] = alert
        return alert

    def _due(self, now: float) -> Iterator[Notice]:
        """Tell what is to be told by now, the earliest first, as if each had been told at its time."""
        for alert in sorted(self._alerts.values(), key=_due):
            if alert.ends_at <= now:
                yield from self._end(alert, now)
            elif alert.state is State.WAITING and alert.tell_at <= now:
                yield from self._tell_unless_explained(alert, now)
            elif alert.digest_at <= now:
                yield from self._digest(alert, now)

    def _end(self, alert: _Alert, now: float) -> Iterator[Notice]:
        del self._alerts[alert.key]
        if alert.state is State.TOLD:
            self._ended[alert.key] = now
            yield self._notice(alert, Phase.RESOLVED, now)

    def _tell_unless_explained(self, alert: _Alert, now: float) -> Iterator[Notice]:
        if alert.kind is Kind.RATE:
            if any(self._explains(other, alert) for other in self._alerts.values()):
                for rate in self._rates[alert.key]:
                    rate.forget(now)
                del self._alerts[alert.key]
                return
            alert.ends_at += self._quiet - WINDOWS[0]  # told, it is over when it has been as quiet as others must be
        yield self._tell(alert, now)

    def _tell(self, alert: _Alert, now: float) -> Notice:
        alert.state = State.TOLD
        alert.told_times = alert.times
        alert.digest_at = _next_digest(alert.since, now)
        return self._notice(alert, Phase.FIRING, now)

    def _digest(self, alert: _Alert, now: float) -> Iterator[Notice]:
        """How it goes on, if it does."""
        alert.digest_at = _next_digest(alert.since, now)
        if alert.times > alert.told_times or alert.ends_at == math.inf:
            alert.told_times = alert.times
            yield msgspec.structs.replace(self._notice(alert, Phase.FIRING, now), repeat=True)

    def _notice(self, alert: _Alert, phase: Phase, now: float) -> Notice:
        rate = alert.rate if alert.kind is Kind.RATE else None
        return Notice(
            key=alert.key,
            kind=alert.kind,
            phase=phase,
            times=alert.times,
            age=now - alert.since,
            repeat=phase is Phase.RESOLVED,
            usual=rate.usual(now) if rate else 0.0,
            lately=rate.lately(now) if rate else 0,
            window=rate.window if rate else 0.0,
        )


def _due(alert: _Alert) -> float:
    return min(alert.ends_at, alert.tell_at if alert.state is State.WAITING else alert.digest_at)


def _next_digest(since: float, now: float) -> float:
    hours = math.floor((now - since) / DIGESTS[-1]) + 1
    return next((since + each for each in DIGESTS if since + each > now), since + hours * DIGESTS[-1])


def component_of(error: ErrorContext) -> str:
    """Where it happened, as one of few: whose session it was is for the log."""
    if error.endpoint:
        return f"backend:{error.endpoint}"
    parts = error.path.split("/") if error.path else []
    if len(parts) > 1:
        return parts[1]
    return SESSIONS if error.session_id else SERVER
