"""What one caller may take, what the server can carry, and who has to wait: what `transport.admission` goes by.

The parts decide and do nothing: buckets, who holds what, how late the loop is, when a refused client is to come back.
`Gate` asks them in order; `LoopLoad.run` is the one that needs a task.
"""

from transport.limits.accounts import Accounts, Key, Pace
from transport.limits.addresses import Proxies, network_of
from transport.limits.bucket import Bucket
from transport.limits.crowd import Crowd
from transport.limits.gate import REASONS, Denied, Gate
from transport.limits.load import LoopLoad
from transport.limits.returns import ReturnTimes

__all__ = [
    "REASONS",
    "Accounts",
    "Bucket",
    "Crowd",
    "Denied",
    "Gate",
    "Key",
    "LoopLoad",
    "Pace",
    "Proxies",
    "ReturnTimes",
    "network_of",
]
