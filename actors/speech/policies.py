"""What supervisors do about each error of the catalogue.

A backend's failure is met twice, by two who know different things. The session's supervisor knows one session: it
starts the recogniser again after a short pause, which grows when this session fails wherever it goes. The pool
(`actors.speech.pool`) knows all backends and all sessions: whether another one can take the stream at once, how long
a quota has to rest, how many may knock at one that is down. So whatever has to wait for a backend waits in
`BackendPool.lease`, which ends the moment one is free, and no pause of a supervisor is in the way of a failover.

The parts of the server itself are kept by no pool. Theirs are the pauses that an error asks for.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Retry
from supervisor.policy import Backoff, Directive, Policy, PolicyTable

# A lost stream is replaced at once, since another backend may be free; but not in a loop that spins.
AT_ONCE = Backoff(initial=0.05, factor=2.0, maximum=5.0, reset_after=10.0, at_once=1)
# RIVA's own clients start at 200 ms; 5 s keeps the wait after a long outage short.
GROWING = Backoff(initial=0.2, factor=2.0, maximum=5.0, reset_after=10.0)
# Without a hint from the server; quota windows are counted in seconds to minutes.
QUOTA = Backoff(initial=5.0, factor=2.0, maximum=60.0, reset_after=60.0)

_SERVER = {
    Retry.KEEP_FOR_RESUME: Policy(Directive.CONTINUE),
    Retry.CONTINUE: Policy(Directive.CONTINUE),
    Retry.NOW: Policy(Directive.BACKOFF, AT_ONCE),
    Retry.BACKOFF: Policy(Directive.BACKOFF, GROWING),
    Retry.RATE_LIMIT: Policy(Directive.RATE_LIMIT, QUOTA),
    Retry.NONE: Policy(Directive.STOP),
    Retry.RESTART: Policy(Directive.RESTART),
}
# Inside a session's tree an error is never passed over: "the session goes on" is said of one message, but what has
# failed here is a stream, and without a new one the session would not.
_SESSION = {
    retry: policy if policy.directive in (Directive.STOP, Directive.RESTART) else Policy(Directive.BACKOFF, AT_ONCE)
    for retry, policy in _SERVER.items()
}


def _table(policies: Mapping[Retry, Policy]) -> PolicyTable:
    return PolicyTable(
        {code: policies[entry.retry] for code, entry in CATALOGUE.items()}, default=policies[UNKNOWN.retry]
    )


SESSION_POLICIES = _table(_SESSION)
SERVER_POLICIES = _table(_SERVER)
