"""`target`: load, latency and faults against an endpoint of yours, from outside.

    python -m bench target --url wss://speech.example.com/transcribe --key vt_… --audio speech.wav

It speaks `voxtree.v1` to whoever answers there, with so many --sessions at the same time for about --seconds each time,
and does to it only what any client could: connections that drop, clients that do not read, garbage, bursts. Before it
begins it says what it will do and asks; --yes answers. Where nobody can be asked, only this machine is a target without
--yes.

With --riva the endpoint's recogniser is a scripted Riva (`python -m bench riva`) at that address: speech is then
word-coded, and every word is counted. A real recogniser needs real speech: --audio, a recording. Then first and last
transcripts are timed, and sessions that came to their end are counted.
"""

from bench.target.command import add_arguments, run

__all__ = ["add_arguments", "run"]
