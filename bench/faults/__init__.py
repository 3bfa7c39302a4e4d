"""`faults`: what becomes of people's words when things fail, fault by fault, counted word by word.

For each fault there are processes of its own: voxtree, scripted Rivas as primary and fallback, and clients who speak in
real time. What they say is word-coded, so that each word that is lost, doubled or out of order is counted. Faults are
real ones: signals, connections that a proxy breaks, statuses that a Riva answers, errors inside voxtree.

lost         words that never came in a final; doubled: that came more than once
decl.        lost ones that lie in a gap the client was told of; undecl.: lost without a word
errors       error events, and connections that ended early
recovery     per client, from the fault to the first transcript that cannot have been on its way when it struck; where
             all that had been said was settled by then, from when the next word had been said
detected     per client, from the fault to the first `status` that says so; the 99th percentile
delay        from the moment a word had been sent to its first appearance in a transcript

`holds`: no word lost, doubled or misplaced, and every limit kept. `misses`: a limit is exceeded. `FAILS`: words were
harmed, and the exit status is 1.
"""

from bench.faults.command import add_arguments, run

__all__ = ["add_arguments", "run"]
