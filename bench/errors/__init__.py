"""`errors`: every error of the catalogue, made to happen in a real server; what log, metrics, alerts and clients show.

What can be injected is injected (`voxtree serve --inject`); the others are provoked by what causes them: a client that
is silent, a server that stops, a locked journal, a loop that stands still. Each happens in a server of its own. Held
against the catalogue: the level of its log lines, the count of its metric (the number of its log lines, and of the
faults that were injected: each error passes the handler once), the alert it is due, the sentence that the client reads,
and the close code. Everything that clients, metrics and alerts are told is searched for what must not be there. The
exit status is 1 if anything is not as the catalogue says.
"""

from bench.errors.command import add_arguments, run

__all__ = ["add_arguments", "run"]
