"""`peers`: the same load and the same faults, through what one would pick instead.

    bare relay          a hundred lines of websockets and grpc.aio that keep, watch and restart nothing
    FastAPI, uvicorn    an ordinary handler: a receive loop, try/except, sleep(2 ** attempt), the other backend
    Node, ws, grpc-js   the same handler in JavaScript
    vosk-style server   a loop that hands each chunk of audio to a recogniser in a pool of threads
    voxtree             `voxtree serve`

Load is that of `relay`: processor time for each frame, and by how much the process grows for each session. Then three
faults strike clients who speak word-coded audio in real time; words, recovery and what clients are told are counted.
Clients of servers that have no way to resume a session begin a new one as soon as theirs is lost. What is missing here
is said: "not measured: needs …". No peer is struck by what it cannot have; that it was not built for a fault is no
fault of its own, and its line below the table says so.
"""

from bench.peers.command import add_arguments, run

__all__ = ["add_arguments", "run"]
