"""`relay`: what a frame of audio costs, beside a bare relay from WebSocket to gRPC.

Clients speak in real time; the gateway's processor time while they do (user and system, from /proc), divided by the
frames they sent, is the cost of a frame: receiving it, handing it to Riva over gRPC, and the words back. Load and Riva
are processes of their own, made to cost little. Rounds are interleaved; shown is the median of them.

    bare relay           100 lines of websockets and grpc.aio that keep, watch and restart nothing
    bare relay, uvloop   the same on a faster event loop
    gathering relay      the same on the loop that voxtree runs on, audio sent to Riva in messages of 100 ms as well
    voxtree              `voxtree serve`

`ratio_20ms` and `ratio_100ms` are voxtree's cost over the bare relay's, `ratio_supervision` is voxtree's over the
gathering relay's with 20 ms frames: what supervising costs by itself.
"""

from bench.relay.command import add_arguments, run

__all__ = ["add_arguments", "run"]
