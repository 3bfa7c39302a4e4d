"""`load`: sessions that speak at the same time to a server on this machine: how late answers are, what it costs.

The clients are processes of their own and keep to a schedule that no answer can delay: a frame is due when it would
have been spoken, whether or not the server has taken the one before, and an answer's delay counts from when the frame
was due, not from when it was sent. What has not been answered for a second counts with the time that it has waited.
Riva is a stand-in that answers every 100 ms of audio at once, so that all delay is the gateway's, the machine's, or the
load's own. If the load was itself the limit, the figures say so, and are not to be trusted.
"""

from bench.load.command import add_arguments, run

__all__ = ["add_arguments", "run"]
