"""What supervisors do about each error of the catalogue."""

from __future__ import annotations

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Retry
from supervisor.policy import Backoff, Directive, Policy, PolicyTable

# A lost stream is replaced at once, since another backend may be free; but not in a loop that spins.
AT_ONCE = Backoff(initial=0.05, factor=2.0, maximum=5.0, reset_after=10.0, at_once=1)
# RIVA's own clients start at 200 ms; 5 s keeps the wait after a long outage short.
GROWING = Backoff(initial=0.2, factor=2.0, maximum=5.0, reset_after=10.0)
# Without a hint from the server; quota windows are counted in seconds to minutes.
QUOTA = Backoff(initial=5.0, factor=2.0, maximum=60.0, reset_after=60.0)

_BY_RETRY = {
    Retry.KEEP_FOR_RESUME: Policy(Directive.CONTINUE),
    Retry.CONTINUE: Policy(Directive.CONTINUE),
    Retry.NOW: Policy(Directive.BACKOFF, AT_ONCE),
    Retry.BACKOFF: Policy(Directive.BACKOFF, GROWING),
    Retry.RATE_LIMIT: Policy(Directive.RATE_LIMIT, QUOTA),
    Retry.NONE: Policy(Directive.STOP),
    Retry.RESTART: Policy(Directive.RESTART),
}

_POLICIES = {code: _BY_RETRY[entry.retry] for code, entry in CATALOGUE.items()}

SPEECH_POLICIES = PolicyTable(_POLICIES, default=_BY_RETRY[UNKNOWN.retry])

# Inside a session's tree an error is never passed over: "the session goes on" is said of one message, but what has
# failed here is a stream, and without a new one the session would not.
SESSION_POLICIES = PolicyTable(
    {code: _BY_RETRY[Retry.BACKOFF] if policy.directive is Directive.CONTINUE else policy
     for code, policy in _POLICIES.items()},
    default=_BY_RETRY[UNKNOWN.retry],
)  # fmt: skip
